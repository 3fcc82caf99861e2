"""The gRPC service in this process, on a real port, its parts within reach."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar, cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from ledger.appending import Appending
from ledger.fault import DOMAIN
from ledger.following import Announcer, Following
from ledger.keyring import Keyring
from ledger.limits import Limits
from ledger.publisher import Publisher
from ledger.reading import Reading
from ledger.screeners.threads import ScreeningThreads
from ledger.sequencer import Sequencer
from ledger.service import SERVICE, service_handlers
from ledger.writer import Writer
from protos.stillwatch.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from statements.author import Statement
from tests.unit.ledger.cast import Cast, FailingJournal, FailingStore, Hours, request

DEADLINE_S: Final = 10.0
T = TypeVar("T")


class Rig:
    """A ledger without its process: journal, files, writer, and a server for them."""

    def __init__(self, who: Cast, place: Path, limits: Limits | None = None) -> None:
        self.cast = who
        self.limits = limits or Limits()
        (place / "private").mkdir(parents=True, exist_ok=True)
        self.journal = FailingJournal(place / "private")
        self.store = FailingStore(place)
        self.keyring: Keyring = who.keyring()
        self.sequencer = Sequencer.open(self.journal, self.keyring, Hours())
        self.publisher = Publisher(self.journal, self.store, who.signer)
        self.publisher.open()
        self.errors: list[str] = []
        self._started: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="rig", daemon=True)
        self._thread.start()
        self.port = self._started.result(DEADLINE_S)
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{self.port}",
            options=[
                ("grpc.max_receive_message_length", 64 << 20),
                ("grpc.max_send_message_length", 80 << 20),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self.stub = ledger_pb2_grpc.LedgerServiceStub(self.channel)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._loop.set_exception_handler(lambda _, said: self.errors.append(str(said["message"])))
        self.writer = Writer(self.sequencer)
        self.screener = ScreeningThreads(self.keyring)
        self.appending = Appending(self.writer, self.screener, self.limits)
        reading = Reading(self.sequencer, self.writer, self.journal, self.store, self.publisher)
        server = grpc.aio.server(options=self.limits.server_options(self.limits.connections))
        self.announcer = Announcer()
        self.following = Following(self.announcer, self.limits)
        handlers = service_handlers(self.appending, reading, self.following, self.limits)
        server.add_generic_rpc_handlers((handlers,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        working = asyncio.create_task(self.writer.run())
        self._started.set_result(port)
        await self._end.wait()
        await server.stop(0.2)
        working.cancel()
        await self.screener.close()
        reading.close()
        self.writer.close()

    def on_loop(self, action: Callable[[], T]) -> T:
        """Do something on the server's own thread."""

        async def run() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(DEADLINE_S)

    def close(self) -> None:
        self.channel.close()
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(DEADLINE_S)
        self.journal.close()
        assert self.errors == [], "nothing went wrong unnoticed"

    def append(self, *batches: Iterable[Statement]) -> list[list[ledger_pb2.AppendResult]]:
        """Send batches on one stream, and return their results."""
        return self.send(*(request(*batch) for batch in batches))

    def send(self, *requests: ledger_pb2.AppendRequest) -> list[list[ledger_pb2.AppendResult]]:
        answers = self.stub.Append(iter(requests), timeout=DEADLINE_S)
        return [list(answer.results) for answer in answers]

    def raw(self, method: str, data: bytes) -> bytes:
        """Call a method with any bytes."""
        path = f"/{SERVICE}/{method}"
        if method == "Append":
            stream: grpc.StreamStreamMultiCallable[bytes, bytes] = self.channel.stream_stream(path)
            return b"".join(stream(iter([data]), timeout=DEADLINE_S))
        unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(path)
        return unary(data, timeout=DEADLINE_S)

    def publish(self) -> None:
        published = self.publisher.publish()
        self.on_loop(lambda: self.announcer.announce(published.note))


@contextmanager
def faulted(status: grpc.StatusCode, reason: str) -> Iterator[None]:
    """Expect a call to end with that status, and details that name that reason."""
    with pytest.raises(grpc.RpcError) as ended:
        yield
    assert (ended.value.code(), reason_of(ended.value)) == (status, reason)


def reason_of(error: grpc.RpcError) -> str:
    """Return the reason in a status's details."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    assert status is not None, f"no details: {error}"
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == DOMAIN
    assert f"REASON_{info.reason}" in ledger_pb2.Reason.DESCRIPTOR.values_by_name, info.reason
    assert status.message, "and words"
    return str(info.reason)


def reasons(results: Iterable[ledger_pb2.AppendResult]) -> list[str]:
    """Return the reason of each result, ``""`` for a receipt."""
    return [
        ledger_pb2.Reason.Name(one.reason).removeprefix("REASON_") if one.reason else ""
        for one in results
    ]
