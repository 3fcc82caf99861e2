"""Apache Parquet: the header among the file's metadata, a column for each channel. Needs pyarrow.

Rows are held until they fill a group, and pages are read one after the other, so that memory does not grow with the
recording. https://parquet.apache.org/docs/file-format/
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from attestor.errors import RecordingError
from attestor.recording_forms.interface import Row

MAGIC: Final = b"PAR1"
HEADER_KEY: Final = b"stillwatch.recording"
ROWS_A_GROUP: Final = 8_192
_LEVEL: Final = 9
_ROWS_AT_ONCE: Final = 1_024
_BUFFER: Final = 1 << 16
_LONGEST_TEXT: Final = 4 << 20
_MOST_ITEMS: Final = 1_000_000
_TYPES: Final = {"time_ms": pa.int64(), "chip": pa.int16()}


def _type(name: str) -> pa.DataType:
    return _TYPES.get(name, pa.float64())


class ParquetReader:
    """Reads the form, page by page."""

    unit = "row"
    head = "its metadata"
    names = "its schema"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._verify_end()
        with self._told():
            self._file = pq.ParquetFile(
                path,
                pre_buffer=False,
                buffer_size=_BUFFER,
                page_checksum_verification=True,
                thrift_string_size_limit=_LONGEST_TEXT,
                thrift_container_size_limit=_MOST_ITEMS,
            )
        try:
            self.header = self._header()
            self.columns = self._columns()
        except RecordingError:
            self.close()
            raise

    def _verify_end(self) -> None:
        """Tell a file that is cut short from one that is damaged."""
        with self._path.open("rb") as file:
            if file.seek(0, 2) < 3 * len(MAGIC):
                end = b""
            else:
                file.seek(-len(MAGIC), 2)
                end = file.read()
        if end != MAGIC:
            raise RecordingError("TRUNCATED", f"{self._path}: the file is cut short: it has no end")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise RecordingError(
                "CORRUPT", f"{self._path}: not intact Parquet ({_first_line(error)})"
            ) from error

    def _header(self) -> str:
        with self._told():
            found: bytes | None = (self._file.metadata.metadata or {}).get(HEADER_KEY)
            if found is not None:
                return found.decode()
        raise RecordingError(
            "BAD_HEADER", f"{self._path}: its metadata lacks {HEADER_KEY.decode()!r}"
        )

    def _columns(self) -> tuple[str, ...]:
        with self._told():
            schema = self._file.schema_arrow
            columns = [(column.name, column.type) for column in schema]
        for name, kind in columns:
            if kind != _type(name):
                raise RecordingError(
                    "BAD_COLUMNS",
                    f"{self._path}: column {name!r} is of type {kind}, not {_type(name)}",
                )
        return tuple(name for name, _ in columns)

    def rows(self) -> Iterator[Row]:
        """Yield the rows that are left."""
        number = 0
        with self._told():
            batches = self._file.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False)
        while True:
            with self._told():
                batch = next(batches, None)
                lists = [] if batch is None else [column.to_pylist() for column in batch.columns]
            if batch is None:
                break
            for time_ms, chip, *cells in zip(*lists, strict=True):
                number += 1
                if time_ms is None or chip is None:
                    raise RecordingError(
                        "BAD_ROW", f"{self._path}: row {number}: no time, or no chip"
                    )
                yield number, time_ms, chip, cells
        if not number == self._file.metadata.num_rows == self._counted():
            raise RecordingError(
                "CORRUPT", f"{self._path}: {number} rows, its metadata says that there are others"
            )

    def _counted(self) -> int:
        """Return how many rows the groups have; -1 where columns do not agree. A damaged page may count as none."""
        told = self._file.metadata
        groups = [told.row_group(at) for at in range(told.num_row_groups)]
        for group in groups:
            columns = [group.column(at).num_values for at in range(group.num_columns)]
            if set(columns) != {group.num_rows}:
                return -1
        return sum(group.num_rows for group in groups)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


class ParquetWriter:
    """Writes the form. Nothing of it can be read before its end is written."""

    def __init__(self, file: IO[bytes], header: str, columns: Sequence[str]) -> None:
        self._file = file
        fields = [pa.field(name, _type(name), nullable=name not in _TYPES) for name in columns]
        self._schema = pa.schema(fields)
        self._columns: list[list[float | None]] = [[] for _ in columns]
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            compression="zstd",
            compression_level=_LEVEL,
            use_dictionary=False,
            store_schema=False,
            write_page_checksum=True,
        )
        self._writer.add_key_value_metadata({HEADER_KEY: header.encode()})

    def write(self, time_ms: int, chip: int, cells: Sequence[float | None]) -> None:
        """Append a row."""
        for column, cell in zip(self._columns, (time_ms, chip, *cells), strict=True):
            column.append(cell)
        if len(self._columns[0]) >= ROWS_A_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        arrays = [
            pa.array(column, field.type)
            for column, field in zip(self._columns, self._schema, strict=True)
        ]
        self._columns = [[] for _ in self._columns]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))

    def flush(self) -> None:
        """Do nothing: without its end the file is none, and groups of few rows would be large."""

    def finish(self) -> None:
        """Write what is left, and the footer."""
        if self._columns[0]:
            self._write_group()
        self._writer.close()

    def leave(self) -> None:
        """Have pyarrow not write the end when it lets go."""
        self._writer.is_open = False
