"""One node: from its readings to what its chain says, window by window."""

from dataclasses import dataclass, field
from typing import Final

import structlog

from attestor.chain import Chain, Life
from attestor.channels import NODE
from attestor.equipment import Equipment
from attestor.inventory import inventory
from attestor.sampler import MOST_BEHIND_MS, NodeSampler
from attestor.spool import Spool
from attestor.window import Carried, Rig, Span, align, summarise
from statements.body import BODY_LIMIT

_log = structlog.get_logger("stillwatch.agent")
MOST_SAID_LATE_MS: Final = 7 * 86_400_000
"""How long a machine may sleep and have each window of it said, as one that nobody saw."""
_MOST_SUMMARY_BYTES: Final = BODY_LIMIT - 64
"""A body is a summary, its salt, and a few bytes that say so."""


@dataclass(slots=True)
class _Inventoried:
    equipment: Equipment
    digest: bytes


@dataclass(slots=True)
class Windows:
    """A node's sampler and chain, and where its windows have got to.

    ``next_start_ms`` is the start of the window to be closed next; the first is the first whole
    window after the node began.
    """

    sampler: NodeSampler
    chain: Chain
    window_ms: int
    next_start_ms: int
    waiting_since: float | None = None
    closed: int = 0
    _carried: Carried = field(default_factory=Carried)
    _inventoried: _Inventoried | None = None

    @classmethod
    def begin(cls, sampler: NodeSampler, chain: Chain, *, window_ms: int, now_ms: int) -> "Windows":
        """Return windows of which the first window is the first to start at or after ``now_ms``."""
        start = align(now_ms + window_ms - 1, window_ms)
        return cls(sampler, chain, window_ms, start)

    @property
    def span(self) -> Span:
        """The window to be closed next."""
        return Span(self.next_start_ms, self.next_start_ms + self.window_ms)

    def follow(self, now_ms: int) -> None:
        """Go on from where the clock is, when that has been set by more than a machine's sleep or a correction.

        Set ahead, as when time is first known after a boot, it skips time of which nothing was read: to say each window
        of fifty years would take days, and prove nothing. Set back, it leaves windows alone that were not over yet.
        """
        if now_ms - self.next_start_ms > MOST_SAID_LATE_MS:
            oldest = self.sampler.oldest_ms
            read_from = now_ms if oldest is None else max(oldest, self.next_start_ms)
            self._go_on(align(min(read_from, now_ms), self.window_ms), now_ms)
        elif self.next_start_ms - now_ms > self.window_ms + MOST_BEHIND_MS:
            self._carried = Carried()  # what was read at times that have not come yet
            self._go_on(align(now_ms + self.window_ms - 1, self.window_ms), now_ms)

    def _go_on(self, start_ms: int, now_ms: int) -> None:
        if start_ms == self.next_start_ms:
            return
        _log.error(
            "the clock was set: windows go on from where it is; check time synchronisation",
            node=self.sampler.name,
            reason="CLOCK_SET",
            by_s=(now_ms - self.next_start_ms) / 1000,
        )
        self.next_start_ms = start_ms
        self.waiting_since = None

    def is_due(self, now_ms: int, monotonic_s: float, patience_s: float) -> bool:
        """Return whether the next window is over and its readings are in, or were waited for enough.

        ``patience_s`` is the real time that sources have after the window's end.
        """
        end_ms = self.span.end_ms
        if now_ms < end_ms:
            return False
        if self.sampler.through_ms >= end_ms:
            self.waiting_since = None
            return True
        if self.waiting_since is None:
            self.waiting_since = monotonic_s
        return monotonic_s - self.waiting_since >= patience_s

    def close_one(self) -> None:
        """Summarise the window that is over; queue the summary, and the inventory if it changed."""
        span = self.span
        behind = self.sampler.behind(span.end_ms)
        found = self.sampler.collect(span)
        equipment = found.equipment
        inventoried = self._state(equipment, span.start_ms)
        rig = Rig(
            inventory=inventoried.digest,
            chips=len(equipment.chips),
            boot_id=equipment.boot_id,
            expected_per_s=equipment.expected_per_s,
            sample_ms=equipment.sample_ms,
        )
        summary, self._carried = summarise(
            span, rig, found.readings, self._carried, found.failed | behind
        )
        if summary.ByteSize() > _MOST_SUMMARY_BYTES:
            summary.ClearField("power")
            _log.warning(
                "the power series is left out: with it the window would not fit into a body",
                node=self.sampler.name,
                reason="BODY_TOO_LARGE",
                chips=rig.chips,
            )
        self.chain.say(summary, span.start_ms, span.end_ms)
        self.next_start_ms = span.end_ms
        self.closed += 1

    def _state(self, equipment: Equipment, at_ms: int) -> _Inventoried:
        """Queue the inventory of ``equipment``, unless it is what was stated last; return what was."""
        known = self._inventoried
        if known is not None and known.equipment == equipment:
            return known
        if known is not None:
            self._carried = self._carried.moved(_rows(known.equipment, equipment))
        saying = self.chain.say(inventory(equipment, self.sampler.kinds), at_ms, at_ms)
        self._inventoried = _Inventoried(equipment, saying.body_digest)
        return self._inventoried

    @property
    def life(self) -> Life:
        """What an opening says of this node: as of the window closed last, if any was."""
        known = self._inventoried
        equipment = self.sampler.equipment if known is None else known.equipment
        return Life(equipment.telemetry, equipment.boot_id)


def _rows(before: Equipment, after: Equipment) -> dict[int, int]:
    """Return where each row has moved; none when the counters of before count no more."""
    if before.boot_id != after.boot_id:
        return {}
    place = {chip.uuid: row for row, chip in enumerate(after.chips)}
    moved = {row: place[chip.uuid] for row, chip in enumerate(before.chips) if chip.uuid in place}
    return {NODE: NODE} | moved


@dataclass(frozen=True, slots=True)
class Node:
    """A node of this process: its windows, and the spool that its statements go to."""

    name: str
    windows: Windows
    spool: Spool

    @property
    def chain(self) -> Chain:
        """The node's chain."""
        return self.windows.chain

    @property
    def author(self) -> bytes:
        """The node's id; 32 bytes."""
        return self.windows.chain.author
