"""A web server may be anybody's: it costs an auditor bounded bytes and bounded time, and never more than an error."""

import gzip
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.unit.verifier.logbook import Logbook, served
from tests.unit.verifier.test_refresh import trust
from verifier.mirror.errors import MirrorError
from verifier.mirror.refresh import refresh
from verifier.mirror.shelf import Shelf
from verifier.mirror.source import HttpSource, open_source

Behaviour = Callable[[socket.socket], None]
TIMEOUT_S = 0.6
LIMIT = 100_000
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


@contextmanager
def server(behave: Behaviour) -> Iterator[str]:
    """Serve each connection as told, once its request has come."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.recv(65_536)
                    behave(connection)
                except OSError:
                    pass  # the client has gone, as it should

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def sends(data: bytes) -> Behaviour:
    return lambda connection: connection.sendall(data)


def drips(before: bytes, drop: bytes) -> Behaviour:
    """Send something, and then a little again and again, never silent for long."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(before)
        while True:
            time.sleep(0.05)
            connection.sendall(drop)

    return behave


def floods(connection: socket.socket) -> None:
    connection.sendall(OK + b"\r\n")
    while True:
        connection.sendall(b"x" * 65_536)


def sized(length: int, body: bytes) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % length + body


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (lambda connection: time.sleep(5), "UNREACHABLE|TOO_SLOW"),
        (drips(b"HTTP/1.1 200 OK\r\n", b"X-Drop: y\r\n"), "TOO_SLOW"),
        (drips(b"", b"H"), "TOO_SLOW|UNREACHABLE"),
        (drips(sized(1 << 40, b""), b"x"), "TOO_SLOW"),
        (drips(CHUNKED, b"1\r\nx\r\n"), "TOO_SLOW"),
        (floods, "TOO_LARGE"),
        (sends(sized(1 << 40, b"x" * (LIMIT + 10))), "TOO_LARGE"),
        (sends(sized(LIMIT, b"cut short")), "UNREACHABLE"),
        (sends(CHUNKED + b"fffffffffffffff\r\n" + b"x" * (2 * LIMIT)), "TOO_LARGE"),
        (sends(CHUNKED + b"nonsense\r\n"), "UNREACHABLE"),
        (sends(b"no HTTP at all\r\n\r\n"), "UNREACHABLE"),
        (sends(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 500_000), "UNREACHABLE"),
        (sends(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"), "SERVER_REFUSED"),
        (sends(b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx"), "SERVER_REFUSED"),
        (sends(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), "SERVER_REFUSED"),
        (sends(OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(1 << 26))), "SERVER_REFUSED"),
        (lambda connection: None, "UNREACHABLE"),
    ],
)  # fmt: skip
def test_whatever_a_server_does_a_read_ends_soon_with_a_reason(
    behave: Behaviour, reason: str
) -> None:
    with (
        server(behave) as url,
        HttpSource(url, timeout_s=TIMEOUT_S, least_bytes_per_s=10_000) as source,
    ):
        began = time.monotonic()
        with pytest.raises(MirrorError) as caught:
            source.read("checkpoint", LIMIT)
        assert re.fullmatch(reason, caught.value.reason), caught.value
        assert time.monotonic() - began < 4


def test_what_comes_steadily_may_take_its_time() -> None:
    body = b"x" * 40_000

    def behave(connection: socket.socket) -> None:
        connection.sendall(sized(len(body), b""))
        for at in range(0, len(body), 2_000):
            connection.sendall(body[at : at + 2_000])
            time.sleep(0.06)

    with (
        server(behave) as url,
        HttpSource(url, timeout_s=TIMEOUT_S, least_bytes_per_s=10_000) as source,
    ):
        assert source.read("checkpoint", LIMIT) == body


def test_a_file_of_just_the_limit_is_read_and_one_that_is_not_there_is_none() -> None:
    with server(sends(sized(LIMIT, b"x" * LIMIT))) as url, HttpSource(url) as source:
        assert source.read("checkpoint", LIMIT) == b"x" * LIMIT
    gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000000000\r\n\r\n"
    with server(sends(gone)) as url, HttpSource(url) as source:
        assert source.read("checkpoint", LIMIT) is None


def test_reading_ends_when_it_is_stopped_and_stays_ended_when_closed() -> None:
    with server(lambda _: time.sleep(20)) as url:
        source = HttpSource(url)
        threading.Timer(0.3, source.stop).start()
        began = time.monotonic()
        with pytest.raises(MirrorError) as caught:
            source.read("checkpoint", LIMIT)
        assert caught.value.reason == "STOPPED"
        assert time.monotonic() - began < 5
        source.close()
        source.close()
        source.stop()
        with pytest.raises(MirrorError) as caught:
            source.read("checkpoint", LIMIT)
        assert caught.value.reason == "STOPPED"


def test_a_log_is_asked_for_by_numbers_alone(tmp_path: Path) -> None:
    """Nothing that a server says becomes a path, here or there."""
    book = Logbook.begin()
    book.enrol("aurora", "aurora/../../etc", chips=1)
    files = dict(served(book.prefix()))
    asked: list[str] = []

    class Listening:
        place = "../../elsewhere"

        def read(self, path: str, limit: int) -> bytes | None:
            asked.append(path)
            return files.get(path)

    with Shelf.open(tmp_path / "mirror") as shelf:
        refresh(Listening(), shelf, trust(book))
    names = re.compile(r"checkpoint|(tile/\d|tile/entries|bodies)/(x\d{3}/)*\d{3}(\.p/\d{1,3})?")
    assert all(names.fullmatch(path) for path in asked)
    assert [path.name for path in tmp_path.iterdir()] == ["mirror"]


def test_neither_an_address_nor_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MirrorError) as caught:
        open_source(str(tmp_path / "nowhere"))
    assert caught.value.reason == "NO_LOG"


def test_an_alert_that_comes_after_the_handshake_is_told_as_unreachable() -> None:
    """A server that wants a certificate says so late in TLS 1.3, and httpx hands that on as it is, now and then."""

    def answer(_: httpx.Request) -> httpx.Response:
        raise ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert")

    with (
        HttpSource("https://log.example", httpx.MockTransport(answer)) as source,
        pytest.raises(MirrorError) as refused,
    ):
        source.read("checkpoint", LIMIT)
    assert refused.value.reason == "UNREACHABLE"
    assert "CERTIFICATE_REQUIRED" in str(refused.value)
