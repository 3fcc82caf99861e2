"""A ledger that is reached over TLS: who gets in, who may call what, and certificates that change meanwhile."""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from ledger.guard import PERMISSIONS
from ledger.service import SERVICE
from protos.stillwatch.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from statements.errors import CertificateError, SubmissionError
from statements.ledger_client import LedgerClient, Receipt
from tests.integration.city import City
from tests.pki import Holder, alone, authority, put, write_folder
from tests.unit.ledger.rig import reason_of
from verifier.mirror.errors import MirrorError
from verifier.mirror.source import HttpSource, open_source

DEADLINE_S: Final = 10.0


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    made = City(tmp_path_factory.mktemp("city"))
    yield made
    try:
        made.verify_serving()
        assert made.ledger.stop() == 0
        assert "Traceback" not in made.ledger.log.read_text()
    finally:
        made.ledger.end()


@pytest.fixture(autouse=True)
def as_before(city: City) -> Iterator[None]:
    yield
    city.list_clients()
    time.sleep(1.1)  # the ledger looks at its files again


def call(channel: grpc.Channel, method: str) -> tuple[grpc.StatusCode, str]:
    """Call any method with an empty message; return its status, and the reason in its details, if there is one."""
    stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(method)
    answers = stream(iter([b""]), timeout=DEADLINE_S)
    try:
        next(answers, None)
    except grpc.RpcError as error:
        code = error.code()
        return code, reason_of(error) if error.trailing_metadata() else ""
    answers.cancel()
    return grpc.StatusCode.OK, ""


def registered(channel: grpc.Channel) -> set[str]:
    """Every method of every service, as the server itself tells it."""

    def ask(
        request: reflection_pb2.ServerReflectionRequest,
    ) -> reflection_pb2.ServerReflectionResponse:
        stream: grpc.StreamStreamMultiCallable[
            reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
        ] = channel.stream_stream(
            f"/{reflection.SERVICE_NAME}/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        (answer,) = stream(iter([request]), timeout=DEADLINE_S)
        return answer

    found = set()
    listed = ask(reflection_pb2.ServerReflectionRequest(list_services=""))
    for service in listed.list_services_response.service:
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=service.name)
        for data in ask(request).file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            found |= {
                f"/{file.package}.{one.name}/{method.name}"
                for one in file.service
                for method in one.method
            }
    return found


def test_every_method_that_the_ledger_registers_has_a_row_and_is_refused_to_who_may_nothing(
    city: City,
) -> None:
    with city.channel(city.holders["probe"]) as channel:
        methods = registered(channel)
    assert f"/{SERVICE}/Append" in methods
    assert methods == set(PERMISSIONS)
    with city.channel(city.holders["nobody"]) as channel:
        for method in methods:
            assert call(channel, method) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_PERMITTED")


@pytest.mark.parametrize(
    ("name", "may"), [("aurora", "append"), ("auditor", "read"), ("probe", "monitor")]
)
def test_who_may_one_thing_may_call_what_takes_it_and_nothing_else(
    city: City, name: str, may: str
) -> None:
    with city.channel(city.holders[name]) as channel:
        refused = {
            method
            for method in PERMISSIONS
            if call(channel, method)[0] is grpc.StatusCode.PERMISSION_DENIED
        }
    assert refused == {method for method, takes in PERMISSIONS.items() if may not in takes}


def test_a_method_that_does_not_exist_is_nobodys(city: City) -> None:
    with city.channel(city.holders["nobody"]) as channel:
        assert call(channel, f"/{SERVICE}/Delete")[0] is grpc.StatusCode.UNIMPLEMENTED


def test_strangers_do_not_even_get_a_connection(city: City) -> None:
    unknown = authority("unknown")
    strangers = {
        "no certificate": None,
        "of a CA that is not listed": unknown.issue("stranger"),
        "of a CA that bears the name of a listed one": authority("aurora").issue("node 1"),
        "alone": alone("stranger"),
        "expired": city.aurora.issue("node 2", hours=(-2, -1)),
        "not valid yet": city.aurora.issue("node 2", hours=(1, 2)),
    }
    for what, stranger in strangers.items():
        with city.channel(stranger) as channel:
            assert call(channel, f"/{SERVICE}/GetCheckpoint")[0] is grpc.StatusCode.UNAVAILABLE, (
                what
            )
    city.verify_serving()


def test_certificates_that_tls_takes_and_the_list_does_not_mean_are_refused(city: City) -> None:
    below = city.aurora.issue("hall 2", ca=True)
    through = below.issue("node 3")
    chained = Holder(through.certificate, through.key)
    rsa_node = city.aurora.issue("node 4", key=rsa.generate_private_key(65_537, 2_048))
    by_no_ca = city.holders["auditor"].issue("stranger")
    for stranger, chain in (
        (by_no_ca, by_no_ca.cert_pem),
        (chained, chained.cert_pem + below.cert_pem),
        (rsa_node, rsa_node.cert_pem),
    ):
        credentials = grpc.ssl_channel_credentials(city.operator.cert_pem, stranger.key_pem, chain)
        with grpc.secure_channel(city.ledger.grpc, credentials) as channel:
            for method in PERMISSIONS:
                assert call(channel, method) == (
                    grpc.StatusCode.UNAUTHENTICATED,
                    "UNKNOWN_CLIENT",
                )


def test_the_ledgers_client_says_what_is_wrong_with_a_ledger(city: City, tmp_path: Path) -> None:
    other = city.folder("other", city.holders["aurora"], trusts=authority("another"))
    with LedgerClient(city.ledger.grpc, other) as client:
        with pytest.raises(SubmissionError, match="by a CA in") as refused:
            client.checkpoint()
        assert refused.value.reason == "SERVER_NOT_TRUSTED"
    port = city.ports[0]
    with LedgerClient(f"localhost:{port}", city.folder("aurora", city.holders["aurora"])) as client:
        with pytest.raises(SubmissionError, match="for this name") as refused:
            client.checkpoint()
        assert refused.value.reason == "SERVER_NOT_TRUSTED"
    with LedgerClient(city.ledger.grpc, city.folder("unknown", alone("unknown"))) as client:
        with pytest.raises(SubmissionError, match="knows no such client") as refused:
            client.checkpoint()
        assert refused.value.reason == "UNAVAILABLE"
    with city.client("probe") as client:
        with pytest.raises(SubmissionError, match=r"'probe' may not.*NOT_PERMITTED") as refused:
            client.append([city.cast.evaluator.open()])
        assert refused.value.reason == "PERMISSION_DENIED"


def test_a_ledger_whose_certificate_has_expired_is_not_believed(city: City) -> None:
    stale = city.operator.issue("ledger", hosts=["127.0.0.1"], hours=(-2, -1))
    server = grpc.server(ThreadPoolExecutor(1))
    credentials = grpc.ssl_server_credentials([(stale.key_pem, stale.cert_pem)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        tls = city.folder("aurora", city.holders["aurora"])
        with LedgerClient(f"127.0.0.1:{port}", tls) as client:
            with pytest.raises(SubmissionError, match="expired") as refused:
                client.checkpoint()
            assert refused.value.reason == "SERVER_NOT_TRUSTED"
    finally:
        server.stop(0).wait()


def test_plain_words_to_either_port_are_not_understood(city: City) -> None:
    with LedgerClient(city.ledger.grpc) as client, pytest.raises(SubmissionError) as refused:
        client.checkpoint()
    assert refused.value.reason == "UNAVAILABLE"
    for port in city.ports:
        for words in (
            b"GET /checkpoint HTTP/1.0\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(words)
                answer = b""
                with suppress(OSError):  # it was closed at once
                    connection.shutdown(socket.SHUT_WR)
                    answer = connection.recv(65_536)
                assert b"HTTP" not in answer
                assert b"log.example" not in answer
    city.verify_serving()


def test_a_new_certificate_serves_new_connections_and_open_streams_go_on(city: City) -> None:
    before = city.shown()
    with city.client("aurora") as client:
        assert isinstance(client.append([city.cast.party.summary()])[0], Receipt)
        stream = client._stream
        new = city.renew()
        for port in city.ports:
            await_true(lambda port=port: city.shown(port) != before)  # type: ignore[misc]
            assert city.shown(port) == new.certificate.serial_number
        assert isinstance(client.append([city.cast.party.summary()])[0], Receipt)
        assert client._stream is stream, "the very stream that was open before"


def test_a_bad_new_certificate_is_told_once_and_the_old_one_stays(city: City) -> None:
    own = city.renew()
    await_true(lambda: city.shown() == own.certificate.serial_number)
    stale = city.operator.issue("ledger", hosts=["127.0.0.1"], hours=(-2, -1))
    rsa_key = city.operator.issue("ledger", key=rsa.generate_private_key(65_537, 2_048))
    bad: dict[str, Callable[[], None]] = {
        "OTHER_KEY": lambda: put(city.tls / "cert.pem", city.operator.issue("x").cert_pem),
        "EXPIRED": lambda: put(city.tls / "cert.pem", stale.cert_pem),
        "NOT_P256": lambda: put(city.tls / "cert.pem", rsa_key.cert_pem),
        "NOT_A_CERTIFICATE": lambda: put(city.tls / "cert.pem", b"half a certif"),
        "KEY_READABLE": lambda: (city.tls / "key.pem").chmod(0o640),
        "KEY_UNREADABLE": (city.tls / "key.pem").unlink,
        "CERTIFICATE_UNREADABLE": (city.tls / "cert.pem").unlink,
    }
    for reason, spoil in bad.items():
        spoil()
        await_true(lambda reason=reason: bool(asked(city) and city.told(reason)))  # type: ignore[misc]
        for port in city.ports:
            assert city.shown(port) == own.certificate.serial_number
        city.verify_serving()
        write_folder(city.tls, own)
        time.sleep(1.1)
        assert asked(city)
        assert len(city.told(reason)) == 1


def test_a_list_of_clients_that_changes_holds_for_the_next_call(city: City) -> None:
    newcomer = alone("newcomer")
    with (
        city.channel(newcomer) as stranger,
        city.channel(city.holders["auditor"]) as channel,
    ):
        method = f"/{SERVICE}/GetCheckpoint"
        assert call(channel, method)[0] is grpc.StatusCode.OK
        city.list_clients(
            auditor=(city.holders["auditor"], ["monitor"]), newcomer=(newcomer, ["read"])
        )
        denied = grpc.StatusCode.PERMISSION_DENIED
        await_true(lambda: call(channel, method)[0] is denied)
        await_true(lambda: call(stranger, method)[0] is grpc.StatusCode.OK)
        listed = city.listed.pop("auditor")
        city.list_clients()
        unknown = (grpc.StatusCode.UNAUTHENTICATED, "UNKNOWN_CLIENT")
        await_true(lambda: call(channel, method) == unknown)
        city.listed["auditor"] = listed
        put(city.tls / "clients.toml", b"[[clients]]\nname = 1")
        await_true(lambda: bool(asked(city) and city.told("BAD_CLIENTS")))
        assert call(channel, method) == unknown, "what was read before stays"


def test_streams_of_whom_the_list_grants_them_no_more_are_ended_and_others_go_on(
    city: City,
) -> None:
    listed = city.listed["auditor"]
    with city.client("aurora") as client, city.channel(city.holders["auditor"]) as channel:
        assert isinstance(client.append([city.cast.party.summary()])[0], Receipt)
        stream = client._stream
        follow = ledger_pb2_grpc.LedgerServiceStub(channel).Follow(
            ledger_pb2.FollowRequest(), timeout=DEADLINE_S
        )
        assert next(follow).checkpoint
        del city.listed["auditor"]
        try:
            city.list_clients()
            with pytest.raises(grpc.RpcError) as ended:
                list(follow)
        finally:
            city.listed["auditor"] = listed
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert reason_of(ended.value) == "UNKNOWN_CLIENT"
        assert isinstance(client.append([city.cast.party.summary()])[0], Receipt)
        assert client._stream is stream, "the very stream that was open before"


def test_a_client_uses_a_new_certificate_of_its_own_for_its_next_call(city: City) -> None:
    with city.client("aurora") as client:
        client.checkpoint()
        second = alone("second")
        city.list_clients(aurora=(second, ["append", "read"]))
        await_true(lambda: fails(client.checkpoint, SubmissionError))
        city.folder("aurora", second)
        await_true(lambda: not fails(client.checkpoint, SubmissionError))


def test_a_client_whose_own_certificate_expired_while_it_ran_is_told_so(city: City) -> None:
    short = city.aurora.issue("node 5", hours=(-1, 10 / 3600))
    with LedgerClient(city.ledger.grpc, city.folder("short", short)) as client:
        client.checkpoint()
        await_true(lambda: datetime.now(UTC) > short.certificate.not_valid_after_utc)
        client._connect()  # as after an hour, when the ledger ends connections
        with pytest.raises(SubmissionError, match="put a new one there") as refused:
            client.checkpoint()
        assert refused.value.reason == "EXPIRED"
        city.folder("short", city.aurora.issue("node 5"))
        client.checkpoint()


def test_a_thousand_connections_that_say_nothing_hold_up_nobody(city: City) -> None:
    before = city.shown()
    for port in city.ports:
        with ExitStack() as held:
            for number in range(1_000):
                connection = held.enter_context(
                    socket.create_connection(("127.0.0.1", port), timeout=5)
                )
                if number % 2:
                    connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # a hello that never ends
            time.sleep(1.2)
            began = time.monotonic()
            assert city.shown(port) == before
            city.verify_serving()
            assert read(city, city.holders["auditor"], "checkpoint")[0] == 200
            assert time.monotonic() - began < 5


def test_a_handshake_that_does_not_end_is_ended(city: City) -> None:
    for port in city.ports:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            began = time.monotonic()
            connection.sendall(b"\x16\x03\x01\x02\x00")
            with suppress(ConnectionResetError):
                assert connection.recv(100) == b""
            assert 5 < time.monotonic() - began < 15


def read(city: City, own: Holder | None, path: str) -> tuple[int, bytes]:
    """Get a static file as a client with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=city.operator.cert_pem.decode())
    if own is not None:
        folder = write_folder(city.place / "reader", own)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    connection = http.client.HTTPSConnection("127.0.0.1", city.ports[1], timeout=5, context=context)
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_static_files_are_for_clients_that_may_read(city: City) -> None:
    assert city.ledger.http.startswith("https://")
    await_true(lambda: read(city, city.holders["auditor"], "checkpoint")[0] == 200)
    status, words = read(city, city.holders["aurora"], "checkpoint")
    assert (status, b"[NOT_PERMITTED]" in words) == (403, True)
    for stranger in (None, alone("stranger"), authority("aurora").issue("node 1")):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            read(city, stranger, "checkpoint")


def test_static_files_are_for_anybody_where_the_list_says_so(city: City) -> None:
    city.list_clients(tiles="anybody")
    await_true(lambda: not fails(lambda: read(city, None, "checkpoint"), OSError))
    assert read(city, None, "checkpoint")[0] == 200
    assert read(city, None, "private/note.key")[0] == 404
    city.list_clients()
    await_true(lambda: fails(lambda: read(city, None, "checkpoint"), OSError))


def test_an_auditor_reads_the_log_over_tls_and_is_told_what_keeps_it_from_that(city: City) -> None:
    await_true(lambda: read(city, city.holders["auditor"], "checkpoint")[0] == 200)
    reader = city.folder("auditor", city.holders["auditor"])
    with HttpSource(city.ledger.http, tls=reader) as source:
        note = source.read("checkpoint", 10_000)
        assert note is not None
        assert note.startswith(b"rehearsal.")
        assert source.read("tile/0/999", 10_000) is None
    node = city.folder("aurora", city.holders["aurora"])
    other = city.folder("other", city.holders["auditor"], trusts=authority("other"))
    named = city.ledger.http.replace("127.0.0.1", "localhost")
    for place, tls, reason in (
        (city.ledger.http, node, "NOT_PERMITTED"),
        (city.ledger.http, other, "SERVER_NOT_TRUSTED"),
        (named, reader, "SERVER_NOT_TRUSTED"),
        (city.ledger.http, None, "SERVER_NOT_TRUSTED"),
        (city.ledger.http, city.folder("nobody", None), "UNREACHABLE"),
        (city.ledger.http.replace("https", "http"), reader, "UNREACHABLE"),
    ):
        with HttpSource(place, tls=tls) as source, pytest.raises(MirrorError) as refused:
            source.read("checkpoint", 10_000)
        assert refused.value.reason == reason, str(refused.value)


@pytest.mark.parametrize("url", ["http://log.example/", "http://192.0.2.1:7702", "http:///x"])
def test_a_log_elsewhere_is_not_read_in_plain(url: str) -> None:
    with pytest.raises(CertificateError) as refused:
        open_source(url)
    assert refused.value.reason == "TLS_REQUIRED"


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:x/"])
def test_what_is_no_address_is_said_to_be_none(url: str) -> None:
    with pytest.raises(MirrorError) as refused:
        open_source(url)
    assert refused.value.reason == "BAD_ADDRESS"


def older(city: City) -> ssl.SSLContext:
    """What a client has that speaks TLS 1.2 at most, and shows the certificate of one who may read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=city.operator.cert_pem.decode())
    folder = write_folder(city.place / "older", city.holders["auditor"])
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.set_alpn_protocols(["h2"])
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_calls_over_older_tls_are_refused(city: City, version: ssl.TLSVersion) -> None:
    """gRPC itself takes TLS 1.2, and its own clients cannot be held to that: these are HTTP/2's frames by hand."""

    def frame(kind: int, flags: int, stream: int, data: bytes) -> bytes:
        return (
            len(data).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + data
        )

    headers = {
        b":method": b"POST",
        b":scheme": b"https",
        b":path": f"/{SERVICE}/GetCheckpoint".encode(),
        b":authority": b"127.0.0.1",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    block = b"".join(
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in headers.items()
    )
    context = older(city)
    context.maximum_version = version
    address = ("127.0.0.1", city.ports[0])
    with (
        socket.create_connection(address, timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(4, 0, 0, b"")
            + frame(1, 4, 1, block)
            + frame(0, 1, 1, bytes(5))
        )
        answer = b""
        with suppress(TimeoutError):
            connection.settimeout(2)
            while piece := connection.recv(65_536):
                answer += piece
    if version is ssl.TLSVersion.TLSv1_2:
        assert b"not secured with TLS 1.3" in answer
        assert b"rehearsal." not in answer
    else:
        assert b"rehearsal." in answer, "the same frames are answered over TLS 1.3"


def test_static_files_are_not_served_over_older_tls(city: City) -> None:
    context = older(city)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    address = ("127.0.0.1", city.ports[1])
    with socket.create_connection(address, timeout=5) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def asked(city: City) -> bool:
    """Have the ledger look at its files: it does when somebody connects or calls."""
    try:
        city.shown()
    except OSError:
        return False
    with city.channel(city.holders["probe"]) as channel:
        call(channel, "/grpc.health.v1.Health/Check")
    return True


def fails(action: Callable[[], object], kind: type[Exception]) -> bool:
    try:
        action()
    except kind:
        return True
    return False


def await_true(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
