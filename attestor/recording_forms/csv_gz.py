"""gzip (RFC 1952) of a JSON line and CSV (RFC 4180)."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from attestor.errors import RecordingError
from attestor.recording_forms.interface import Row

_LONGEST_HEADER: Final = 1 << 20
_LONGEST_ROW: Final = 1 << 16
_FIRST_ROW: Final = 3
_GZIP: Final = 16 + zlib.MAX_WBITS
_LEVEL: Final = 6


class CsvReader:
    """Reads the form, line by line."""

    unit = "line"
    head = "line 1"
    names = "line 2"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 1
        self._taken = 0
        self._file = gzip.open(path, "rt", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()
        try:
            self.header = self._head(_LONGEST_HEADER).rstrip("\r\n")
            self._line = 2
            self.columns = tuple(self._head(_LONGEST_HEADER).rstrip("\r\n").split(","))
        except RecordingError:
            self.close()
            raise

    def _head(self, most: int) -> str:
        try:
            return self._file.readline(most)
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

    def rows(self) -> Iterator[Row]:
        """Yield the rows that are left."""
        rows = csv.reader(self._lines())
        for number in range(_FIRST_ROW, 1 << 62):
            self._line, self._taken = number, 0
            try:
                cells = next(rows)
            except StopIteration:
                return
            except (EOFError, OSError, zlib.error, UnicodeDecodeError, csv.Error) as error:
                raise self._broken(error) from error
            if len(cells) != len(self.columns):
                raise RecordingError(
                    "BAD_ROW",
                    f"{self._path}: line {number}: {len(cells)} cells, the columns are {len(self.columns)}",
                )
            try:
                time_ms, chip = int(cells[0]), int(cells[1])
                values = [float(cell) if cell else None for cell in cells[2:]]
            except ValueError as error:
                raise RecordingError("BAD_ROW", f"{self._path}: line {number}: {error}") from error
            yield number, time_ms, chip, values

    def _lines(self) -> Iterator[str]:
        """Yield the lines that are left. However long one is, and however many a cell goes over, little is held."""
        while line := self._file.readline(_LONGEST_ROW):
            self._taken += 1
            if len(line) == _LONGEST_ROW or self._taken > 1:
                raise RecordingError(
                    "BAD_ROW",
                    f"{self._path}: line {self._line}: a row is one line, of less than 64 KiB",
                )
            yield line

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class CsvWriter:
    """Writes the form. The same rows give the same bytes: the gzip header carries no time and no name."""

    def __init__(self, file: IO[bytes], header: str, columns: Sequence[str]) -> None:
        self._file = file
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._add(f"{header}\n{','.join(columns)}\n")

    def _add(self, text: str) -> None:
        self._file.write(self._packer.compress(text.encode()))

    def write(self, time_ms: int, chip: int, cells: Sequence[float | None]) -> None:
        """Append a line."""
        self._add(f"{time_ms},{chip},{','.join(map(_written, cells))}\n")

    def flush(self) -> None:
        """Write every line so far, so that a file whose end never comes is read up to here."""
        self._file.write(self._packer.flush(zlib.Z_SYNC_FLUSH))

    def finish(self) -> None:
        """Write gzip's end."""
        self._file.write(self._packer.flush())

    def leave(self) -> None:
        """Nothing is held that would write."""


def _written(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if value == int(value) else repr(float(value))
