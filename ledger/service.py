"""The gRPC service: appending on a stream, and how requests reach their handlers.

A batch is screened on a thread of its own while the one before it is made durable; answers come in order. Results are
per statement; a status other than OK says that the stream itself cannot go on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from ledger.errors import LedgerError
from ledger.fault import Context, EndedCall, Fault, end_call, malformed, unavailable
from ledger.keyring import Keyring
from ledger.reading import Reading
from ledger.refusal import Refusal
from ledger.screening import Screened, screen
from ledger.sequencer import Outcome
from ledger.writer import Writer
from protos.stillwatch.ledger.v1 import ledger_pb2

SERVICE: Final = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name
MOST_STATEMENTS: Final = 10_000
"""Statements of one batch."""
MOST_REQUEST_BYTES: Final = 48 << 20
"""A larger request is refused with a reason; one beyond the transport's limit by the transport, without."""
TRANSPORT_LIMIT: Final = 64 << 20
_IN_FLIGHT: Final = 8
"""Batches of one stream that are screened or committed at once."""
_DRAINING: Final = unavailable("DRAINING", "the ledger is stopping: try again later, or elsewhere")

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=Message)
_Answer: TypeAlias = "asyncio.Future[list[Outcome]] | Fault | None"


class LedgerService:
    """Handlers of every method of ``stillwatch.ledger.v1.LedgerService``."""

    def __init__(
        self, writer: Writer, keyring: Keyring, reading: Reading, threads: int = 2
    ) -> None:
        self._writer = writer
        self._keyring = keyring
        self._reading = reading
        self._threads = ThreadPoolExecutor(threads, "screen")
        self._streams: set[asyncio.Queue[_Answer]] = set()
        self._draining = False

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a server registers: requests that do not parse get an answer with a reason, too."""
        reading = self._reading
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Append": grpc.stream_stream_rpc_method_handler(
                    self.append,
                    request_deserializer=_parser(ledger_pb2.AppendRequest),
                    response_serializer=ledger_pb2.AppendResponse.SerializeToString,
                ),
                "GetAuthor": _unary(ledger_pb2.GetAuthorRequest, reading.get_author),
                "GetCheckpoint": _unary(ledger_pb2.GetCheckpointRequest, reading.get_checkpoint),
                "GetInclusionProof": _unary(
                    ledger_pb2.GetInclusionProofRequest, reading.get_inclusion_proof
                ),
                "GetConsistencyProof": _unary(
                    ledger_pb2.GetConsistencyProofRequest, reading.get_consistency_proof
                ),
                "GetRecords": _unary(ledger_pb2.GetRecordsRequest, reading.get_records),
                "GetBody": _unary(ledger_pb2.GetBodyRequest, reading.get_body),
            },
        )

    def drain(self) -> None:
        """Take no more batches: every stream ends once what it has sent is answered."""
        self._draining = True
        for answers in self._streams:
            answers.put_nowait(_DRAINING)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    async def append(
        self, requests: AsyncIterator[ledger_pb2.AppendRequest | Fault], context: Context
    ) -> AsyncIterator[ledger_pb2.AppendResponse]:
        """Answer batches in their order."""
        answers: asyncio.Queue[_Answer] = asyncio.Queue()
        room = asyncio.Semaphore(_IN_FLIGHT)
        if self._draining:
            await end_call(context, _DRAINING)
        reader = asyncio.create_task(self._read(requests, answers, room))
        self._streams.add(answers)
        try:
            while (answer := await answers.get()) is not None:
                if isinstance(answer, Fault):
                    await end_call(context, answer)
                try:
                    outcomes = await answer
                except LedgerError as error:
                    await end_call(context, unavailable("STORAGE", str(error)))
                room.release()
                yield ledger_pb2.AppendResponse(results=[_result(one) for one in outcomes])
        finally:
            self._streams.discard(answers)
            reader.cancel()
            with suppress(asyncio.CancelledError, grpc.RpcError):
                await reader

    async def _read(
        self,
        requests: AsyncIterator[ledger_pb2.AppendRequest | Fault],
        answers: "asyncio.Queue[_Answer]",
        room: asyncio.Semaphore,
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for request in requests:
                if isinstance(request, Fault):
                    answers.put_nowait(request)
                    return
                if not 1 <= len(request.statements) <= MOST_STATEMENTS:
                    words = f"a batch holds 1 to {MOST_STATEMENTS:,} statements, not {len(request.statements)}"
                    answers.put_nowait(malformed(words, "BATCH_SIZE"))
                    return
                await room.acquire()
                batch = await loop.run_in_executor(self._threads, self._screen, request)
                if self._draining:
                    return
                answers.put_nowait(self._writer.submit(batch))
        finally:
            answers.put_nowait(None)

    def _screen(self, request: ledger_pb2.AppendRequest) -> list[Screened | Refusal]:
        keyring = self._keyring
        batch = screen(
            [
                (one.header, one.signature, one.stored if one.HasField("stored") else None)
                for one in request.statements
            ],
            keyring.known,
            keyring.is_live,
            keyring.pins.digest,
        )
        for one in batch:
            # Batches that were sent without waiting for this one's answer may be signed by the key it shows.
            if isinstance(one, Screened) and keyring.known(one.key.key_id) is None:
                keyring.show(one.key)
        return batch


def _result(outcome: Outcome) -> ledger_pb2.AppendResult:
    if isinstance(outcome, Refusal):
        return ledger_pb2.AppendResult(
            reason=outcome.code, message=outcome.message, wanted_sequence=outcome.wanted_sequence
        )
    return ledger_pb2.AppendResult(
        receipt=ledger_pb2.Receipt(
            index=outcome.index, record=outcome.record, body_held=outcome.body_held
        )
    )


def _parser(kind: type[M]) -> Callable[[bytes], M | Fault]:
    def parse(data: bytes) -> M | Fault:
        if len(data) > MOST_REQUEST_BYTES:
            words = f"the request has {len(data)} bytes, at most {MOST_REQUEST_BYTES} are read: send smaller batches"
            return malformed(words, "REQUEST_TOO_LARGE")
        try:
            return kind.FromString(data)
        except DecodeError:
            return malformed(f"the request does not parse as {kind.__name__}")

    return parse


def _unary(
    kind: type[M], answer: Callable[[M], Awaitable[R]]
) -> "grpc.RpcMethodHandler[M | Fault, R]":
    async def handle(request: M | Fault, context: Context) -> R:
        try:
            return await answer(_parsed(request))
        except EndedCall as ended:
            await end_call(context, ended.fault)
        except LedgerError as error:
            await end_call(context, unavailable("STORAGE", str(error)))

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=_parser(kind),
        response_serializer=_serialize,
    )


def _parsed(request: M | Fault) -> M:
    if isinstance(request, Fault):
        raise EndedCall(request)
    return request


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
