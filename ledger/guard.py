"""Who may call which method: one table, held before every method that a server has.

What is not in the table nobody may call. Single calls are judged one by one; streams when they begin, and again
whenever the list of clients has changed. Of the calls that are open at once no client holds more than its share.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from ledger.access import AccessError, Clients, Permission
from ledger.fault import Context, Fault, busy, end_call
from ledger.limits import Limits
from ledger.service import SERVICE
from ledger.shares import CALLER, Caller, Shares
from statements.watched import LOOK_EVERY_S

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


@dataclass(frozen=True, slots=True, eq=False)
class _Stream:
    """A stream that is open: its method, and what is told why it ends when its client loses it."""

    connection: Connection
    method: str
    lost: "asyncio.Future[Fault]"


class Guard(grpc.aio.ServerInterceptor):
    """Lets a call through when its client may make it; stands before every method of a server.

    ``every_s``: how often it asks for the clients while streams are open.
    """

    def __init__(
        self,
        clients: Callable[[], Clients | None],
        limits: Limits,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._clients = clients
        self._every_s = every_s
        self._room = _ANY, Shares(limits.questions)
        self._rooms = {
            f"/{SERVICE}/Append": (_APPENDING, Shares(limits.streams)),
            f"/{SERVICE}/Follow": (_EITHER, Shares(limits.followers)),
        }
        self._streams: set[_Stream] = set()
        self._watching: asyncio.Task[None] | None = None

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
        streams = handler.request_streaming or handler.response_streaming

        async def answer(request: object, context: Context) -> object:
            await self._admit(context, method)
            work = behaviour(request, context)
            return await (self._while_permitted(work, context, method) if streams else work)

        async def answers(request: object, context: Context) -> AsyncIterator[object]:
            await self._admit(context, method)
            async for one in behaviour(request, context):
                yield one
                await _verified(context, method, self._clients())

        guarded = answers if inspect.isasyncgenfunction(behaviour) else answer
        made: grpc.RpcMethodHandler[M, R] = make(
            guarded,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return made

    async def _admit(self, context: Context, method: str) -> None:
        """Let a call in that its client may make, and that is within its share, which it holds until it is over."""
        clients = self._clients()
        name = await _verified(context, method, clients)
        among, shares = self._rooms.get(method, self._room)
        caller = Caller(name, 1 if clients is None else clients.sharing(among))
        if not shares.fits(caller, 1):
            await end_call(context, busy(f"{name!r} has its share of calls open already"))
        shares.hold(caller, 1)
        context.add_done_callback(lambda _: shares.give(caller, 1))  # type: ignore[arg-type]  # the stub wants a class
        CALLER.set(caller)

    async def _while_permitted(
        self, behaviour: Coroutine[Any, Any, object], context: Context, method: str
    ) -> object:
        """Do what a stream is for until it ends, or until its client may not any more."""
        stream = _Stream(context.auth_context(), method, asyncio.get_running_loop().create_future())
        self._streams.add(stream)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        work = asyncio.create_task(behaviour)
        try:
            both: set[asyncio.Future[Any]] = {work, stream.lost}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
        finally:
            self._streams.discard(stream)
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        return await end_call(context, stream.lost.result())

    async def _watch(self) -> None:
        """While streams are open, judge all of them again when the list of clients has changed."""
        known = self._clients()
        while self._streams:
            await asyncio.sleep(self._every_s)
            newest = self._clients()
            if newest is known:
                continue
            known = newest
            for stream in self._streams:
                try:
                    verify_call(stream.connection, stream.method, newest)
                except AccessError as error:
                    if not stream.lost.done():
                        stream.lost.set_result(_fault(error))


def verify_call(connection: Connection, method: str, clients: Clients | None) -> str:
    """Return the name of who calls a method over a connection, as gRPC describes it; refuse a client who may not.

    Raises :class:`AccessError`.
    """
    if _only(connection, "ssl_tls_version") != b"TLSv1.3":
        raise AccessError("UNKNOWN_CLIENT", "the connection is not secured with TLS 1.3")
    if clients is None:
        raise AccessError("UNKNOWN_CLIENT", "the server knows no clients")
    wanted = PERMISSIONS.get(method, frozenset())
    return clients.verify_may(_only(connection, "x509_pem_cert"), wanted).name


async def _verified(context: Context, method: str, clients: Clients | None) -> str:
    """Return the name of who calls; end a call that its client may not make."""
    try:
        return verify_call(context.auth_context(), method, clients)
    except AccessError as error:
        await end_call(context, _fault(error))


def _fault(error: AccessError) -> Fault:
    status = (
        grpc.StatusCode.PERMISSION_DENIED
        if error.reason == "NOT_PERMITTED"
        else grpc.StatusCode.UNAUTHENTICATED
    )
    return Fault(status, error.reason, str(error))


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
