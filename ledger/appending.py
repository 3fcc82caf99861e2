"""Append: batches come in on a stream, and answers go out in their order.

A batch is screened elsewhere while the one before it is made durable. What is held of a stream is bounded:
so many batches in flight, and of all streams together so many bytes; a client that does not take its answers is let go.
Draining takes no more batches, and ends each stream once what was read from it is answered.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

import grpc
import structlog

from ledger.answers import encode_response
from ledger.buckets import Buckets
from ledger.budget import Budget
from ledger.errors import LedgerError, ProcessError
from ledger.fault import STORAGE_FAILED, Context, Fault, busy, end_call, malformed, unavailable
from ledger.limits import Limits
from ledger.refusal import Refusal
from ledger.screeners.interface import Request, Screener
from ledger.sequencer import Outcome
from ledger.shares import CALLER, Caller
from ledger.writer import Writer

_log = structlog.get_logger("stillwatch.ledger")

_TOO_MUCH_UNVERIFIED: Final = busy("too much of what came from this client was refused")
_TOO_MUCH_UNLOGGED: Final = busy("too much of what came from this client was not to be logged")
_DRAINING: Final = unavailable("DRAINING", "the ledger is stopping: try again later, or elsewhere")


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch on its way: what it takes of whose budget, what of it was refused already, and what becomes of it."""

    size: int
    caller: Caller
    refused: int
    outcomes: "asyncio.Future[list[Outcome]]"


_Answer: TypeAlias = _Batch | Fault | None
"""What comes next on a stream: a batch's outcomes, the fault that ends it, or its good end."""


class _Stream:
    """One stream. ``busy``: its reader holds a request, and ends by itself."""

    def __init__(self, sender: str, in_flight: int) -> None:
        self.sender = sender
        self.caller = CALLER.get()
        self.client = self.caller.name or sender
        self.answers: asyncio.Queue[_Answer] = asyncio.Queue()
        self.room = asyncio.Semaphore(in_flight)
        self.reader: asyncio.Task[None]
        self.busy = False
        self.ended = False


class Appending:
    """The handler of Append."""

    def __init__(self, writer: Writer, screener: Screener, limits: Limits) -> None:
        self._writer = writer
        self._screener = screener
        self._limits = limits
        self._unverified = Buckets(
            limits.unverified_bytes, limits.unverified_bytes_per_s, time.monotonic
        )
        self._unlogged = Buckets(limits.unlogged_bytes, limits.unlogged_bytes_per_s, time.monotonic)
        self._budget = Budget(limits.pending_bytes, limits.waiting_bytes)
        self._streams: set[_Stream] = set()
        self._readers: set[asyncio.Task[None]] = set()
        self._draining = False

    async def append(self, requests: AsyncIterator[Request | Fault], context: Context) -> None:
        """Answer the batches of one stream."""
        if self._draining:
            await end_call(context, _DRAINING)
        if len(self._streams) >= self._limits.streams:
            await end_call(context, busy(f"{len(self._streams)} streams are open"))
        sender = _sender(context)
        stream = _Stream(sender, self._limits.in_flight)
        if self._unverified.level(sender) <= 0:
            await end_call(context, _TOO_MUCH_UNVERIFIED)
        if self._unlogged.level(stream.client) <= 0:
            await end_call(context, _TOO_MUCH_UNLOGGED)
        # First of all, or a status after an answer that was not taken would come with a second one, and not at all.
        await context.send_initial_metadata(())
        stream.reader = asyncio.create_task(self._read(requests, stream))
        self._streams.add(stream)
        self._readers.add(stream.reader)
        stream.reader.add_done_callback(self._readers.discard)
        try:
            fault = await self._answer(stream, context)
        finally:
            await self._end(stream)
        if fault is not None:
            await end_call(context, fault)

    def drain(self) -> None:
        """Take no more batches."""
        self._draining = True
        for stream in self._streams:
            if not stream.busy:
                stream.reader.cancel()

    async def _read(self, requests: AsyncIterator[Request | Fault], stream: _Stream) -> None:
        """Screen and queue batches until the stream's good or bad end, which is queued last."""
        end: Fault | None = None
        try:
            while end is None and not (self._draining or stream.ended):
                request = await anext(requests, None)
                if request is None:
                    return
                end = request if isinstance(request, Fault) else await self._take(request, stream)
        except asyncio.CancelledError:
            if not self._draining:
                raise
        finally:
            stream.answers.put_nowait(_DRAINING if end is None and self._draining else end)

    async def _take(self, request: Request, stream: _Stream) -> Fault | None:
        """Screen a batch and hand it to the writer; return why the stream ends instead."""
        count = len(request.message.statements)
        if not 1 <= count <= self._limits.statements:
            most = f"{self._limits.statements:,}"
            return malformed(f"a batch holds 1 to {most} statements, not {count}", "BATCH_SIZE")
        await stream.room.acquire()
        size = request.size
        if not await self._budget.take(size, stream.caller):
            return busy("requests wait for others already")
        stream.busy = True
        kept = False
        try:
            batch = await self._screener.screen(request)
            refused = sum(1 for one in batch if isinstance(one, Refusal))
            if refused:
                self._unverified.charge(stream.sender, size * refused / len(batch))
                if self._unverified.level(stream.sender) <= 0:
                    return _TOO_MUCH_UNVERIFIED
            if not stream.ended:
                outcomes = self._writer.submit(batch, size)
                stream.answers.put_nowait(_Batch(size, stream.caller, refused, outcomes))
                kept = True
        except ProcessError as error:
            _log.error("a request could not be screened", reason=error.reason, error=str(error))
            return busy("the request could not be screened")
        finally:
            stream.busy = False
            if not kept:
                self._budget.give(size, stream.caller)
        return None

    async def _answer(self, stream: _Stream, context: Context) -> Fault | None:
        """Deliver outcomes in order; return the fault with which the stream ends, if it is one."""
        while (answer := await stream.answers.get()) is not None:
            if isinstance(answer, Fault):
                return answer
            try:
                outcomes = await asyncio.shield(answer.outcomes)
                self._charge(answer, outcomes, stream)
                response = encode_response(outcomes)
                await asyncio.wait_for(context.write(response), self._limits.answer_s)
            except LedgerError:
                return STORAGE_FAILED
            except TimeoutError:
                return busy(f"an answer was not taken within {self._limits.answer_s:g} s")
            finally:
                self._release(answer)
            if self._unlogged.level(stream.client) <= 0:
                return _TOO_MUCH_UNLOGGED
            stream.room.release()
        return None

    def _charge(self, batch: _Batch, outcomes: list[Outcome], stream: _Stream) -> None:
        """Charge what verified for nothing to its client.

        To verify it cost as much as what is logged: else whoever sends one good batch again and again would have the
        ledger do nothing else.
        """
        unlogged = sum(isinstance(one, Refusal) or not one.fresh for one in outcomes)
        if unlogged > batch.refused:
            share = (unlogged - batch.refused) / len(outcomes)
            self._unlogged.charge(stream.client, batch.size * share)

    async def _end(self, stream: _Stream) -> None:
        """Let go of what the stream holds; a reader with a request in its hands ends by itself."""
        self._streams.discard(stream)
        stream.ended = True
        if not stream.busy:
            stream.reader.cancel()
            with suppress(asyncio.CancelledError, grpc.RpcError):
                await stream.reader
        while not stream.answers.empty():
            answer = stream.answers.get_nowait()
            if isinstance(answer, _Batch):
                self._release(answer)

    def _release(self, batch: _Batch) -> None:
        """Give a batch's bytes back, once the writer is done with it."""
        batch.outcomes.add_done_callback(lambda _: self._budget.give(batch.size, batch.caller))


def _sender(context: Context) -> str:
    """Return who is charged for what does not verify: a client by its certificate, else by its host."""
    certificates = [*context.auth_context().get("x509_pem_cert", ())]
    if certificates:
        return sha256(certificates[0]).hexdigest()
    return context.peer().rpartition(":")[0]
