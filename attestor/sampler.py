"""Polls the sources of nodes, one thread for all, and keeps their readings for the windows.

A source that fails, or never comes back from a read, costs its own readings. Windows are closed by
somebody else, who asks how far the polling has got and does not wait for ever.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from attestor.bell import Bell
from attestor.channels import NODE, Reading
from attestor.equipment import Equipment, equip
from attestor.guarded_source import GuardedSource
from attestor.sources.interface import SourceDescription
from attestor.sources.registry import Opener
from attestor.window import Span
from statements.clock import Clock

_log = structlog.get_logger("stillwatch.agent")


@dataclass(slots=True)
class _Slot:
    source: GuardedSource
    due_ms: int = 0
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Collected:
    """What a window is made of: the equipment whose rows the readings are of, and kinds that failed."""

    equipment: Equipment
    readings: list[Reading]
    failed: set[str]


class NodeSampler:
    """The sources of one node, and the readings that await their window.

    ``poll`` is the poller's; ``collect`` and the properties may be used from another thread.
    """

    def __init__(self, name: str, sources: Sequence[tuple[str, Opener]], window_ms: int) -> None:
        self.name = name
        self._slots = [_Slot(GuardedSource(kind, opener)) for kind, opener in sources]
        self._window_ms = window_ms
        self._lock = threading.Lock()
        self._readings: list[tuple[str, Reading]] = []  # beside the chip's uuid: rows may change
        self._failed: list[tuple[int, str]] = []
        self._equipment = Equipment()
        self._through_ms = 0
        self._behind = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the node's sources."""
        return tuple(slot.source.kind for slot in self._slots)

    @property
    def equipment(self) -> Equipment:
        """What the sources offer together."""
        with self._lock:
            return self._equipment

    @property
    def through_ms(self) -> int:
        """The newest instant up to which every source has been asked; 0 before the first poll."""
        with self._lock:
            return self._through_ms

    def poll(self, now_ms: int, *, due_only: bool = True) -> int:
        """Ask the sources that are due, or all; return when the next one is, Unix milliseconds.

        While the clock is behind an instant that was polled, nothing is asked: no time is read twice.
        """
        self._mind_the_clock(now_ms)
        for slot in self._slots:
            if now_ms >= slot.due_ms or not due_only:
                self._ask(slot, now_ms)
        with self._lock:
            self._through_ms = max(self._through_ms, now_ms)
        return min((slot.due_ms for slot in self._slots), default=now_ms + self._window_ms)

    def _mind_the_clock(self, now_ms: int) -> None:
        behind_ms = self.through_ms - now_ms
        if behind_ms > 0 and not self._behind:
            _log.warning(
                "the clock went back: nothing is read until it has caught up; check time synchronisation",
                node=self.name,
                reason="CLOCK_BACKWARDS",
                behind_s=behind_ms / 1000,
            )
        self._behind = behind_ms > 0

    def _ask(self, slot: _Slot, now_ms: int) -> None:
        source = slot.source
        known = source.description
        batch = source.read(now_ms)
        description = source.description
        if description is not None and description is not known:
            self._equip(source.kind, description)
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
        period_ms = self._window_ms
        if source.is_open and description is not None:
            period_ms = description.poll_ms or period_ms
        slot.due_ms = now_ms - now_ms % period_ms + period_ms

    def _equip(self, kind: str, opened: SourceDescription) -> None:
        known = [slot.source.description for slot in self._slots]
        equipment = equip([description for description in known if description is not None])
        with self._lock:
            self._equipment = equipment
        _log.info(
            "source opened",
            node=self.name,
            source=kind,
            telemetry=opened.telemetry.name.lower(),
            chips=len(opened.chips),
            sample_ms=opened.sample_ms,
        )

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
        for slot in self._slots:
            slot.source.close()


class Poller(threading.Thread):
    """The one thread that polls. It dies with the process, so that a source cannot hold that up.

    It rings ``bell`` once it has polled at ``ring_at_ms`` or later, and again with each poll until that is put off.
    """

    def __init__(
        self, samplers: Sequence[NodeSampler], clock: Clock, longest_nap_ms: int, bell: Bell
    ) -> None:
        super().__init__(name="poller", daemon=True)
        self._samplers = samplers
        self._clock = clock
        self._longest_nap_ms = longest_nap_ms
        self._bell = bell
        self.ring_at_ms = 0
        self._stopping = threading.Event()

    def run(self) -> None:
        """Poll until stopped."""
        while not self._stopping.is_set():
            due_ms = min(sampler.poll(self._clock.now_ms()) for sampler in self._samplers)
            now_ms = self._clock.now_ms()
            if now_ms >= self.ring_at_ms:
                self._bell.ring()
            nap_ms = min(due_ms - now_ms, self._longest_nap_ms)
            if nap_ms > 0:
                self._clock.sleep(nap_ms / 1000)

    def stop(self) -> None:
        """Ask the thread to end; it does after its nap, or never when a source hangs."""
        self._stopping.set()
