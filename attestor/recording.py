"""Recordings of telemetry: gzip, a JSON header line, then CSV. See docs/recording-format.md.

Reading and writing stream: memory does not grow with the recording.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from attestor.channels import (
    CHANNELS,
    CHIP_CHANNEL_NAMES,
    NODE,
    NODE_CHANNEL_NAMES,
    Reading,
    clean,
)
from attestor.errors import RecordingError

FORMAT: Final = "stillwatch.recording/1"
TELEMETRY: Final = ("recorded", "simulated")
_LONGEST_HEADER: Final = 1 << 20


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


def _encode_header(header: RecordingHeader) -> str:
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
    """Parse the first line of a recording; ``where`` names the file in errors."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:  # absurdly deep is no header either
        raise RecordingError(
            "BAD_HEADER", f"{where}: line 1: not JSON ({error}); a recording starts with a header"
        ) from error
    try:
        if found["format"] != FORMAT:
            raise RecordingError(
                "UNKNOWN_FORMAT", f"{where}: line 1: format is {found['format']!r}, not {FORMAT!r}"
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
            "BAD_HEADER", f"{where}: line 1: the header lacks or misspells {error}"
        ) from error
    if header.telemetry not in TELEMETRY:
        raise RecordingError(
            "BAD_HEADER",
            f"{where}: line 1: telemetry is {header.telemetry!r}, not one of "
            f"{', '.join(TELEMETRY)}",
        )
    if len({chip.uuid for chip in header.chips}) != len(header.chips):
        raise RecordingError("BAD_HEADER", f"{where}: line 1: two chips have one uuid")
    if type(header.period_ms) is not int or header.period_ms < 1:
        raise RecordingError(
            "BAD_HEADER",
            f"{where}: line 1: period_ms is {header.period_ms!r}, not a whole "
            "number of milliseconds from 1",
        )
    return header


class RecordingWriter:
    """Writes a recording to ``path``, row by row. Use it as a context manager.

    ``channels`` are the columns, by name, chips' and node's alike. The same input gives the same
    bytes: the gzip header carries no time and no name.
    """

    def __init__(self, path: Path, header: RecordingHeader, channels: Sequence[str]) -> None:
        unknown = [name for name in channels if name not in CHANNELS]
        if unknown:
            raise RecordingError("UNKNOWN_CHANNEL", f"{path}: no such channel: {unknown[0]!r}")
        self._path = path
        self._header = header
        self._channels = tuple(channels)
        self._newest = 0
        self._raw: IO[bytes] = path.open("wb")
        self._gzip = gzip.GzipFile(
            filename="", fileobj=self._raw, mode="wb", compresslevel=6, mtime=0
        )
        columns = ",".join(("time_ms", "chip", *self._channels))
        self._gzip.write(f"{_encode_header(header)}\n{columns}\n".encode())

    def write(self, reading: Reading) -> None:
        """Append one row. Times must not go backwards; what was not read, or cannot be, becomes a blank."""
        if reading.time_ms < self._newest:
            raise RecordingError(
                "TIME_BACKWARDS",
                f"{self._path}: {reading.time_ms} ms comes after {self._newest} ms; write in order",
            )
        if not NODE <= reading.chip < len(self._header.chips):
            raise RecordingError(
                "UNKNOWN_CHIP", f"{self._path}: chip {reading.chip} is not in the header"
            )
        self._newest = reading.time_ms
        cells = [str(reading.time_ms), str(reading.chip)]
        cells.extend(_cell(name, reading.values.get(name)) for name in self._channels)
        self._gzip.write((",".join(cells) + "\n").encode())

    def close(self) -> None:
        """Finish the file."""
        self._gzip.close()
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _cell(name: str, value: float | None) -> str:
    if value is None or clean(name, value) is None:
        return ""
    return str(int(value)) if value == int(value) else repr(float(value))


class RecordingReader:
    """Reads a recording from ``path``. Opening it reads the header; iterating gives its readings.

    Blank cells and sentinels are absent from a reading's values. Raises RecordingError, with the
    line's number, for anything that is not a recording; what came before the error was good.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 1
        try:
            self._file = gzip.open(path, "rt", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise RecordingError("UNREADABLE", f"{path}: {error.strerror}") from error
        first = self._guarded_line()
        if not first:
            raise RecordingError("BAD_HEADER", f"{path}: the file is empty")
        self.header = decode_header(first, str(path))
        self._line = 2
        self.channels = self._columns(self._guarded_line())

    def _guarded_line(self) -> str:
        try:
            return self._file.readline(_LONGEST_HEADER)
        except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> RecordingError:
        if isinstance(error, EOFError):
            return RecordingError(
                "TRUNCATED", f"{self._path}: after line {self._line}: the file is cut short"
            )
        return RecordingError(
            "CORRUPT", f"{self._path}: near line {self._line}: not intact gzip text ({error})"
        )

    def _columns(self, line: str) -> tuple[str, ...]:
        columns = line.rstrip("\r\n").split(",")
        if columns[:2] != ["time_ms", "chip"]:
            raise RecordingError(
                "BAD_COLUMNS", f"{self._path}: line 2: the first columns must be time_ms,chip"
            )
        for name in columns[2:]:
            if name not in CHANNELS:
                raise RecordingError(
                    "UNKNOWN_CHANNEL", f"{self._path}: line 2: no such channel: {name!r}"
                )
        if len(set(columns)) != len(columns):
            raise RecordingError("BAD_COLUMNS", f"{self._path}: line 2: a column comes twice")
        return tuple(columns[2:])

    def __iter__(self) -> Iterator[Reading]:
        newest = 0
        rows = csv.reader(self._file)
        while True:
            self._line += 1
            try:
                row = next(rows)
            except StopIteration:
                return
            except (EOFError, OSError, zlib.error, UnicodeDecodeError, csv.Error) as error:
                raise self._broken(error) from error
            reading = self._reading(row)
            if reading.time_ms < newest:
                raise RecordingError(
                    "TIME_BACKWARDS",
                    f"{self._path}: line {self._line}: time goes back from {newest} to "
                    f"{reading.time_ms} ms",
                )
            newest = reading.time_ms
            yield reading

    def _reading(self, row: list[str]) -> Reading:
        if len(row) != len(self.channels) + 2:
            raise RecordingError(
                "BAD_ROW",
                f"{self._path}: line {self._line}: {len(row)} cells, the columns are "
                f"{len(self.channels) + 2}",
            )
        try:
            time_ms, chip = int(row[0]), int(row[1])
            cells = [
                (name, float(cell))
                for name, cell in zip(self.channels, row[2:], strict=True)
                if cell
            ]
        except ValueError as error:
            raise RecordingError("BAD_ROW", f"{self._path}: line {self._line}: {error}") from error
        if not NODE <= chip < len(self.header.chips) or time_ms < 0:
            raise RecordingError(
                "BAD_ROW",
                f"{self._path}: line {self._line}: chip {chip} at {time_ms} ms is outside the "
                f"recording of {len(self.header.chips)} chips",
            )
        mine = NODE_CHANNEL_NAMES if chip == NODE else CHIP_CHANNEL_NAMES
        values = {
            name: value
            for name, cell in cells
            if name in mine and (value := clean(name, cell)) is not None
        }
        return Reading(time_ms, chip, values)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
