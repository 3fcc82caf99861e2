"""Follow: whoever asks is told of each checkpoint that is published, and of none that another has superseded since.

A stream holds the one checkpoint that is being sent on it, however far behind its reader is; a reader that does not
take it in time is let go. Draining ends every stream with a reason.
"""

import asyncio
from typing import Any, Final, Protocol

import grpc

from ledger.fault import Context, Fault, busy, end_call, unavailable
from ledger.limits import Limits
from protos.stillwatch.ledger.v1 import ledger_pb2

_DRAINING: Final = unavailable("DRAINING", "the ledger is stopping: try again later, or elsewhere")


class Newest(Protocol):
    """Where a follower learns what is published; any number wait on it at once."""

    async def after(self, seen: bytes | None) -> bytes:
        """Return the newest published checkpoint, a signed note, once there is one other than ``seen``."""
        ...


class Announcer:
    """The newest checkpoint, told within one event loop: whoever publishes announces it there."""

    def __init__(self) -> None:
        self._newest: bytes | None = None
        self._told = asyncio.Event()

    def announce(self, note: bytes) -> None:
        """Tell everybody who waits; what was announced last is announced once."""
        if note != self._newest:
            self._newest = note
            self._told.set()
            self._told = asyncio.Event()

    async def after(self, seen: bytes | None) -> bytes:
        """See :class:`Newest`."""
        while self._newest is None or self._newest == seen:
            await self._told.wait()
        return self._newest


class Following:
    """The handler of Follow."""

    def __init__(self, newest: Newest, limits: Limits) -> None:
        self._newest = newest
        self._limits = limits
        self._followers = 0
        self._draining = asyncio.Event()

    async def follow(self, request: ledger_pb2.FollowRequest | Fault, context: Context) -> None:
        """Tell one caller of checkpoints until it goes, is too slow, or the ledger stops."""
        if isinstance(request, Fault):
            await end_call(context, request)
        if self._draining.is_set():
            await end_call(context, _DRAINING)
        if self._followers >= self._limits.followers:
            await end_call(context, busy(f"{self._followers} follow already"))
        self._followers += 1
        context.add_done_callback(self._leave)  # type: ignore[arg-type]  # the stub wants a class
        # First of all, or a status after a message that was not taken would come with a second one, and not at all.
        await context.send_initial_metadata(())
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            fault = await self._tell(context, draining)
        finally:
            draining.cancel()
        await end_call(context, fault)

    def _leave(self, _: Context) -> None:
        """Give a follower's room back, once its call is over: one that takes nothing keeps it until then."""
        self._followers -= 1

    def drain(self) -> None:
        """Tell nobody any more."""
        self._draining.set()

    async def _tell(self, context: Context, draining: "asyncio.Future[Any]") -> Fault:
        """Send checkpoint after checkpoint; return why no more are."""
        seen: bytes | None = None
        while True:
            newest: asyncio.Future[Any] = asyncio.ensure_future(self._newest.after(seen))
            try:
                await asyncio.wait({newest, draining}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                newest.cancel()
            if draining.done():
                return _DRAINING
            seen = newest.result()
            response = ledger_pb2.FollowResponse(checkpoint=seen)
            try:
                await asyncio.wait_for(context.write(response), self._limits.answer_s)
            except TimeoutError:
                return Fault(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "TOO_SLOW",
                    f"a checkpoint was not taken within {self._limits.answer_s:g} s: call again",
                )
