"""A ledger that is told to stop under load: what it answered is durable, and it ends soon and well."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from ledger.witness.folder import WitnessFolder
from protos.stillwatch.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from protos.stillwatch.statement.v1 import header_pb2
from statements.errors import SubmissionError
from statements.ledger_client import LedgerClient, Receipt
from statements.record import decode_record
from tests.unit.ledger.cast import Cast, request
from tests.unit.ledger.clients import Client, verify_log
from tests.unit.ledger.process import LedgerProcess, found_log


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    return found_log(tmp_path / "log")


@pytest.fixture
def ledger(tmp_path: Path, cast: Cast) -> Iterator[LedgerProcess]:
    process = LedgerProcess(tmp_path / "log", options=("--beat", "0.2"))
    process.start()
    yield process
    process.end()


def stop_within(ledger: LedgerProcess, seconds: float) -> None:
    began = time.monotonic()
    assert ledger.stop() == 0
    assert time.monotonic() - began < seconds
    assert "Traceback" not in ledger.log.read_text()


def test_a_ledger_that_drains_under_load_keeps_every_answer_it_gave(
    cast: Cast, ledger: LedgerProcess
) -> None:
    said, people = cast.enrolled(4)
    with LedgerClient(ledger.grpc) as client:
        assert all(isinstance(one, Receipt) for one in client.append(said))
    stop = threading.Event()
    clients = [Client(person, ledger.grpc) for person in people]
    threads = [client.start(stop) for client in clients]
    for _ in range(3):
        time.sleep(0.7)
        stop_within(ledger, 4)
        ledger.start()
    stop.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    stop_within(ledger, 3)
    verify_log(ledger.folder, cast, clients)
    assert sum(len(client.acknowledged) for client in clients) > 400


def test_a_stream_of_batches_under_way_loses_no_answer_that_came(
    cast: Cast, ledger: LedgerProcess
) -> None:
    """Batches are sent without waiting for answers; the ledger stops in the middle of them."""
    batches = [[cast.party.open()], *([one] for one in cast.party.summaries(5_000, size=10))]
    acknowledged: dict[bytes, int] = {}
    ended: list[grpc.StatusCode] = []

    def receive(call: Iterator[ledger_pb2.AppendResponse]) -> None:
        try:
            for (said,), answer in zip(batches, call, strict=False):
                (result,) = answer.results
                assert decode_record(result.receipt.record).header == said.header
                acknowledged[said.header] = result.receipt.index
        except grpc.RpcError as error:
            ended.append(error.code())

    with grpc.insecure_channel(ledger.grpc) as channel:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        call = stub.Append((request(*batch) for batch in batches), timeout=60)
        receiving = threading.Thread(target=receive, args=[call], daemon=True)
        receiving.start()
        while len(acknowledged) < 100:
            time.sleep(0.01)
        stop_within(ledger, 4)
        receiving.join(10)
    # The reason is DRAINING, unless the connection ends before it has arrived.
    assert ended
    assert ended[0] in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert len(acknowledged) < 5_000
    verify_log(ledger.folder, cast, [Client(cast.party, ledger.grpc, acknowledged=acknowledged)])


def test_clients_that_neither_speak_nor_listen_do_not_keep_a_ledger_from_ending(
    cast: Cast, ledger: LedgerProcess
) -> None:
    empty = ledger_pb2.AppendRequest(statements=[header_pb2.Statement()] * 5_000)

    def silence() -> Iterator[ledger_pb2.AppendRequest]:
        time.sleep(15)
        yield from ()

    small_window = [("grpc.http2.bdp_probe", 0)]
    with grpc.insecure_channel(ledger.grpc, options=small_window) as channel:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        calls = [stub.Append(silence()) for _ in range(20)]
        calls += [stub.Append(iter([empty] * 60)) for _ in range(3)]
        time.sleep(1.5)
        began = time.monotonic()
        stop_within(ledger, 6)
        assert time.monotonic() - began > 2, "they got their time to listen"
        for call in calls:
            call.cancel()


def test_followers_are_told_and_do_not_keep_a_ledger_from_ending(
    cast: Cast, ledger: LedgerProcess
) -> None:
    with ExitStack() as clients:
        told = [clients.enter_context(LedgerClient(ledger.grpc)).follow() for _ in range(20)]
        first = {next(one) for one in told}
        assert len(first) == 1
        with LedgerClient(ledger.grpc) as client:
            assert isinstance(client.append([cast.party.open()])[0], Receipt)
        assert {next(one) for one in told}.isdisjoint(first)
        stop_within(ledger, 4)
        for one in told:
            with pytest.raises(SubmissionError, match="DRAINING"):
                for _ in one:
                    pass


def test_a_witness_that_never_answers_does_not_keep_a_ledger_from_ending(tmp_path: Path) -> None:
    """It is asked for the checkpoint that is under way, and for the last one."""
    keys = WitnessFolder.create(tmp_path / "witness", "witness.example/deaf").keys
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        policy = f"witness w {keys[0].vkey} http://127.0.0.1:{deaf.getsockname()[1]}/\nquorum w"
        cast = found_log(tmp_path / "log", policy)
        ledger = LedgerProcess(tmp_path / "log", options=("--beat", "0.2")).start()
        try:
            with LedgerClient(ledger.grpc) as client:
                assert isinstance(client.append([cast.party.open()])[0], Receipt)
            stop_within(ledger, 8)
        finally:
            ledger.end()
