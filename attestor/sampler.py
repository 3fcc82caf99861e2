"""Polls the sources of nodes, one thread for all, and keeps their readings for the windows.

A source that fails, or never comes back from a read, costs its own readings. Windows are closed by
somebody else, who asks how far the polling has got and does not wait for ever.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from attestor.channels import CHIP_CHANNEL_NAMES, NODE, NODE_CHANNEL_NAMES, Reading
from attestor.errors import SourceError
from attestor.sources.interface import ChipDescription, Source, SourceDescription, Telemetry
from attestor.sources.registry import Opener
from attestor.window import Span
from statements.clock import Clock

_log = structlog.get_logger("stillwatch.agent")


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a node's sources offer together, as far as they have been opened.

    ``chips`` are in row order; ``telemetry`` is the label that claims least; ``boot_id`` 16 bytes;
    ``expected_per_s`` readings of all rows; ``sample_ms`` the longest sample period, at least 1.
    """

    chips: tuple[ChipDescription, ...] = ()
    telemetry: Telemetry | None = None
    driver: str | None = None
    boot_id: bytes = bytes(16)
    expected_per_s: float = 0.0
    sample_ms: int = 1_000
    missing_channels: tuple[str, ...] = ()


@dataclass(slots=True)
class _Slot:
    kind: str
    opener: Opener
    source: Source | None = None
    rows: tuple[int, ...] = ()
    due_ms: int = 0
    dead: bool = False
    told: tuple[str, ...] = field(default=())


def equip(descriptions: Sequence[SourceDescription]) -> Equipment:
    """Return what sources offer together. A chip that two sources know by one uuid is one row."""
    chips: dict[str, ChipDescription] = {}
    offered: set[str] = set()
    expected = 0.0
    for description in descriptions:
        rows = sum(1 for chip in description.chips if chip.channels)
        rows += 1 if description.node_channels else 0
        expected += rows * 1000 / description.sample_ms
        offered |= description.node_channels
        for chip in description.chips:
            chips.setdefault(chip.uuid, chip)
            offered |= chip.channels
    if not descriptions:
        return Equipment()
    return Equipment(
        chips=tuple(chips.values()),
        telemetry=max(description.telemetry for description in descriptions),
        driver=next((d.driver for d in descriptions if d.driver), None),
        boot_id=descriptions[0].boot_id,
        expected_per_s=expected,
        sample_ms=max(description.sample_ms for description in descriptions),
        missing_channels=tuple(sorted((CHIP_CHANNEL_NAMES | NODE_CHANNEL_NAMES) - offered)),
    )


class NodeSampler:
    """The sources of one node, and the readings that await their window.

    ``poll`` is the poller's; ``collect`` and the properties may be used from another thread.
    """

    def __init__(self, name: str, sources: Sequence[tuple[str, Opener]], window_ms: int) -> None:
        self.name = name
        self._slots = [_Slot(kind, opener) for kind, opener in sources]
        self._window_ms = window_ms
        self._lock = threading.Lock()
        self._readings: list[Reading] = []
        self._failed: list[tuple[int, str]] = []
        self._equipment = Equipment()
        self._through_ms = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the node's sources."""
        return tuple(slot.kind for slot in self._slots)

    @property
    def equipment(self) -> Equipment:
        """What the sources offer together."""
        with self._lock:
            return self._equipment

    @property
    def through_ms(self) -> int:
        """The instant up to which every source has been asked; 0 before the first poll."""
        with self._lock:
            return self._through_ms

    def poll(self, now_ms: int) -> int:
        """Ask the sources that are due; return when the next one is, Unix milliseconds."""
        for slot in self._slots:
            if now_ms >= slot.due_ms:
                period = self._window_ms
                if slot.source is None and not slot.dead:
                    self._open(slot, now_ms)
                if slot.source is not None:
                    self._read(slot, slot.source, now_ms)
                if slot.source is not None:
                    period = slot.source.description.poll_ms or self._window_ms
                elif slot.dead:
                    self._note(now_ms, slot.kind)
                slot.due_ms = now_ms - now_ms % period + period
        with self._lock:
            self._through_ms = now_ms
        return min((slot.due_ms for slot in self._slots), default=now_ms + self._window_ms)

    def _open(self, slot: _Slot, now_ms: int) -> None:
        try:
            slot.source = slot.opener()
        except SourceError as error:
            slot.dead = error.permanent
            self._tell(slot, (f"{error.reason}: {error}",))
            self._note(now_ms, slot.kind)
            return
        except Exception as error:  # noqa: BLE001 - a fault in one source must not end the poller
            self._tell(slot, (f"UNEXPECTED: {error!r}",))
            self._note(now_ms, slot.kind)
            return
        opened = [s.source.description for s in self._slots if s.source is not None]
        equipment = equip(opened)
        place = {chip.uuid: row for row, chip in enumerate(equipment.chips)}
        for other in self._slots:
            if other.source is not None:
                other.rows = tuple(place[chip.uuid] for chip in other.source.description.chips)
        with self._lock:
            self._equipment = equipment

    def _read(self, slot: _Slot, source: Source, now_ms: int) -> None:
        try:
            batch = source.read(now_ms)
        except SourceError as error:
            self._tell(slot, (f"{error.reason}: {error}",))
            self._note(now_ms, slot.kind)
            source.close()
            slot.source, slot.dead = None, error.permanent
            return
        except Exception as error:  # noqa: BLE001 - a fault in one source must not end the poller
            self._tell(slot, (f"UNEXPECTED: {error!r}",))
            self._note(now_ms, slot.kind)
            return
        readings = [
            reading if reading.chip == NODE else reading._replace(chip=slot.rows[reading.chip])
            for reading in batch.readings
        ]
        if batch.failed:
            self._note(now_ms, slot.kind)
        self._tell(slot, batch.failed)
        with self._lock:
            self._readings.extend(readings)

    def _tell(self, slot: _Slot, failed: tuple[str, ...]) -> None:
        """Log failures once for as long as they stay the same."""
        for line in failed:
            if line not in slot.told:
                _log.warning("source failed", node=self.name, source=slot.kind, why=line)
        slot.told = failed

    def _note(self, now_ms: int, kind: str) -> None:
        with self._lock:
            self._failed.append((now_ms, kind))

    def collect(self, span: Span) -> tuple[list[Reading], set[str]]:
        """Return the readings up to the span's end, in order of time, and the sources that failed.

        Readings at or after the end stay for the next window.
        """
        with self._lock:
            due = sorted(
                (r for r in self._readings if r.time_ms <= span.end_ms), key=lambda r: r.time_ms
            )
            self._readings = [r for r in self._readings if r.time_ms >= span.end_ms]
            failed = {kind for at, kind in self._failed if at <= span.end_ms}
            self._failed = [(at, kind) for at, kind in self._failed if at > span.end_ms]
        return due, failed

    def close(self) -> None:
        """Close the sources. Only once nobody polls any more."""
        for slot in self._slots:
            if slot.source is not None:
                slot.source.close()
                slot.source = None


class Poller(threading.Thread):
    """The one thread that polls. It dies with the process, so that a source cannot hold that up."""

    def __init__(self, samplers: Sequence[NodeSampler], clock: Clock, longest_nap_ms: int) -> None:
        super().__init__(name="poller", daemon=True)
        self._samplers = samplers
        self._clock = clock
        self._longest_nap_ms = longest_nap_ms
        self._stopping = threading.Event()

    def run(self) -> None:
        """Poll until stopped."""
        while not self._stopping.is_set():
            due_ms = min(sampler.poll(self._clock.now_ms()) for sampler in self._samplers)
            nap_ms = min(due_ms - self._clock.now_ms(), self._longest_nap_ms)
            if nap_ms > 0:
                self._clock.sleep(nap_ms / 1000)

    def stop(self) -> None:
        """Ask the thread to end; it does after its nap, or never when a source hangs."""
        self._stopping.set()
