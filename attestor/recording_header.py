"""What a recording says of itself, whatever its form: one line of JSON. See docs/recording-format.md."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from attestor.errors import RecordingError

FORMAT: Final = "stillwatch.recording/1"
TELEMETRY: Final = ("recorded", "simulated")
MOST_CHIPS: Final = 32_767
LONGEST_HEADER: Final = 1 << 20
"""Characters."""


@dataclass(frozen=True, slots=True)
class RecordedChip:
    """A chip of a recording: its vendor's unique id and model name."""

    uuid: str
    model: str


@dataclass(frozen=True, slots=True)
class RecordingHeader:
    """What a recording says of itself.

    ``telemetry`` is "recorded" (read from real hardware) or "simulated" (made by a model);
    ``origin`` and ``licence`` say where it is from and who may use it; ``chips`` gives the rows;
    ``period_ms`` is the time between two readings of a row, at least 1; ``labels`` is free text.
    """

    telemetry: str
    origin: str
    licence: str
    chips: tuple[RecordedChip, ...]
    driver: str
    period_ms: int
    labels: Mapping[str, str] = field(default_factory=dict)


def encode_header(header: RecordingHeader) -> str:
    """Return the one line that says it."""
    return json.dumps(
        {
            "format": FORMAT,
            "telemetry": header.telemetry,
            "origin": header.origin,
            "licence": header.licence,
            "chips": [{"uuid": chip.uuid, "model": chip.model} for chip in header.chips],
            "driver": header.driver,
            "period_ms": header.period_ms,
            "labels": dict(header.labels),
        },
        ensure_ascii=False,
    )


def decode_header(line: str, where: str) -> RecordingHeader:
    """Parse the header of a recording; ``where`` names the file, and where it stands there, in errors."""
    if len(line) > LONGEST_HEADER or "\n" in line:
        raise RecordingError("BAD_HEADER", f"{where}: the header is one line of at most 1 MiB")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:  # absurdly deep is no header either
        raise RecordingError(
            "BAD_HEADER", f"{where}: not JSON ({error}); a recording starts with a header"
        ) from error
    try:
        if found["format"] != FORMAT:
            raise RecordingError(
                "UNKNOWN_FORMAT", f"{where}: format is {found['format']!r}, not {FORMAT!r}"
            )
        header = RecordingHeader(
            telemetry=found["telemetry"],
            origin=str(found["origin"]),
            licence=str(found["licence"]),
            chips=tuple(RecordedChip(str(c["uuid"]), str(c["model"])) for c in found["chips"]),
            driver=str(found["driver"]),
            period_ms=found["period_ms"],
            labels={str(key): str(value) for key, value in found.get("labels", {}).items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordingError(
            "BAD_HEADER", f"{where}: the header lacks or misspells {error}"
        ) from error
    verify_header(header, where)
    return header


def verify_header(header: RecordingHeader, where: str) -> None:
    """Refuse a header that no recording has: :class:`RecordingError`."""
    if header.telemetry not in TELEMETRY:
        raise RecordingError(
            "BAD_HEADER",
            f"{where}: telemetry is {header.telemetry!r}, not one of {', '.join(TELEMETRY)}",
        )
    if len({chip.uuid for chip in header.chips}) != len(header.chips):
        raise RecordingError("BAD_HEADER", f"{where}: two chips have one uuid")
    if len(header.chips) > MOST_CHIPS:
        raise RecordingError("BAD_HEADER", f"{where}: more than {MOST_CHIPS} chips")
    if type(header.period_ms) is not int or header.period_ms < 1:
        raise RecordingError(
            "BAD_HEADER",
            f"{where}: period_ms is {header.period_ms!r}, not a whole "
            "number of milliseconds from 1",
        )
