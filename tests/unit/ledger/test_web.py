"""The static files over real HTTP."""

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.errors import ObjectError, SetupError
from ledger.objects.directory import DirectoryStore
from ledger.web import WebServer

FILES = {
    "checkpoint": b"signed\n",
    "tile/0/000": b"hashes",
    "tile/63/x001/x234/067.p/255": b"far",
    "tile/entries/000.p/7": b"entries",
    "bodies/000": b"bodies" * 200_000,
    "private/note.key": b"secret",
    "notes": b"nobody asked",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("web")
    DirectoryStore(place / "log").put(FILES)
    (place / "outside").write_bytes(b"outside")
    return place / "log"


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[WebServer]:
    server = WebServer(
        "127.0.0.1", 0, DirectoryStore(folder), most_connections=4, request_s=1.0, idle_s=0.5
    )
    yield server
    server.close()


def ask(web: WebServer, path: str, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=5)
    connection.putrequest(method, path, skip_host=True)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def raw(web: WebServer, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", web.port), timeout=5) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize("path", list(FILES)[:5])
def test_the_logs_files_are_served(web: WebServer, path: str) -> None:
    status, body, headers = ask(web, f"/{path}")
    assert (status, body) == (200, FILES[path])
    assert headers["Content-Length"] == str(len(FILES[path]))
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_what_never_changes_may_be_kept_and_the_checkpoint_may_not(web: WebServer) -> None:
    assert "immutable" in ask(web, "/tile/0/000")[2]["Cache-Control"]
    assert ask(web, "/checkpoint")[2]["Cache-Control"] == "no-cache"
    assert ask(web, "/checkpoint")[2]["Content-Type"] == "text/plain; charset=utf-8"
    assert ask(web, "/tile/0/999")[2]["Cache-Control"] == "no-store"


def test_head_is_get_without_the_file(web: WebServer) -> None:
    status, body, headers = ask(web, "/bodies/000", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len(FILES["bodies/000"]))
    assert ask(web, "/tile/0/001", "HEAD")[:2] == (404, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/notes",
        "/private/note.key",
        "/private/",
        "/checkpoint/",
        "/checkpoint?x",
        "/checkpoint%00",
        "/tile",
        "/tile/0",
        "/tile/0/",
        "/tile/0/0",
        "/tile/0/000.p/0",
        "/tile/0/000.p/256",
        "/tile/64/000",
        "/tile/00/000",
        "/tile/0/000.part",
        "/tile/0/x00/000",
        "/../outside",
        "/tile/../../outside",
        "/tile/%2e%2e/%2e%2e/outside",
        "/%2e%2e/outside",
        "/..%2foutside",
        "/tile/..\\..\\outside",
        "/./checkpoint",
        "/CHECKPOINT",
        "/checkpoint\xb2",
        "http://127.0.0.1/private/note.key",
        "/tile/0/../../private/note.key",
        "/%70rivate/note.key",
    ],
)
def test_nothing_else_of_the_folder_or_the_disk_is_served(web: WebServer, path: str) -> None:
    answer = raw(web, b"GET " + path.encode("latin-1") + b" HTTP/1.0\r\n\r\n")
    assert answer.split(b"\r\n")[0].split()[1] in {b"404", b"400"}, answer
    assert b"secret" not in answer
    assert b"outside" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "get", "X" * 99])
def test_nothing_but_reading_is_understood(web: WebServer, method: str) -> None:
    assert raw(web, f"{method} /checkpoint HTTP/1.0\r\n\r\n".encode()).split()[1] == b"501"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\xfe garbage \r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /checkpoint HTTP/9.9\r\n\r\n",
        b"GET /checkpoint HTTP/1.1 more\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /checkpoint HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"GET /checkpoint HTTP/1.1\r\na: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_by_an_error_and_serving_goes_on(
    web: WebServer, data: bytes
) -> None:
    try:
        answer = raw(web, data)
    except ConnectionResetError:
        answer = b""  # it was cut off in the middle of what it sent
    assert b" 200 " not in answer.split(b"\r\n")[0]
    assert ask(web, "/checkpoint")[0] == 200


def test_a_connection_serves_one_request_after_another(web: WebServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=5)
    for path in ("checkpoint", "tile/0/000", "tile/entries/000.p/7"):
        connection.request("GET", f"/{path}")
        assert connection.getresponse().read() == FILES[path]
    connection.close()


def test_a_body_that_nobody_asked_for_is_not_taken_for_a_request(web: WebServer) -> None:
    smuggled = b"GET /tile/0/000 HTTP/1.1\r\n\r\n"
    head = f"GET /checkpoint HTTP/1.1\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    answer = raw(web, head + smuggled)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in answer


def test_a_client_that_sends_nothing_is_let_go(web: WebServer) -> None:
    began = time.monotonic()
    assert raw(web, b"") == b""
    assert time.monotonic() - began < 3


def test_a_client_that_sends_a_byte_now_and_then_is_let_go(web: WebServer) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=5) as connection:
        sent = 0
        try:
            while sent < 60:
                connection.sendall(b"G")
                sent += 1
                time.sleep(0.1)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert 3 < sent < 40, "a request has a second, and each byte came in time"


def test_a_client_that_takes_nothing_is_let_go_and_holds_no_file_in_memory(
    folder: Path,
) -> None:
    DirectoryStore(folder).put({"bodies/001": bytes(30_000_000)})
    server = WebServer("127.0.0.1", 0, DirectoryStore(folder), request_s=1.0, idle_s=30)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(b"GET /bodies/001 HTTP/1.1\r\n\r\n")
        time.sleep(1.5)
        got = 0
        try:
            while piece := connection.recv(1 << 20):
                got += len(piece)
        except ConnectionResetError:
            pass
    assert 0 < got < 30_000_000
    server.close()


def test_more_connections_than_there_is_room_for_are_closed_and_room_comes_back(
    folder: Path,
) -> None:
    server = WebServer("127.0.0.1", 0, DirectoryStore(folder), most_connections=4)
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(4)]
    with contextlib.suppress(ConnectionResetError):
        assert raw(server, b"GET /checkpoint HTTP/1.0\r\n\r\n") == b""
    for connection in held:
        connection.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            assert ask(server, "/checkpoint")[0] == 200
            break
        except (http.client.HTTPException, ConnectionError):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    server.close()


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"GET /check",
        b"GET /checkpoint HTTP/1.1\r\n",
        b"GET /checkpoint HTTP/1.1\r\nHost: x\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    ],
)
def test_who_holds_every_connection_and_asks_nothing_makes_room(folder: Path, words: bytes) -> None:
    server = WebServer("127.0.0.1", 0, DirectoryStore(folder), most_connections=8, quiet_s=0.3)
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(8)]
    for connection in held:
        connection.sendall(words)
    time.sleep(0.5)
    for _ in range(8):
        assert ask(server, "/checkpoint")[0] == 200
    for connection in held:
        connection.close()
    server.close()


def test_who_is_being_answered_makes_room_for_nobody(folder: Path) -> None:
    DirectoryStore(folder).put({"bodies/002": bytes(30_000_000)})
    server = WebServer("127.0.0.1", 0, DirectoryStore(folder), most_connections=2, quiet_s=0.1)
    slow = []
    for _ in range(2):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET /bodies/002 HTTP/1.0\r\n\r\n")
        slow.append(connection)
    time.sleep(0.5)
    with contextlib.suppress(ConnectionResetError):
        assert raw(server, b"GET /checkpoint HTTP/1.0\r\n\r\n") == b""
    for connection in slow:
        got = 0
        while piece := connection.recv(65_536):
            got += len(piece)
        assert got > 30_000_000, "each got its file whole"
        connection.close()
    server.close()


def test_an_address_that_takes_all_answers_slowly_keeps_no_other_out(folder: Path) -> None:
    DirectoryStore(folder).put({"bodies/002": bytes(30_000_000)})
    server = WebServer("127.0.0.1", 0, DirectoryStore(folder), most_connections=4, quiet_s=0.1)
    slow = []
    for _ in range(4):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.bind(("127.0.0.2", 0))
        connection.settimeout(10)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET /bodies/002 HTTP/1.0\r\n\r\n")
        slow.append(connection)
    time.sleep(0.5)
    assert ask(server, "/checkpoint")[0] == 200
    got = 0
    while piece := slow[-1].recv(65_536):
        got += len(piece)
    assert got > 30_000_000, "the oldest made room, and no newer one"
    for connection in slow:
        connection.close()
    server.close()


def test_a_store_that_fails_is_an_answer(tmp_path: Path) -> None:
    class Broken(DirectoryStore):
        def open(self, path: str) -> None:
            raise ObjectError("STORAGE", f"cannot read {path}: the disk is gone")

    server = WebServer("127.0.0.1", 0, Broken(tmp_path))
    status, body, headers = ask(server, "/checkpoint")
    server.close()
    assert (status, body) == (503, b"cannot be read\n")
    assert headers["Cache-Control"] == "no-store"


def test_ipv6_loopback_is_served(folder: Path) -> None:
    try:
        server = WebServer("::1", 0, DirectoryStore(folder))
    except SetupError:
        pytest.skip("this machine has no IPv6 loopback")
    connection = http.client.HTTPConnection("::1", server.port, timeout=5)
    connection.request("GET", "/checkpoint")
    assert connection.getresponse().read() == FILES["checkpoint"]
    connection.close()
    server.close()


def test_an_address_in_use_is_told(web: WebServer, folder: Path) -> None:
    with pytest.raises(SetupError, match="cannot listen on") as refused:
        WebServer("127.0.0.1", web.port, DirectoryStore(folder))
    assert refused.value.reason == "ADDRESS_IN_USE"
