"""Records what the sources of a node read, as the agent reads them: sampler and poller are its own.

Sources tell of what they read since they were last asked, so that readings come out of order between sources. They are
written once nothing older can come any more, or once a source that hangs was waited for long enough; what it has to say
after that is dropped, and counted.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from attestor.bell import Bell
from attestor.channels import CHANNELS, NODE
from attestor.equipment import Equipment
from attestor.errors import AttestorError, RecordingError
from attestor.poller import Polling
from attestor.preview import rfc3339
from attestor.recording import PARQUET, RecordedChip, RecordingHeader, RecordingWriter
from attestor.sampler import NodeSampler
from attestor.sources.interface import Telemetry
from attestor.window import Span
from statements.clock import Clock

RETRY_MS: Final = 1_000
"""How often a source that is down is tried, and one asked that keeps what it read."""
HUNG_S: Final = 2.0
PATIENCE_MS: Final = 10_000
"""How long readings are kept back for a source that does not come back."""
LAST_S: Final = 3.0
"""How long the last readings are waited for."""
FLUSH_S: Final = 5.0
"""At most so much of a recording is lost when the process is killed."""
_LOOK_S: Final = 1.0
_NAPS_MS: Final = 10_000
_NEVER_MS: Final = 2**62

_SAID_AS: Final = {
    Telemetry.LIVE: "recorded",
    Telemetry.RECORDED: "recorded",
    Telemetry.SIMULATED: "simulated",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What people say of a recording that its sources do not know."""

    origin: str
    licence: str
    labels: Mapping[str, str] = field(default_factory=dict)
    anonymise: bool = False


def header_of(equipment: Equipment, said: Said, started_ms: int) -> RecordingHeader:
    """Return the header of a recording whose time 0 is ``started_ms``, Unix milliseconds.

    What was simulated stays simulated, whoever replays it. Labels of people give way to those that the sources know.
    Pure. ``equipment`` must be of a source that was opened.
    """
    assert equipment.telemetry is not None  # noqa: S101 - the caller's promise
    return RecordingHeader(
        telemetry=_SAID_AS[equipment.telemetry],
        origin=said.origin,
        licence=said.licence,
        chips=tuple(
            RecordedChip(f"GPU-{row}" if said.anonymise else chip.uuid, chip.model or "")
            for row, chip in enumerate(equipment.chips)
        ),
        driver=equipment.driver or "",
        period_ms=equipment.sample_ms,
        labels={**said.labels, **known_labels(equipment, started_ms)},
    )


def known_labels(equipment: Equipment, started_ms: int) -> dict[str, str]:
    """Return what live sources know beyond a header's fields: when time 0 was, and each chip's limits."""
    labels: dict[str, str] = {}
    if equipment.telemetry is Telemetry.LIVE:
        labels = {"started": rfc3339(started_ms), "started_unix_ms": str(started_ms)}
    for row, chip in enumerate(equipment.chips):
        known = {
            "power_limit_w": chip.power_limit_w,
            "max_sm_clock_mhz": chip.max_sm_clock_mhz,
            "memory_bytes": chip.memory_bytes,
            "partitioned": None if chip.partitioned is None else int(chip.partitioned),
            "firmware": chip.firmware,
        }
        labels |= {
            f"chip_{row}_{name}": f"{value:.15g}" if isinstance(value, float) else str(value)
            for name, value in known.items()
            if value is not None
        }
    return labels


def offered_channels(equipment: Equipment) -> tuple[str, ...]:
    """Return the channels that any source offers, in the order of the table of channels."""
    return tuple(name for name in CHANNELS if name not in equipment.missing_channels)


class Recorder:
    """Writes the readings of a sampler that is open to ``path``, from ``started_ms`` on. Raises RecordingError.

    ``rows`` counts what was written, ``late`` what came too late, or of a chip that was not there at the start;
    ``failed`` holds the kinds of the sources that failed.
    """

    def __init__(
        self,
        sampler: NodeSampler,
        *,
        clock: Clock,
        bell: Bell,
        path: Path,
        said: Said,
        started_ms: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        equipment = sampler.equipment
        self.header = header_of(equipment, said, started_ms)
        self.channels = offered_channels(equipment)
        self.started_ms = started_ms
        self.ended_ms = started_ms
        self.rows = self.late = 0
        self.failed: set[str] = set()
        self._places = {chip.uuid: row for row, chip in enumerate(equipment.chips)}
        self._newest = 0
        self._path = path
        self._sampler = sampler
        self._clock = clock
        self._bell = bell
        self._monotonic = monotonic
        self._flush_at = monotonic() + FLUSH_S
        self.writer = RecordingWriter(path, self.header, self.channels)
        self.writer.flush()
        self._polling = Polling([sampler], clock, bell, window_ms=_NAPS_MS, monotonic=monotonic)
        self._polling.ring_at_ms = _NEVER_MS

    def run(self, left: Callable[[], float]) -> None:
        """Record until ``left``, the seconds after which to look again, is 0; then give the file its name.

        The sources are asked no more when this returns or raises. After an error what was written is kept, as far as it
        can be read.
        """
        try:
            self._polling.start()
            while (wait := left()) > 0:
                self._bell.wait(min(wait, _LOOK_S))
                self._look()
                now_ms = self._clock.now_ms()
                self._write(max(self._sampler.complete_ms, now_ms - PATIENCE_MS))
                if self._monotonic() >= self._flush_at:
                    self._flush_at = self._monotonic() + FLUSH_S
                    self.writer.flush()
            self.ended_ms = self._clock.now_ms()
            self._wait_for_the_last()
            self._write(self.ended_ms + 1)
            self.writer.close()
        except AttestorError as error:
            reads = self._path.suffix != PARQUET
            self.writer.abandon(keep=reads)
            told = (
                f"{self.writer.part} holds what was recorded until then" if reads else "all is lost"
            )
            raise RecordingError(error.reason, f"{error}; {told}") from error
        finally:
            self._polling.stop()
            if self._polling.has_ended(_LOOK_S):
                self._sampler.close()  # one that hangs is left behind

    def _look(self) -> None:
        self._polling.give_up_on(HUNG_S)
        if not self._polling.is_alive:
            raise RecordingError(
                "THREAD_DIED", "the poller ended on its own: this is a defect, its trace is above"
            )

    def _wait_for_the_last(self) -> None:
        self._polling.ring_at_ms = 0
        until = self._monotonic() + LAST_S
        while self._sampler.complete_ms < self.ended_ms and self._monotonic() < until:
            self._bell.wait(_LOOK_S / 4)
            self._look()

    def _write(self, end_ms: int) -> None:
        """Write the readings before an instant."""
        collected = self._sampler.collect(Span(self.started_ms, end_ms))
        self.failed |= collected.failed
        chips = collected.equipment.chips
        for reading in collected.readings:
            time_ms = reading.time_ms - self.started_ms
            if reading.time_ms == end_ms or time_ms < 0:
                continue  # the sampler keeps it until the next time, or it is of before
            row = NODE if reading.chip == NODE else self._places.get(chips[reading.chip].uuid)
            if row is None or time_ms < self._newest:
                self.late += 1
                continue
            self._newest = time_ms
            self.writer.write(reading._replace(time_ms=time_ms, chip=row))
            self.rows += 1


def parse_labels(texts: Sequence[str]) -> dict[str, str]:
    """Return labels written KEY=VALUE; ValueError, with words for people, where one is not, or comes twice."""
    labels: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ValueError(f"not KEY=VALUE: {text!r}")
        if name in labels:
            raise ValueError(f"{name!r} comes twice")
        labels[name] = value
    return labels
