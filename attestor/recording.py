"""Recordings of telemetry, in either of two forms: gzip of CSV, or Parquet. See docs/recording-format.md.

What a recording must be is checked here, once, whatever its form; ``recording_forms`` knows the bytes. Reading and
writing stream: memory does not grow with the recording.
"""

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Protocol, Self, cast

from attestor.channels import (
    CHANNELS,
    CHIP_CHANNEL_NAMES,
    NODE,
    NODE_CHANNEL_NAMES,
    Reading,
    clean,
)
from attestor.errors import RecordingError
from attestor.recording_forms.csv_gz import CsvReader, CsvWriter
from attestor.recording_forms.interface import FormReader, FormWriter
from attestor.recording_header import (
    RecordedChip,
    RecordingHeader,
    decode_header,
    encode_header,
    verify_header,
)
from statements.keys import sync_folder

__all__ = [
    "RecordedChip",
    "RecordingHeader",
    "RecordingReader",
    "RecordingWriter",
    "convert",
    "verify_absent",
]

CSV, PARQUET = ".csv.gz", ".parquet"
PART: Final = ".part"
_PARQUET_MAGIC: Final = b"PAR1"
_LATEST_MS: Final = 2**63 - 1


class _Parquet(Protocol):
    def ParquetReader(self, path: Path) -> FormReader: ...  # noqa: N802 - a class

    def ParquetWriter(  # noqa: N802 - a class
        self, file: IO[bytes], header: str, columns: Sequence[str]
    ) -> FormWriter: ...


def _parquet(path: Path) -> _Parquet:
    try:
        found = importlib.import_module("attestor.recording_forms.parquet")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        raise RecordingError(
            "NEEDS_PARQUET", f"{path}: Parquet needs pyarrow: pip install 'stillwatch[parquet]'"
        ) from error
    return cast("_Parquet", found)


class RecordingWriter:
    """Writes a recording to ``path``, row by row, as Parquet where its name ends so. Use it as a context manager.

    ``channels`` are the columns, by name, chips' and node's alike; ``line`` is the header as it stands elsewhere, where
    it is copied. The same input gives the same bytes. Under its name the file is there whole and durable, or not at
    all: until then it is ``part``, which is removed after an error. Raises RecordingError.
    """

    def __init__(
        self,
        path: Path,
        header: RecordingHeader,
        channels: Sequence[str],
        *,
        line: str | None = None,
    ) -> None:
        verify_header(header, str(path))
        unknown = [name for name in channels if name not in CHANNELS]
        if unknown:
            raise RecordingError("UNKNOWN_CHANNEL", f"{path}: no such channel: {unknown[0]!r}")
        self.part = path.with_name(path.name + PART)
        self._path = path
        self._header = header
        self._channels = tuple(channels)
        self._newest = 0
        form = _parquet(path).ParquetWriter if path.suffix == PARQUET else CsvWriter
        try:
            text = line or encode_header(header)
            text.encode()
        except UnicodeEncodeError as error:
            raise RecordingError(
                "BAD_HEADER", f"{path}: a name that is no text: {error}"
            ) from error
        with self._told():
            self._file: IO[bytes] = self.part.open("wb")
            self._form: FormWriter = form(self._file, text, ("time_ms", "chip", *self._channels))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RecordingError(
                "UNWRITABLE", f"cannot write {self._path}: {error.strerror or error}"
            ) from error

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
        get = reading.values.get
        cells = [
            None if (value := get(name)) is None else clean(name, value) for name in self._channels
        ]
        with self._told():
            self._form.write(reading.time_ms, reading.chip, cells)

    def flush(self) -> None:
        """Let ``part`` be read up to here, as far as the form allows: one that is cut off in CSV is."""
        with self._told():
            self._form.flush()
            self._file.flush()

    def close(self) -> None:
        """Finish the file, and give it its name."""
        with self._told():
            self._form.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self.part.replace(self._path)
            sync_folder(self._path.parent)

    def abandon(self, *, keep: bool = False) -> None:
        """Leave the file, and remove ``part`` unless it is to be kept."""
        self._form.leave()
        with suppress(OSError):
            self._file.close()
        if not keep:
            with suppress(OSError):
                self.part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.abandon()
            return
        try:
            self.close()
        except RecordingError:
            self.abandon()
            raise


def _open(path: Path) -> FormReader:
    """Open a recording in whatever form its first bytes are of; its name says nothing."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(_PARQUET_MAGIC))
        return _parquet(path).ParquetReader(path) if magic == _PARQUET_MAGIC else CsvReader(path)
    except OSError as error:
        raise RecordingError("UNREADABLE", f"{path}: {error.strerror or error}") from error


class RecordingReader:
    """Reads a recording from ``path``, in either form. Opening it reads the header; iterating gives its readings.

    ``line`` is the header as it stands there. Blank cells and sentinels are absent from a reading's values. Raises
    RecordingError, with the place, for anything that is not a recording; what came before the error was good.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._form = _open(path)
        try:
            self.line = self._form.header
            self.header = decode_header(self.line, f"{path}: {self._form.head}")
            self.channels = self._channels(self._form.columns)
        except RecordingError:
            self.close()
            raise

    def _channels(self, columns: Sequence[str]) -> tuple[str, ...]:
        if tuple(columns[:2]) != ("time_ms", "chip"):
            raise RecordingError(
                "BAD_COLUMNS",
                f"{self._path}: {self._form.names}: the first columns must be time_ms,chip",
            )
        for name in columns[2:]:
            if name not in CHANNELS:
                raise RecordingError(
                    "UNKNOWN_CHANNEL",
                    f"{self._path}: {self._form.names}: no such channel: {name!r}",
                )
        if len(set(columns)) != len(columns):
            raise RecordingError(
                "BAD_COLUMNS", f"{self._path}: {self._form.names}: a column comes twice"
            )
        return tuple(columns[2:])

    def __iter__(self) -> Iterator[Reading]:
        newest = 0
        for number, time_ms, chip, cells in self._form.rows():
            if not NODE <= chip < len(self.header.chips) or not 0 <= time_ms <= _LATEST_MS:
                raise RecordingError(
                    "BAD_ROW",
                    f"{self._path}: {self._form.unit} {number}: chip {chip} at {time_ms} ms is outside the "
                    f"recording of {len(self.header.chips)} chips",
                )
            if time_ms < newest:
                raise RecordingError(
                    "TIME_BACKWARDS",
                    f"{self._path}: {self._form.unit} {number}: time goes back from {newest} to {time_ms} ms",
                )
            newest = time_ms
            mine = NODE_CHANNEL_NAMES if chip == NODE else CHIP_CHANNEL_NAMES
            values = {
                name: value
                for name, cell in zip(self.channels, cells, strict=True)
                if cell is not None and name in mine and (value := clean(name, cell)) is not None
            }
            yield Reading(time_ms, chip, values)

    def close(self) -> None:
        """Close the file."""
        self._form.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def verify_absent(path: Path) -> None:
    """Refuse to write where something is already, be it a recording or what is left of one: RecordingError."""
    for there in (path, path.with_name(path.name + PART)):
        if there.exists():
            raise RecordingError("EXISTS", f"{there} exists: move it away, or choose another name")


def convert(source: Path, target: Path) -> int:
    """Write the recording at ``source`` to ``target``, in the form of its name; return how many rows it has.

    The header stays as it is, to the letter, and so does every value that is a reading. What is there already is not
    written over. Raises RecordingError.
    """
    verify_absent(target)
    rows = 0
    with (
        RecordingReader(source) as reader,
        RecordingWriter(target, reader.header, reader.channels, line=reader.line) as writer,
    ):
        for reading in reader:
            writer.write(reading)
            rows += 1
    return rows
