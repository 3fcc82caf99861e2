"""Group commit: batches that arrive together become durable together.

A group is committed at most every :data:`GROUP_S`; a batch that comes after a pause waits for nothing. Whatever changes
the log's state runs on the writer's one thread.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from ledger.errors import ForkError, JournalError, LedgerError
from ledger.refusal import Refusal
from ledger.screening import Screened
from ledger.sequencer import Outcome, Sequencer

GROUP_S: Final = 0.02
"""Least seconds between the beginnings of two commits."""
MOST_STATEMENTS: Final = 20_000
"""A group takes no more batches once it holds this many statements."""
MOST_BYTES: Final = 64 << 20
"""A group takes no more batches once their requests have this many bytes."""

Batch = Sequence[Screened | Refusal]
T = TypeVar("T")

_log = structlog.get_logger("stillwatch.ledger")


@dataclass(frozen=True, slots=True)
class _Queued:
    batch: Batch
    size: int
    future: "asyncio.Future[list[Outcome]]"


class Writer:
    """The queue before the sequencer. ``run`` works it off until it is cancelled."""

    def __init__(self, sequencer: Sequencer) -> None:
        self._sequencer = sequencer
        self._thread = ThreadPoolExecutor(1, "writer")
        self._queue: asyncio.Queue[_Queued] = asyncio.Queue()
        self._failing = False

    def submit(self, batch: Batch, size: int) -> "asyncio.Future[list[Outcome]]":
        """Queue a screened batch that came in ``size`` bytes.

        The future raises :class:`JournalError` when the batch did not become durable.
        """
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Queued(batch, size, future))
        return future

    async def call(self, action: Callable[[], T]) -> T:
        """Do something between two groups."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, action)

    async def run(self) -> None:
        """Commit group after group. Ends only by cancellation, or with :class:`ForkError`."""
        began = 0.0
        while True:
            waiting = [await self._queue.get()]
            await asyncio.sleep(max(0.0, began + GROUP_S - time.monotonic()))
            began = time.monotonic()
            statements, size = len(waiting[0].batch), waiting[0].size
            while not self._queue.empty() and statements < MOST_STATEMENTS and size < MOST_BYTES:
                waiting.append(self._queue.get_nowait())
                statements += len(waiting[-1].batch)
                size += waiting[-1].size
            await self._commit(waiting)
            for _ in waiting:
                self._queue.task_done()

    async def drain(self) -> None:
        """Wait until everything that was queued is committed, or was not to be."""
        await self._queue.join()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def _commit(self, waiting: "list[_Queued]") -> None:
        batches = [one.batch for one in waiting]
        try:
            outcomes = await self.call(lambda: self._sequencer.log(batches))
        except (JournalError, ForkError) as error:
            self._tell(error)
            for one in waiting:
                if not one.future.done():
                    one.future.set_exception(error)
                    one.future.exception()  # whoever hung up does not ask for it
            if isinstance(error, ForkError):
                raise
            return
        self._tell(None)
        for one, outcome in zip(waiting, outcomes, strict=True):
            if not one.future.done():
                one.future.set_result(outcome)

    def _tell(self, error: LedgerError | None) -> None:
        """Tell the operator that nothing can be logged, and that it can be again; not at every group."""
        if error is not None and not self._failing:
            _log.error("cannot log", reason=error.reason, error=str(error))
        elif error is None and self._failing:
            _log.info("logging again")
        self._failing = error is not None
