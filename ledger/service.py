"""The gRPC service: how requests reach their handlers, and how faults reach whoever asked."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from ledger.appending import Appending
from ledger.errors import LedgerError
from ledger.fault import STORAGE_FAILED, Context, EndedCall, Fault, busy, end_call, malformed
from ledger.following import Following
from ledger.limits import Limits
from ledger.reading import Reading
from ledger.screeners.interface import Request
from protos.stillwatch.ledger.v1 import ledger_pb2

SERVICE: Final = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=Message)

_log = structlog.get_logger("stillwatch.ledger")


def service_handlers(
    appending: Appending, reading: Reading, following: Following, limits: Limits
) -> grpc.GenericRpcHandler:
    """Return what a server registers as ``stillwatch.ledger.v1.LedgerService``.

    Requests are parsed here and not by generated code, so that one that does not parse gets an answer with a reason.
    """

    room = _Room(limits.questions)

    def parse_append(data: bytes) -> Request | Fault:
        message = _parse(ledger_pb2.AppendRequest, data, limits)
        return message if isinstance(message, Fault) else Request(message, len(data))

    def unary(
        kind: type[M], answer: Callable[[M], Awaitable[R]]
    ) -> "grpc.RpcMethodHandler[M | Fault, R]":
        async def handle(request: M | Fault, context: Context) -> R:
            try:
                room.enter(context)
                if isinstance(request, Fault):
                    raise EndedCall(request)  # noqa: TRY301
                return await answer(request)
            except EndedCall as ended:
                await end_call(context, ended.fault)
            except LedgerError as error:
                _log.error("cannot answer", reason=error.reason, error=str(error))
                await end_call(context, STORAGE_FAILED)

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=lambda data: _parse(kind, data, limits),
            response_serializer=_serialize,
        )

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Append": grpc.stream_stream_rpc_method_handler(
                appending.append,
                request_deserializer=parse_append,
                response_serializer=None,  # answers are bytes already
            ),
            "GetAuthor": unary(ledger_pb2.GetAuthorRequest, reading.get_author),
            "GetCheckpoint": unary(ledger_pb2.GetCheckpointRequest, reading.get_checkpoint),
            "GetInclusionProof": unary(
                ledger_pb2.GetInclusionProofRequest, reading.get_inclusion_proof
            ),
            "GetConsistencyProof": unary(
                ledger_pb2.GetConsistencyProofRequest, reading.get_consistency_proof
            ),
            "GetRecords": unary(ledger_pb2.GetRecordsRequest, reading.get_records),
            "GetBody": unary(ledger_pb2.GetBodyRequest, reading.get_body),
            "Follow": grpc.unary_stream_rpc_method_handler(
                following.follow,
                request_deserializer=lambda data: _parse(ledger_pb2.FollowRequest, data, limits),
                response_serializer=_serialize,
            ),
        },
    )


class _Room:
    """Room for so many calls at once; each leaves it when its answer was taken, or nobody waits for it any more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0

    def enter(self, context: Context) -> None:
        """Let a call in; raises :class:`EndedCall` when there is no room."""
        if self._inside >= self._most:
            raise EndedCall(busy(f"{self._inside} questions are being answered"))
        self._inside += 1
        context.add_done_callback(self._leave)  # type: ignore[arg-type]  # the stub wants a class

    def _leave(self, _: Context) -> None:
        self._inside -= 1


def _parse(kind: type[M], data: bytes, limits: Limits) -> M | Fault:
    if len(data) > limits.request_bytes:
        words = f"the request has {len(data)} bytes, at most {limits.request_bytes} are read: send smaller batches"
        return malformed(words, "REQUEST_TOO_LARGE")
    try:
        return kind.FromString(data)
    except DecodeError:
        return malformed(f"the request does not parse as {kind.__name__}")


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
