"""Who may call which method: one table, held before every method that a server has.

What is not in the table nobody may call. Single calls are judged one by one, streams when they begin.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from ledger.access import AccessError, Clients, Permission
from ledger.fault import Context, Fault, end_call
from ledger.service import SERVICE

Connection: TypeAlias = Mapping[str, Iterable[bytes]]
"""What gRPC knows of a connection, by name."""

M = TypeVar("M")
R = TypeVar("R")

_APPENDING: Final = frozenset({Permission.APPEND})
_READING: Final = frozenset({Permission.READ})
_EITHER: Final = _APPENDING | _READING
_ANY: Final = frozenset(Permission)

PERMISSIONS: Final[Mapping[str, frozenset[Permission]]] = {
    f"/{SERVICE}/Append": _APPENDING,
    f"/{SERVICE}/GetAuthor": _EITHER,
    f"/{SERVICE}/GetCheckpoint": _EITHER,
    f"/{SERVICE}/GetInclusionProof": _EITHER,
    f"/{SERVICE}/GetConsistencyProof": _EITHER,
    f"/{SERVICE}/Follow": _EITHER,
    f"/{SERVICE}/GetRecords": _READING,
    f"/{SERVICE}/GetBody": _READING,
    f"/{health.SERVICE_NAME}/Check": _ANY,
    f"/{health.SERVICE_NAME}/Watch": _ANY,
    f"/{health.SERVICE_NAME}/List": _ANY,
    f"/{reflection.SERVICE_NAME}/ServerReflectionInfo": _ANY,
}
"""Each method, and the permissions of which a caller needs one. What is not listed, nobody may call."""


class Guard(grpc.aio.ServerInterceptor):
    """Lets a call through when its client may make it; stands before every method of a server."""

    def __init__(self, clients: Callable[[], Clients | None]) -> None:
        self._clients = clients

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[M, R] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[M, R] | None":
        """Return the method's handler behind a check; ``None`` where there is no such method."""
        handler = await continuation(handler_call_details)
        return None if handler is None else self._guarded(handler, handler_call_details.method)

    def _guarded(
        self, handler: "grpc.RpcMethodHandler[M, R]", method: str
    ) -> "grpc.RpcMethodHandler[M, R]":
        make, behaviour = _kind(handler)

        async def admit(context: Context) -> None:
            try:
                verify_call(context.auth_context(), method, self._clients())
            except AccessError as error:
                status = (
                    grpc.StatusCode.PERMISSION_DENIED
                    if error.reason == "NOT_PERMITTED"
                    else grpc.StatusCode.UNAUTHENTICATED
                )
                await end_call(context, Fault(status, error.reason, str(error)))

        async def answer(request: object, context: Context) -> object:
            await admit(context)
            return await behaviour(request, context)

        async def answers(request: object, context: Context) -> AsyncIterator[object]:
            await admit(context)
            async for one in behaviour(request, context):
                yield one

        guarded = answers if inspect.isasyncgenfunction(behaviour) else answer
        made: grpc.RpcMethodHandler[M, R] = make(
            guarded,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return made


def verify_call(connection: Connection, method: str, clients: Clients | None) -> None:
    """Refuse a call of a method over a connection, as gRPC describes it, by a client who may not make it.

    Raises :class:`AccessError`.
    """
    if _only(connection, "ssl_tls_version") != b"TLSv1.3":
        raise AccessError("UNKNOWN_CLIENT", "the connection is not secured with TLS 1.3")
    if clients is None:
        raise AccessError("UNKNOWN_CLIENT", "the server knows no clients")
    clients.verify_may(_only(connection, "x509_pem_cert"), PERMISSIONS.get(method, frozenset()))


def _only(connection: Connection, name: str) -> bytes:
    values = [*connection.get(name, ())]
    return values[0] if len(values) == 1 else b""


def _kind(handler: "grpc.RpcMethodHandler[M, R]") -> tuple[Callable[..., Any], Any]:
    """Return what makes a handler of this one's kind, and what it does."""
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler, handler.stream_stream
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler, handler.stream_unary
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler, handler.unary_stream
    return grpc.unary_unary_rpc_method_handler, handler.unary_unary
