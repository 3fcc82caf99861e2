"""Everything that strangers may send to a ledger that runs: each gets an answer, and it goes on serving."""

import dataclasses
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import grpc
import pytest
from google.protobuf.message import Message

from ledger.service import SERVICE
from protos.stillwatch.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from protos.stillwatch.statement.v1 import governance_pb2, header_pb2
from statements.author import Statement
from statements.body import BODY_LIMIT, body_digest
from statements.header import Header, decode_header, encode_header
from statements.kinds import Kind
from statements.ledger_client import LedgerClient, Receipt
from statements.rotation import recovery
from statements.signing import ORDER, SigningKey, statement_id
from tests.unit.ledger.cast import Person, wire
from tests.unit.ledger.process import LedgerProcess, found_log, stillwatch
from tests.unit.ledger.rig import faulted, reason_of, reasons

DEADLINE_S: Final = 30.0
METHODS: Final = (
    "Append",
    "GetAuthor",
    "GetCheckpoint",
    "GetInclusionProof",
    "GetConsistencyProof",
    "GetRecords",
    "GetBody",
    "Follow",
)


class Town:
    """A ledger that runs, who speaks in it, and a channel to it."""

    def __init__(self, place: Path) -> None:
        self.cast = found_log(place / "log")
        self.ledger = LedgerProcess(place / "log").start()
        self.channel = grpc.insecure_channel(
            self.ledger.grpc,
            options=[
                ("grpc.max_send_message_length", 100 << 20),
                ("grpc.max_receive_message_length", 64 << 20),
            ],
        )
        self.stub = ledger_pb2_grpc.LedgerServiceStub(self.channel)

    def send(self, *statements: header_pb2.Statement) -> list[ledger_pb2.AppendResult]:
        batch = ledger_pb2.AppendRequest(statements=statements)
        (answer,) = self.stub.Append(iter([batch]), timeout=DEADLINE_S)
        return list(answer.results)

    def raw(self, method: str, data: bytes) -> bytes:
        path = f"/{SERVICE}/{method}"
        if method == "Append":
            stream: grpc.StreamStreamMultiCallable[bytes, bytes] = self.channel.stream_stream(path)
            return b"".join(stream(iter([data]), timeout=DEADLINE_S))
        unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(path)
        return unary(data, timeout=DEADLINE_S)

    def verify_serving(self) -> None:
        """Refuse a ledger that does not log what an honest author says."""
        assert self.ledger.alive, self.ledger.log.read_text()
        with LedgerClient(self.ledger.grpc) as client:
            if self.cast.party.place is None:
                assert isinstance(client.append([self.cast.party.open()])[0], Receipt)
            (receipt,) = client.append([self.cast.party.summary()])
        assert isinstance(receipt, Receipt)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    made = Town(tmp_path_factory.mktemp("town"))
    made.verify_serving()
    yield made
    made.verify_serving()
    made.channel.close()
    assert made.ledger.stop() == 0
    assert "Traceback" not in made.ledger.log.read_text()
    checked = stillwatch("ledger", "fsck", str(made.ledger.folder))
    assert checked.returncode == 0, checked.stdout


@pytest.fixture
def speaker(town: Town) -> Person:
    """The evaluator, who opened an epoch of its own."""
    town.cast.evaluator.place = None
    assert reasons(town.send(wire(town.cast.evaluator.open()))) == [""]
    return town.cast.evaluator


def signed(
    person: Person, said: Statement, change: Callable[[Header], Header], stored: bytes | None = None
) -> header_pb2.Statement:
    header = encode_header(change(decode_header(said.header)))
    return header_pb2.Statement(
        header=header,
        signature=person.key.sign(statement_id(header)),
        stored=said.stored if stored is None else stored,
    )


def with_body(person: Person, said: Statement, stored: bytes) -> header_pb2.Statement:
    digest = body_digest(stored)
    return signed(
        person,
        said,
        lambda header: header._replace(body_digest=digest, stored_digest=digest),
        stored,
    )


def test_requests_that_do_not_parse(town: Town) -> None:
    draw = random.Random(1)
    for method in METHODS:
        for data in (b"\xff", b"\x0a\xff\xff\xff\xff\x0f", draw.randbytes(1000)):
            with faulted(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"):
                town.raw(method, data)
    town.verify_serving()


def test_headers_signatures_and_bodies_of_wrong_lengths(town: Town, speaker: Person) -> None:
    good = wire(speaker.summary())
    sent = [good]
    wanted = [""]
    for length in (0, 1, 301, 303, 100_000):
        sent.append(header_pb2.Statement(header=bytes(length), signature=good.signature))
        wanted.append("MALFORMED_HEADER")
    for length in (0, 63, 65, 100_000):
        sent.append(header_pb2.Statement(header=good.header, signature=bytes(length)))
        wanted.append("MALFORMED_SIGNATURE")
    sent.append(with_body(speaker, speaker.summary(), bytes(BODY_LIMIT + 1)))
    wanted.append("BODY_TOO_LARGE")
    assert reasons(town.send(*sent)) == wanted


def test_signatures_that_are_malleated_out_of_range_or_anothers(
    town: Town, speaker: Person
) -> None:
    said = speaker.summary()
    s = ORDER - int.from_bytes(said.signature[32:], "big")
    forgeries = {
        "HIGH_S": said.signature[:32] + s.to_bytes(32, "big"),
        "MALFORMED_SIGNATURE": bytes(32) + said.signature[32:],
        "BAD_SIGNATURE": town.cast.party_key.sign(said.id),
    }
    for reason, signature in forgeries.items():
        statement = header_pb2.Statement(
            header=said.header, signature=signature, stored=said.stored
        )
        assert reasons(town.send(statement)) == [reason]
    assert reasons(town.send(wire(said))) == [""], "the right one is still taken"


def test_keys_that_nobody_knows(town: Town) -> None:
    stranger = town.cast.person()
    sent = [wire(stranger.open()), wire(stranger.summary())]
    assert reasons(town.send(*sent)) == ["UNKNOWN_KEY"] * 2
    answer = town.stub.GetAuthor(ledger_pb2.GetAuthorRequest(author=stranger.key.key_id))
    assert (list(answer.heads), answer.live) == ([], False)


def test_gaps_forks_and_wrong_turns_are_answered_with_what_is_wanted(
    town: Town, speaker: Person
) -> None:
    place = speaker.place
    assert place is not None
    first = speaker.summary()
    speaker.place = place
    fork = speaker.summary()
    speaker.place = dataclasses.replace(place, sequence=5)
    gap = speaker.summary()
    speaker.place = dataclasses.replace(place, sequence=2, previous=b"\1" * 32)
    turn = speaker.summary()
    speaker.place = dataclasses.replace(place, sequence=0, epoch=bytes(16))
    unopened = speaker.summary()
    results = town.send(*map(wire, (first, fork, gap, turn, unopened)))
    assert reasons(results) == ["", "FORK", "GAP", "WRONG_PREVIOUS", "NOT_AN_OPENING"]
    wanted = [one.wanted_sequence if one.HasField("wanted_sequence") else None for one in results]
    assert wanted == [None, 2, 2, 2, None]


def test_statements_that_no_version_or_nobody_but_others_may_say(
    town: Town, speaker: Person
) -> None:
    def changed(change: Callable[[Header], Header]) -> header_pb2.Statement:
        return signed(speaker, speaker.summary(), change)

    other = town.cast.party_key.key_id
    sent = {
        "UNKNOWN_KIND": changed(lambda header: header._replace(kind=4_000_000_000)),
        "UNKNOWN_DISCLOSURE": changed(lambda header: header._replace(disclosure=9)),
        "INVERTED_PERIOD": wire(speaker.say(governance_pb2.Fact(), 2, 1)),
        "WRONG_AUTHOR": changed(lambda header: header._replace(author=other)),
        "BODY_MISMATCH": wire(speaker.summary()._replace(stored=b"other")),
        "BODY_MISSING": wire(speaker.say(governance_pb2.Fact()), withheld=True),
        "MALFORMED_BODY": with_body(speaker, speaker.say(governance_pb2.Fact()), b"\xff"),
        "BAD_ENROLMENT": wire(speaker.say(town.cast.enrolment(town.cast.person()))),
        "BAD_ROTATION": wire(speaker.say(recovery(SigningKey.generate(), other, bytes(32)))),
    }
    assert reasons(town.send(*sent.values())) == list(sent)


def test_kinds_whose_effects_are_not_checked_are_not_logged(town: Town, speaker: Person) -> None:
    for kind in (Kind.ACTIVATION, Kind.FOREIGN_CHECKPOINT):

        def change(header: Header, kind: Kind = kind) -> Header:
            return header._replace(kind=int(kind))

        sent = signed(speaker, speaker.summary(), change)
        assert reasons(town.send(sent)) == ["UNKNOWN_KIND"]


def test_empty_and_oversized_batches(town: Town) -> None:
    for count in (0, 10_001):
        with faulted(grpc.StatusCode.INVALID_ARGUMENT, "BATCH_SIZE"):
            town.send(*[header_pb2.Statement()] * count)
    assert len(town.send(*[header_pb2.Statement()] * 10_000)) == 10_000


def test_oversized_requests(town: Town) -> None:
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"):
        town.raw("Append", bytes(49 << 20))
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"):
        town.raw("GetBody", bytes(49 << 20))
    with pytest.raises(grpc.RpcError) as refused:
        town.raw("Append", bytes(70 << 20))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    town.verify_serving()


def test_random_bytes_in_place_of_statements(town: Town, speaker: Person) -> None:
    """Each is refused on its own, or the request is; nothing is logged."""
    draw = random.Random(2)
    for _ in range(30):
        batch = [
            header_pb2.Statement(
                header=draw.randbytes(draw.choice([0, 64, 302])),
                signature=draw.randbytes(draw.choice([0, 64])),
                stored=draw.randbytes(draw.randrange(100)),
            )
            for _ in range(20)
        ]
        assert reasons(town.send(*batch)) == ["MALFORMED_HEADER"] * 20


def test_good_requests_with_a_few_bytes_changed(town: Town, speaker: Person) -> None:
    draw = random.Random(3)
    said = [wire(one) for one in speaker.summaries(3)]
    good = ledger_pb2.AppendRequest(statements=said).SerializeToString()
    ended: Counter[str] = Counter()
    for _ in range(250):
        data = bytearray(good)
        for _ in range(draw.choice([1, 1, 1, 8])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        reason, answer = outcome(partial(town.raw, "Append", bytes(data)))
        ended[reason] += 1
        for one in ledger_pb2.AppendResponse.FromString(answer).results:
            assert (one.reason == 0) == one.HasField("receipt")
    assert set(ended) <= {"", "MALFORMED_REQUEST", "BATCH_SIZE"}
    assert ended[""] > 100
    assert reasons(town.send(*said)) == ["", "", ""]


def test_questions_with_any_numbers(town: Town) -> None:
    numbers = (0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
    for number in numbers:
        for ask in (
            lambda number=number: town.stub.GetInclusionProof(
                ledger_pb2.GetInclusionProofRequest(index=number, size=number)
            ),
            lambda number=number: town.stub.GetConsistencyProof(
                ledger_pb2.GetConsistencyProofRequest(from_size=number, to_size=number)
            ),
            lambda number=number: town.stub.GetRecords(
                ledger_pb2.GetRecordsRequest(start=number, count=min(number, 2**32 - 1))
            ),
            lambda number=number: town.stub.GetBody(ledger_pb2.GetBodyRequest(index=number)),
        ):
            assert outcome(ask)[0] in {"", "NOT_FOUND", "BAD_RANGE"}


def test_bytes_that_are_no_http2_at_all(town: Town) -> None:
    host, _, port = town.ledger.grpc.rpartition(":")
    draw = random.Random(4)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for data in (
        b"GET / HTTP/1.1\r\n\r\n",
        draw.randbytes(5000),
        preface,
        preface + draw.randbytes(5000),
        preface + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    ):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(data)
    town.verify_serving()


def test_hundreds_of_streams_on_which_nobody_says_anything(town: Town) -> None:
    channels = [
        grpc.insecure_channel(town.ledger.grpc, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(20)
    ]
    silence = [
        ledger_pb2_grpc.LedgerServiceStub(channel).Append(_silence())
        for channel in channels
        for _ in range(10)
    ]
    town.verify_serving()
    for call in silence:
        call.cancel()
    for channel in channels:
        channel.close()
    town.verify_serving()


def _silence() -> Iterator[ledger_pb2.AppendRequest]:
    time.sleep(2)
    yield from ()


def test_clients_that_hang_up_in_the_middle(town: Town) -> None:
    def hang_up(number: int) -> None:
        person = town.cast.person()
        batch = ledger_pb2.AppendRequest(
            statements=[wire(person.open()), *map(wire, person.summaries(20, 10_000))]
        )
        call = town.stub.Append(iter([batch] * 5))
        time.sleep(number % 5 * 0.01)
        call.cancel()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hang_up, range(60)))
    town.verify_serving()


def test_http_serves_the_logs_files_and_nothing_else(town: Town) -> None:
    for path in (
        "/private/note.key",
        "/private/statement.key",
        "/private/journal.sqlite",
        "/../log/private/note.key",
        "/tile/../private/note.key",
        "/%2e%2e/log/private/note.key",
        "/%2e/private/note.key",
        "/tile/%2e%2e/private/note.key",
        "/private%2fnote.key",
        "//private/note.key",
        "/.",
        "/",
        "/nothing",
        "/tile/0/999",
    ):
        answer = http(town, f"GET {path} HTTP/1.0\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404 "), path
        assert b"PRIVATE KEY" not in answer
    whole = http(town, b"GET /checkpoint HTTP/1.0\r\n\r\n")
    assert whole.startswith(b"HTTP/1.1 200 ")
    head = http(town, b"HEAD /checkpoint HTTP/1.0\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")
    assert http(town, b"DELETE /checkpoint HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 501 ")


def test_slow_http_clients_hold_up_nobody(town: Town) -> None:
    host, _, port = town.ledger.http.removeprefix("http://").rpartition(":")
    slow = [socket.create_connection((host, int(port)), timeout=5) for _ in range(40)]
    for number, connection in enumerate(slow):
        connection.sendall(b"GET /checkpoint HTTP/1.1\r\n"[: number % 27])
    began = time.monotonic()
    assert http(town, b"GET /checkpoint HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() - began < 2
    town.verify_serving()
    for connection in slow:
        connection.close()


def outcome(ask: Callable[[], bytes | Message]) -> tuple[str, bytes]:
    """Return why a call failed, or what it answered."""
    try:
        answer = ask()
    except grpc.RpcError as error:
        return reason_of(error), b""
    return "", answer if isinstance(answer, bytes) else answer.SerializeToString()


def http(town: Town, data: bytes) -> bytes:
    host, _, port = town.ledger.http.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer
