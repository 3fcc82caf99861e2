"""The threads that ask sources: one for all of them, until one of them hangs.

A source that does not come back keeps the thread that asked it, and another thread goes on with the others. Whenever
it does come back, its readings count again, and the thread is its own from then on: a source that has hung once may
hang again. There are never more threads than one, and one for each source that has hung.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from attestor.bell import Bell
from attestor.sampler import NodeSampler, Slot
from statements.clock import Clock

_log = structlog.get_logger("stillwatch.agent")
_LEAST_NAP_MS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A source to be asked, and the node that it belongs to."""

    sampler: NodeSampler
    slot: Slot


class Polling:
    """Has the sources of all nodes asked whenever they are due, on ``clock``.

    It rings ``bell`` once sources were asked at ``ring_at_ms`` or later, and again each time until that is put off.
    ``monotonic`` is real seconds. Sources are asked at least ten times a window.
    """

    def __init__(
        self,
        samplers: Sequence[NodeSampler],
        clock: Clock,
        bell: Bell,
        *,
        window_ms: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.bell = bell
        self.monotonic = monotonic
        self.longest_nap_ms = max(_LEAST_NAP_MS, window_ms // 10)
        self.ring_at_ms = 0
        self.stopping = False
        turns = tuple(Turn(sampler, slot) for sampler in samplers for slot in sampler.slots)
        self._pollers = [_Poller(self, turns)]

    def start(self) -> None:
        """Begin."""
        for poller in self._pollers:
            poller.start()

    @property
    def is_alive(self) -> bool:
        """Whether every source still has a thread that asks it, or waits for it."""
        return all(poller.is_alive() for poller in self._pollers)

    def give_up_on(self, hung_s: float) -> None:
        """Let nobody wait any longer for sources that have not come back for that many seconds."""
        for poller in tuple(self._pollers):
            others = poller.keep_to_hung(self.monotonic() - hung_s)
            if others:
                successor = _Poller(self, others)
                self._pollers.append(successor)
                successor.start()

    def stop(self) -> None:
        """Ask the threads to end; each does after its nap, or never when its source hangs."""
        self.stopping = True

    def has_ended(self, within_s: float) -> bool:
        """Wait for the threads to end, at most so long; return whether they have."""
        until = self.monotonic() + within_s
        for poller in self._pollers:
            poller.join(max(0.0, until - self.monotonic()))
        return not any(poller.is_alive() for poller in self._pollers)


class _Poller(threading.Thread):
    """Takes its turns, one after the other. It dies with the process, so that a source cannot hold that up."""

    def __init__(self, polling: Polling, turns: tuple[Turn, ...]) -> None:
        super().__init__(name="poller", daemon=True)
        self._polling = polling
        self._lock = threading.Lock()
        self._turns = turns
        self._at: tuple[Turn, float] | None = None
        self._told: tuple[Turn, float] | None = None

    def run(self) -> None:
        polling = self._polling
        clock = polling.clock
        while not polling.stopping:
            due_ms = min(self._take(turn) for turn in self._turns)
            now_ms = clock.now_ms()
            if now_ms >= polling.ring_at_ms:
                polling.bell.ring()
            nap_ms = min(due_ms - now_ms, polling.longest_nap_ms)
            if nap_ms > 0:
                clock.sleep(nap_ms / 1000)

    def _take(self, turn: Turn) -> int:
        """Ask a source, unless somebody else does by now; return when it is due next, Unix milliseconds."""
        with self._lock:
            if turn not in self._turns:
                return turn.slot.due_ms
            self._at = turn, self._polling.monotonic()
        due_ms = turn.sampler.ask(turn.slot, self._polling.clock.now_ms())
        self._at = None
        return due_ms

    def keep_to_hung(self, since: float) -> tuple[Turn, ...]:
        """If a source is being asked since that instant or before, keep to that one; return the others, if any."""
        with self._lock:
            at = self._at
            if at is None or at[1] > since:
                return ()
            hung, others = at[0], tuple(turn for turn in self._turns if turn is not at[0])
            self._turns = (hung,)
        if at is not self._told:
            self._told = at
            _log.error(
                "a source does not come back: the others are read without it",
                node=hung.sampler.name,
                source=hung.slot.source.kind,
                reason="SOURCE_HANGS",
            )
        return others
