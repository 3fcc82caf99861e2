"""What a workload executed, as it counts by itself: the truth beside a recording of its chip.

A file is gzip of UTF-8 text: a line of JSON, then CSV, like a recording (docs/recording-format.md). The JSON holds
``format``, ``workload``, ``shape`` (what the counts follow from) and ``labels``; a line holds ``begin_ms``, ``end_ms``
(Unix milliseconds, a fraction allowed), ``chip`` (the row in the recording), ``precision``, ``executed_flop`` and
``useful_flop``.

*Executed* is what kernels did: two for each multiplication and addition of every product, padding, recomputation and
masked parts included. *Useful* is what the model needed of it. Integer operations count alike. Work is split evenly
over its line's time, so lines should be short: one a step, and never longer than a second.
"""

import csv
import gzip
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

FORMAT: Final = "stillwatch.flop/1"
PRECISIONS: Final = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8")
_COLUMNS: Final = ("begin_ms", "end_ms", "chip", "precision", "executed_flop", "useful_flop")
_LONGEST_MS: Final = 60_000.0


class FlopLogError(Exception):
    """A FLOP log that cannot be read; the message names file and line."""


@dataclass(frozen=True, slots=True)
class FlopHeader:
    """What a FLOP log says of itself. ``shape`` is what its counts follow from: sizes, layers, batch."""

    workload: str
    shape: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """What one chip did between two instants, Unix milliseconds; operations, not rates."""

    begin_ms: float
    end_ms: float
    chip: int
    precision: str
    executed_flop: float
    useful_flop: float


class FlopLogWriter:
    """Writes a FLOP log line by line; use it as a context manager."""

    def __init__(self, path: Path, header: FlopHeader) -> None:
        self._file = gzip.open(path, "wt", encoding="utf-8", newline="")  # noqa: SIM115 - closed by __exit__
        head = {
            "format": FORMAT,
            "workload": header.workload,
            "shape": dict(header.shape),
            "labels": dict(header.labels),
        }
        self._file.write(json.dumps(head, ensure_ascii=False) + "\n")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(_COLUMNS)

    def write(self, work: Work) -> None:
        """Add a line."""
        verify_work(work)
        self._rows.writerow(
            (
                f"{work.begin_ms:.3f}",
                f"{work.end_ms:.3f}",
                work.chip,
                work.precision,
                f"{work.executed_flop:.0f}",
                f"{work.useful_flop:.0f}",
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def verify_work(work: Work) -> None:
    """Refuse what no workload did: :class:`FlopLogError`."""
    numbers = (work.begin_ms, work.end_ms, work.executed_flop, work.useful_flop)
    if not all(math.isfinite(number) for number in numbers):
        raise FlopLogError("a number that is not finite")
    if not 0 < work.end_ms - work.begin_ms <= _LONGEST_MS:
        raise FlopLogError(f"a line must be of up to {_LONGEST_MS:g} ms")
    if work.precision not in PRECISIONS:
        raise FlopLogError(f"{work.precision!r} is none of {', '.join(PRECISIONS)}")
    if not 0 <= work.useful_flop <= work.executed_flop or work.chip < 0:
        raise FlopLogError("useful operations are some of those executed, and neither is negative")


def read_flop_log(path: Path) -> tuple[FlopHeader, Sequence[Work]]:
    """Read a whole FLOP log; raises FlopLogError."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            head = json.loads(file.readline())
            if head["format"] != FORMAT:
                raise FlopLogError(f"{path}: format {head['format']!r}, not {FORMAT!r}")
            header = FlopHeader(str(head["workload"]), dict(head["shape"]), dict(head["labels"]))
            return header, tuple(_rows(path, csv.reader(file)))
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise FlopLogError(f"{path}: {error!r}") from error


def _rows(path: Path, rows: "Iterator[list[str]]") -> Iterator[Work]:
    if tuple(next(rows, ())) != _COLUMNS:
        raise FlopLogError(f"{path}: line 2: the columns are {','.join(_COLUMNS)}")
    for number, row in enumerate(rows, 3):
        begin, end, chip, precision, executed, useful = row
        work = Work(float(begin), float(end), int(chip), precision, float(executed), float(useful))
        try:
            verify_work(work)
        except FlopLogError as error:
            raise FlopLogError(f"{path}: line {number}: {error}") from None
        yield work


def executed_between(
    works: Sequence[Work], begin_ms: float, end_ms: float, *, chip: int | None = None
) -> float:
    """Return the operations executed in [begin, end), each line's split evenly over its time; exact sums."""
    return math.fsum(
        work.executed_flop
        * max(0.0, min(work.end_ms, end_ms) - max(work.begin_ms, begin_ms))
        / (work.end_ms - work.begin_ms)
        for work in works
        if chip is None or work.chip == chip
    )
