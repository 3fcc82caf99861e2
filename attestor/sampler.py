"""Asks the sources of a node, and keeps their readings for the windows.

A source that fails, or never comes back from a read, costs its own readings. Windows are closed by
somebody else, who asks how far the asking has got and does not wait for ever.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from attestor.channels import NODE, Reading
from attestor.equipment import Equipment, equip
from attestor.guarded_source import GuardedSource
from attestor.sources.interface import SourceDescription
from attestor.sources.registry import Opener
from attestor.window import Span

MOST_BEHIND_MS: Final = 3_600_000
"""How far the clock may go back and be waited for. Beyond, it was wrong until then, and nobody is silent for years."""

_log = structlog.get_logger("stillwatch.agent")


@dataclass(slots=True, eq=False)
class Slot:
    """A source, when it is due, and the newest instant up to which it was asked; one thread at a time asks it.

    ``read_ms`` is when it was read last: unlike ``through_ms`` it stays where it is while nothing is due.
    """

    source: GuardedSource
    due_ms: int = 0
    through_ms: int = 0
    read_ms: int = 0
    behind: bool = False
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Collected:
    """What a window is made of: the equipment whose rows the readings are of, and kinds that failed."""

    equipment: Equipment
    readings: list[Reading]
    failed: set[str]


class NodeSampler:
    """The sources of one node, and the readings that await their window.

    Several threads may ask, each other slots; ``collect`` and the properties may be used from yet another thread.
    """

    def __init__(self, name: str, sources: Sequence[tuple[str, Opener]], window_ms: int) -> None:
        self.name = name
        self.slots = [Slot(GuardedSource(kind, opener)) for kind, opener in sources]
        self._window_ms = window_ms
        self._lock = threading.Lock()
        self._readings: list[tuple[str, Reading]] = []  # beside the chip's uuid: rows may change
        self._failed: list[tuple[int, str]] = []
        self._equipment = Equipment()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the node's sources."""
        return tuple(slot.source.kind for slot in self.slots)

    @property
    def equipment(self) -> Equipment:
        """What the sources offer together."""
        with self._lock:
            return self._equipment

    @property
    def through_ms(self) -> int:
        """The newest instant up to which every source has been asked; 0 before the first time."""
        return min((slot.through_ms for slot in self.slots), default=0)

    @property
    def complete_ms(self) -> int:
        """The newest instant up to which every source has told what it read; 0 before the first time."""
        return min((slot.read_ms for slot in self.slots), default=0)

    def behind(self, end_ms: int) -> set[str]:
        """Return the kinds of the sources that have not been asked up to an instant."""
        return {slot.source.kind for slot in self.slots if slot.through_ms < end_ms}

    def poll(self, now_ms: int, *, due_only: bool = True) -> int:
        """Ask the sources that are due, or all; return when the next one is, Unix milliseconds."""
        due = [self.ask(slot, now_ms, due_only=due_only) for slot in self.slots]
        return min(due, default=now_ms + self._window_ms)

    def ask(self, slot: Slot, now_ms: int, *, due_only: bool = True) -> int:
        """Ask a source if it is due, or in any case; return when it is due next, Unix milliseconds.

        While the clock is behind an instant at which it was asked, it is not: no time is read twice. A clock that is
        behind by more than :data:`MOST_BEHIND_MS` was wrong before, and is followed.
        """
        self._mind_the_clock(slot, now_ms)
        if now_ms >= slot.due_ms or not due_only:
            self._read(slot, now_ms)
        slot.through_ms = max(slot.through_ms, now_ms)
        return slot.due_ms

    def _mind_the_clock(self, slot: Slot, now_ms: int) -> None:
        behind_ms = slot.through_ms - now_ms
        if behind_ms > 0 and not slot.behind:
            _log.warning(
                "the clock went back: nothing is read until it has caught up; check time synchronisation",
                node=self.name,
                source=slot.source.kind,
                reason="CLOCK_BACKWARDS",
                behind_s=behind_ms / 1000,
            )
        slot.behind = behind_ms > 0
        if behind_ms > MOST_BEHIND_MS:
            slot.through_ms = slot.due_ms = 0
            with self._lock:
                self._readings = [kept for kept in self._readings if kept[1].time_ms <= now_ms]
                self._failed = [kept for kept in self._failed if kept[0] <= now_ms]

    def _read(self, slot: Slot, now_ms: int) -> None:
        source = slot.source
        known = source.description
        batch = source.read(now_ms)
        description = source.description
        if description is not None and description is not known:
            self._equip(source.kind, description, anew=known is None)
        uuids = [chip.uuid for chip in description.chips] if description is not None else []
        for line in batch.failed:
            if line not in slot.told:
                _log.warning("source failed", node=self.name, source=source.kind, why=line)
        slot.told = batch.failed
        with self._lock:
            if batch.failed:
                self._failed.append((now_ms, source.kind))
            self._readings.extend(
                ("" if reading.chip == NODE else uuids[reading.chip], reading)
                for reading in batch.readings
            )
        period_ms, lead_ms = self._window_ms, 0
        if source.is_open and description is not None and description.poll_ms:
            period_ms, lead_ms = description.poll_ms, description.lead_ms
        slot.due_ms = now_ms - (now_ms + lead_ms) % period_ms + period_ms
        slot.read_ms = now_ms

    def _equip(self, kind: str, opened: SourceDescription, *, anew: bool) -> None:
        with self._lock:  # another source may open at the same time
            known = [slot.source.description for slot in self.slots]
            self._equipment = equip(
                [description for description in known if description is not None]
            )
        _log.info(
            "source opened" if anew else "source changed",
            node=self.name,
            source=kind,
            telemetry=opened.telemetry.name.lower(),
            chips=len(opened.chips),
            sample_ms=opened.sample_ms,
            poll_ms=opened.poll_ms,
        )

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest reading was made that awaits its window; ``None`` when none does."""
        with self._lock:
            return min((reading.time_ms for _, reading in self._readings), default=None)

    def collect(self, span: Span) -> Collected:
        """Return the readings up to the span's end, in order of time, and the sources that failed.

        Readings at or after the end stay for the next window. Readings of chips that are no longer there are dropped.
        """
        with self._lock:
            place = {chip.uuid: row for row, chip in enumerate(self._equipment.chips)}
            place[""] = NODE
            due = [
                reading._replace(chip=place[uuid])
                for uuid, reading in self._readings
                if reading.time_ms <= span.end_ms and uuid in place
            ]
            self._readings = [kept for kept in self._readings if kept[1].time_ms >= span.end_ms]
            failed = {kind for at, kind in self._failed if at <= span.end_ms}
            self._failed = [(at, kind) for at, kind in self._failed if at > span.end_ms]
            equipment = self._equipment
        return Collected(equipment, sorted(due, key=lambda reading: reading.time_ms), failed)

    def close(self) -> None:
        """Close the sources. Only once nobody polls any more."""
        for slot in self.slots:
            slot.source.close()
