"""Append over real gRPC."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from ledger.limits import Limits
from protos.stillwatch.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from protos.stillwatch.statement.v1 import header_pb2
from statements.author import Statement
from statements.errors import SubmissionError
from statements.ledger_client import LedgerClient, Receipt
from statements.record import decode_record
from tests.unit.ledger.cast import Cast, request, wire
from tests.unit.ledger.rig import Rig, faulted, reason_of, reasons

SMALL = Limits(
    statements=10,
    request_bytes=50_000,
    transport_bytes=100_000,
    pending_bytes=60_000,
    waiting_bytes=60_000,
    streams=3,
    answer_s=0.5,
)


@pytest.fixture
def rig(cast: Cast, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(cast, tmp_path / "log")
    yield made
    made.close()


@pytest.fixture
def small(cast: Cast, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(cast, tmp_path / "small", SMALL)
    yield made
    made.close()


class Stream:
    """One stream on which batches are sent when the test says so."""

    def __init__(self, rig: Rig) -> None:
        self.requests: queue.SimpleQueue[ledger_pb2.AppendRequest | None] = queue.SimpleQueue()
        self.call = rig.stub.Append(iter(self.requests.get, None), timeout=20)

    def send(self, *said: Statement) -> None:
        self.requests.put(request(*said))

    def exchange(self, *said: Statement) -> list[str]:
        self.send(*said)
        return reasons(next(self.call).results)

    def end(self) -> None:
        self.requests.put(None)


def test_batches_are_answered_in_order_with_receipts_for_what_was_sent(
    cast: Cast, rig: Rig
) -> None:
    said = [cast.party.open(), *cast.party.summaries(59)]
    batches = [said[at : at + 3] for at in range(0, 60, 3)]
    answers = rig.append(*batches)
    receipts = [result.receipt for answer in answers for result in answer]
    assert [receipt.index for receipt in receipts] == list(range(60))
    assert [decode_record(one.record).header for one in receipts] == [one.header for one in said]
    assert all(one.body_held for one in receipts)
    assert [decode_record(r).header for r, _ in rig.journal.leaves(0, 99)] == [
        one.header for one in said
    ]


def test_results_are_single_and_in_order(cast: Cast, rig: Rig) -> None:
    opening, good = cast.party.open(), cast.party.summary()
    bad = Statement(good.header, bytes(64), good.stored)
    cast.party.summary()
    gap = cast.party.summary()
    (results,) = rig.append([opening, bad, good, gap])
    assert reasons(results) == ["", "MALFORMED_SIGNATURE", "", "GAP"]
    assert results[3].wanted_sequence == 2
    assert results[1].message
    assert not results[1].HasField("receipt")
    assert not results[1].HasField("wanted_sequence")


def test_a_stream_without_batches_ends_well(rig: Rig) -> None:
    assert rig.send() == []


def test_a_batch_may_be_signed_by_a_key_that_one_before_it_shows(cast: Cast, rig: Rig) -> None:
    said, (node,) = cast.enrolled()
    answers = rig.append(said, [node.open()], [node.summary()], [node.summary()])
    assert [reasons(answer) for answer in answers] == [["", ""], [""], [""], [""]]


@pytest.mark.parametrize("count", [0, 11])
def test_a_batch_of_a_wrong_size_ends_the_stream_after_what_came_before_it(
    cast: Cast, small: Rig, count: int
) -> None:
    stream = Stream(small)
    assert stream.exchange(cast.party.open()) == [""]
    stream.send(*cast.party.summaries(count, size=1))
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "BATCH_SIZE"):
        next(stream.call)
    stream.end()


def test_a_request_that_is_too_large_ends_the_stream_with_a_reason(cast: Cast, small: Rig) -> None:
    cast.party.open()
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"):
        small.append([cast.party.summary(size=60_000)])


def test_a_request_beyond_the_transports_limit_is_refused_by_the_transport(
    cast: Cast, small: Rig
) -> None:
    cast.party.open()
    with pytest.raises(grpc.RpcError) as refused:
        small.append([cast.party.summary(size=200_000)])
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert small.append([cast.party.open()])[0][0].receipt.index == 0, "others go on"


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff", b"\x0a\x02\x0a", bytes(range(256))])
def test_a_request_that_does_not_parse_ends_the_stream_with_a_reason(rig: Rig, data: bytes) -> None:
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"):
        rig.raw("Append", data)


def test_statements_without_anything_in_them_are_refused_one_by_one(rig: Rig) -> None:
    empty = ledger_pb2.AppendRequest(statements=[header_pb2.Statement()] * 3)
    assert [reasons(answer) for answer in rig.send(empty)] == [["MALFORMED_HEADER"] * 3]


def test_a_withheld_body_is_not_held(cast: Cast, rig: Rig) -> None:
    opening, summary = cast.party.open(), cast.party.summary()
    sent = ledger_pb2.AppendRequest(statements=[wire(opening), wire(summary, withheld=True)])
    (results,) = rig.send(sent)
    assert [one.receipt.body_held for one in results] == [True, False]


def test_a_storage_that_fails_ends_the_stream_and_says_nothing_of_the_machine(
    cast: Cast, rig: Rig
) -> None:
    rig.journal.failures = ["before"]
    opening = cast.party.open()
    with pytest.raises(grpc.RpcError) as failed:
        rig.append([opening])
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(failed.value) == "STORAGE"
    assert "/" not in str(failed.value.details()), "no paths"
    assert reasons(rig.append([opening])[0]) == [""]


def test_more_streams_than_there_is_room_for_are_refused_and_room_comes_back(
    cast: Cast, small: Rig
) -> None:
    opening = cast.party.open()
    streams = [Stream(small) for _ in range(3)]
    for stream in streams:
        assert stream.exchange(opening) == [""]
    with faulted(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
        small.append([opening])
    streams[0].end()
    assert list(streams[0].call) == []
    assert reasons(small.append([opening])[0]) == [""]
    for stream in streams[1:]:
        stream.end()


def test_a_client_that_goes_away_leaves_nothing_behind(cast: Cast, small: Rig) -> None:
    said = [cast.party.open(), *cast.party.summaries(20, size=10_000)]
    for _ in range(3):
        stream = Stream(small)
        for one in said:
            stream.send(one)
        stream.call.cancel()
    wait_until(lambda: small.on_loop(lambda: len(small.appending._readers)) == 0)
    wait_until(lambda: small.on_loop(lambda: small.appending._budget.taken) == 0)
    assert small.on_loop(lambda: len(small.appending._streams)) == 0
    assert reasons(small.append(said[:1])[0]) == [""]


def test_a_client_that_takes_no_answers_is_let_go_and_others_are_served(
    cast: Cast, small: Rig
) -> None:
    """Refusals are larger than what is refused: answers fill the connection soon."""
    empty = ledger_pb2.AppendRequest(statements=[header_pb2.Statement()] * 10)
    channel = grpc.insecure_channel(
        f"127.0.0.1:{small.port}",
        options=[("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)],
    )
    stub = ledger_pb2_grpc.LedgerServiceStub(channel)
    call = stub.Append((empty for _ in range(2_000)), timeout=60)
    wait_until(lambda: small.on_loop(lambda: len(small.appending._streams)) == 1)
    wait_until(lambda: small.on_loop(lambda: len(small.appending._streams)) == 0)
    assert small.on_loop(lambda: small.appending._budget.taken) == 0
    assert reasons(small.append([cast.party.open()])[0]) == [""]
    answered = 0
    with faulted(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
        for _ in call:
            answered += 1
    assert answered < 2_000
    channel.close()


def test_a_client_that_does_not_even_take_its_first_answer_is_told_why_it_was_let_go(
    cast: Cast, tmp_path: Path
) -> None:
    rig = Rig(cast, tmp_path / "log", Limits(answer_s=0.5))
    empty = ledger_pb2.AppendRequest(statements=[header_pb2.Statement()] * 10_000)
    own = [("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{rig.port}", options=own) as channel:
        call = ledger_pb2_grpc.LedgerServiceStub(channel).Append(iter([empty] * 8), timeout=20)
        wait_until(lambda: rig.on_loop(lambda: len(rig.appending._streams)) == 1)
        wait_until(lambda: rig.on_loop(lambda: len(rig.appending._streams)) == 0)
        with faulted(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
            for _ in call:
                pass
    rig.close()


@pytest.fixture
def hurried(cast: Cast, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(cast, tmp_path / "hurried", Limits(connection_s=0.5, connection_grace_s=0.2))
    yield made
    made.close()


def test_connections_end_after_their_time_and_honest_clients_go_on(
    cast: Cast, hurried: Rig
) -> None:
    rig = hurried
    silent = Stream(rig)
    said = [cast.party.open(), *cast.party.summaries(30)]
    failures = 0
    with LedgerClient(f"127.0.0.1:{rig.port}") as client:
        for one in said:
            for _ in range(5):
                try:
                    (answer,) = client.append([one])
                    break
                except SubmissionError:
                    failures += 1
            assert isinstance(answer, Receipt)
            time.sleep(0.08)
    assert failures > 0, "its connection ended more than once"
    with pytest.raises(grpc.RpcError):
        next(silent.call)
    wait_until(lambda: rig.on_loop(lambda: len(rig.appending._streams)) == 0)
    assert rig.journal.size() == 31
    silent.end()


def test_requests_beyond_what_may_wait_end_their_stream(cast: Cast, small: Rig) -> None:
    """Screening stands still: one request is worked on, one waits, and the next finds the line full."""
    stop = threading.Event()
    small.screener._screen = lambda request: stop.wait(10) and []  # type: ignore[method-assign, assignment, return-value]
    cast.party.open()
    large = [cast.party.summary(size=40_000) for _ in range(3)]
    streams = [Stream(small) for _ in range(3)]
    budget = small.appending._budget
    streams[0].send(large[0])
    wait_until(lambda: budget.taken > 0)
    streams[1].send(large[1])
    wait_until(lambda: budget.awaited > 0)
    streams[2].send(large[2])
    with faulted(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
        next(streams[2].call)
    stop.set()
    assert list(next(streams[0].call).results) == []
    assert list(next(streams[1].call).results) == [], "what waited is worked on"
    for stream in streams:
        stream.end()


def test_draining_answers_what_was_read_and_ends_every_stream(cast: Cast, rig: Rig) -> None:
    idle, working = Stream(rig), Stream(rig)
    assert idle.exchange(cast.party.open()) == [""]
    assert working.exchange(cast.evaluator.open()) == [""]
    said = cast.evaluator.summaries(200)
    for at in range(0, 200, 20):
        working.send(*said[at : at + 20])
    answered = [reasons(next(working.call).results)]
    rig.on_loop(rig.appending.drain)
    with faulted(grpc.StatusCode.UNAVAILABLE, "DRAINING"):
        next(idle.call)
    with faulted(grpc.StatusCode.UNAVAILABLE, "DRAINING"):
        answered += [reasons(answer.results) for answer in working.call]
    for answer in answered:
        assert answer == [""] * 20
    with faulted(grpc.StatusCode.UNAVAILABLE, "DRAINING"):
        rig.append([said[0]])
    idle.end()
    working.end()


def test_several_streams_of_one_author_log_each_statement_once(cast: Cast, rig: Rig) -> None:
    said = [cast.party.open(), *cast.party.summaries(60)]
    rig.append(said[:1])
    batches = [said[at : at + 10] for at in range(1, 61, 10)]
    threads = [threading.Thread(target=rig.append, args=batches, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    headers = [decode_record(record).header for record, _ in rig.journal.leaves(0, 1000)]
    assert headers == [one.header for one in said]


def wait_until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
