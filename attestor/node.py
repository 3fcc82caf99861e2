"""One node: from its readings to what its chain says, window by window."""

from dataclasses import dataclass, field

from attestor.chain import Chain, Life
from attestor.inventory import inventory
from attestor.sampler import Equipment, NodeSampler
from attestor.spool import Spool
from attestor.window import Carried, Rig, Span, align, summarise


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
        equipment = self.sampler.equipment
        readings, failed = self.sampler.collect(span)
        if self.sampler.through_ms < span.end_ms:
            failed.update(self.sampler.kinds)  # a source never answered
        self.state(equipment, span.start_ms)
        known = self._inventoried
        rig = Rig(
            inventory=known.digest if known else bytes(32),
            chips=len(equipment.chips),
            boot_id=equipment.boot_id,
            expected_per_s=equipment.expected_per_s,
            sample_ms=equipment.sample_ms,
        )
        readings = [reading for reading in readings if reading.chip < rig.chips]
        summary, self._carried = summarise(span, rig, readings, self._carried, failed)
        self.chain.say(summary, span.start_ms, span.end_ms)
        self.next_start_ms = span.end_ms
        self.closed += 1

    def state(self, equipment: Equipment, at_ms: int) -> None:
        """Queue the inventory of ``equipment``, unless it is what was stated last."""
        if self._inventoried is not None and self._inventoried.equipment == equipment:
            return
        before = self._inventoried.equipment.chips if self._inventoried else ()
        if tuple(c.uuid for c in before) != tuple(c.uuid for c in equipment.chips):
            self._carried = Carried()  # rows are of other chips now
        saying = self.chain.say(inventory(equipment, self.sampler.kinds), at_ms, at_ms)
        self._inventoried = _Inventoried(equipment, saying.body_digest)

    @property
    def life(self) -> Life:
        """What an opening says of this node now."""
        equipment = self.sampler.equipment
        return Life(equipment.telemetry, equipment.boot_id)


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
        return self.windows.chain.key.key_id
