"""Replays a recording of ours, re-based onto the agent's clock. Never looped.

``[source]``: ``kind = "replay"``, ``path``, ``at`` (an instant of the agent's clock), ``from`` (the
instant of the recording that falls on ``at``, default "0 s"). Before that instant, and after the
recording's end, the chips are silent.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attestor.channels import CHIP_CHANNEL_NAMES, NODE_CHANNEL_NAMES, Reading
from attestor.errors import RecordingError, SourceError
from attestor.recording import RecordingReader
from attestor.settings import Settings
from attestor.sources.interface import (
    Batch,
    ChipDescription,
    Source,
    SourceDescription,
    Telemetry,
)
from attestor.sources.registry import Opener

REPLAYS: Final = True

_TELEMETRY = {"recorded": Telemetry.RECORDED, "simulated": Telemetry.SIMULATED}


class ReplaySource:
    """The readings of the recording at ``path``.

    ``from_ms`` (since the recording's start) falls on ``at_ms`` (Unix milliseconds); what lies
    before ``from_ms`` is not replayed.
    """

    def __init__(self, path: Path, *, at_ms: int, from_ms: int = 0) -> None:
        try:
            self._reader = RecordingReader(path)
        except RecordingError as error:
            raise SourceError(error.reason, str(error), permanent=True) from error
        header = self._reader.header
        channels = frozenset(self._reader.channels)
        identity = f"{header!r} at {at_ms} from {from_ms}".encode()
        self.description = SourceDescription(
            telemetry=_TELEMETRY[header.telemetry],
            chips=tuple(
                ChipDescription(chip.uuid, chip.model, channels & CHIP_CHANNEL_NAMES)
                for chip in header.chips
            ),
            node_channels=channels & NODE_CHANNEL_NAMES,
            driver=header.driver or None,
            boot_id=hashlib.sha256(identity).digest()[:16],
            sample_ms=header.period_ms,
            poll_ms=0,
        )
        self._from_ms = from_ms
        self._shift = at_ms - from_ms
        self._rows: Iterator[Reading] = iter(self._reader)
        self._broken: RecordingError | None = None
        self._next: Reading | None = None

    def read(self, now_ms: int) -> Batch:
        """Return the readings that are due, up to ``now_ms``.

        What came before a fault in the recording is good, and returned with a line about the fault; after that
        nothing can be read: SourceError.
        """
        if self._broken is not None:
            raise SourceError(self._broken.reason, str(self._broken), permanent=True)
        due: list[Reading] = []
        while True:
            reading, self._next = self._next, None
            if reading is None:
                try:
                    reading = next(self._rows, None)
                except RecordingError as error:
                    self._broken = error
                    return Batch(due, (f"{error.reason}: {error}",))
            if reading is None:
                return Batch(due)
            if reading.time_ms < self._from_ms:
                continue
            if reading.time_ms + self._shift > now_ms:
                self._next = reading
                return Batch(due)
            due.append(reading._replace(time_ms=reading.time_ms + self._shift))

    def close(self) -> None:
        """Close the recording."""
        self._reader.close()


def configure(settings: Settings, window_ms: int) -> Opener:  # noqa: ARG001 - the registry's signature
    """Return what opens the recording that ``settings`` name."""
    path = settings.path("path")
    at_ms = settings.instant_ms("at")
    from_ms = settings.duration_ms("from", "0 s")

    def open_source() -> Source:
        return ReplaySource(path, at_ms=at_ms, from_ms=from_ms)

    return open_source
