"""Sharing an audit's work out, over an executor that is passed in: processes here, or whatever else has that shape.

Work is cut into shares by what the log says alone, never by how many workers there are, and what comes back is taken
in the order of the shares. So no verdict depends on how many worked on it, or on who was done first. A worker that dies
ends the audit: there is no verdict on a part.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, Final, TypeVar

from verifier.errors import VerifierError

MOST_AHEAD: Final = 32
"""Shares that are under way at once: so much of the log is held twice."""

_Share = TypeVar("_Share")
_Found = TypeVar("_Found")


class WorkerError(VerifierError):
    """A worker died over its share, as when memory runs out: nothing is concluded."""


class InProcess(Executor):
    """Does the work where it is asked for, at once; what that raises is raised by ``submit``."""

    def submit(  # noqa: D102 - as any executor
        self, fn: Callable[..., _Found], /, *args: Any, **kwargs: Any
    ) -> "Future[_Found]":
        done: Future[_Found] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


ALONE: Final = InProcess()
"""For whoever shares nothing out."""


def share_out(
    executor: Executor, work: Callable[[_Share], _Found], shares: Iterable[_Share]
) -> Iterator[_Found]:
    """Yield what comes of each share, in their order; ``work`` is a module's function, and shares can be pickled.

    Raises what the work raises, and :class:`WorkerError` when whoever had a share is gone.
    """
    under_way: deque[Future[_Found]] = deque()
    try:
        for share in shares:
            under_way.append(executor.submit(work, share))
            if len(under_way) > MOST_AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenExecutor:
        raise _died() from None
    finally:
        for one in under_way:
            one.cancel()


def _died() -> WorkerError:
    return WorkerError(
        "WORKER_DIED",
        "a process that had a share of the work died, as when memory runs out: nothing is concluded. Run it again, "
        "with fewer --workers",
    )


class _Processes(Executor):
    """A pool of processes; one that is broken says so in one way."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def submit(self, fn: Callable[..., _Found], /, *args: Any, **kwargs: Any) -> "Future[_Found]":
        try:
            return self._pool.submit(fn, *args, **kwargs)
        except (BrokenExecutor, OSError, ValueError):
            # The last two where a process is started while the pool closes its pipes, because another has died.
            raise _died() from None


@contextmanager
def open_workers(count: int) -> Iterator[Executor]:
    """Yield what work can be shared out over: so many processes of this machine, or for 1 none but this one."""
    if count == 1:
        yield ALONE
        return
    spawn = multiprocessing.get_context("spawn")
    held, leash = spawn.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, mp_context=spawn, initializer=_begin, initargs=(held,))
    try:
        with leash:
            executor = _Processes(pool)
            for _ in range(count):
                executor.submit(_prepare)  # so that processes start while the log is read
            yield executor
    finally:
        # By now they have lost the leash: even one that the pool has not heard of ends.
        pool.shutdown(cancel_futures=True)


def _begin(leash: Connection) -> None:
    """Begin a worker: it leaves interrupts to the audit, and ends with it however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=(leash,), daemon=True).start()


def _end_after(leash: Connection) -> None:
    wait([leash])
    os._exit(1)


def _prepare() -> None:
    """Load what shares will need."""
    import verifier.accounts.party  # noqa: PLC0415 - the audit itself has loaded both
    import verifier.rhythm  # noqa: F401, PLC0415
