"""Prints the period and line share of every power log in a folder: ``python -m verifier.workload.table DIR``.

The logs are gzip CSV as MLCommons publishes them with its power results, tidied to ``time_ms,sensor,
watts`` (training) or ``time_local,watts,power_factor`` (inference). Files with the same bytes count
once; watts at or below zero are sentinels. A line is a sign, not a finding: serving shows them too,
the more the shorter one looks. So each log's first node is read whole, and by windows.
"""

import contextlib
import csv
import gzip
import hashlib
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from verifier.workload.coherence import phase_coherence
from verifier.workload.errors import SeriesError
from verifier.workload.period import Line, Series, strongest_line, within

SENSOR = "node"
WINDOWS_S = (60.0, 300.0)
"""Lengths of the windows by which a log is read, beside being read whole."""
STRONG = 0.40
"""About what one node of the published GPT-3 runs shows in such windows: lines as strong are counted."""


@dataclass(frozen=True, slots=True)
class Windowed:
    """Lines of a log's windows of one length: their median share, and how many of ``count`` are strong."""

    median: float
    strong: int
    count: int

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.strong}/{self.count})" if self.count else "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One file: its nodes, the line of the first node, and the coherence of all, in words.

    ``windows`` are by :data:`WINDOWS_S`.
    """

    name: str
    nodes: int
    line: Line | None
    windows: tuple[Windowed, ...]
    coherence: str
    why: str


def _local_s(text: str) -> float:
    pattern = "%m-%d-%Y %H:%M:%S.%f" if " " in text else "%Y-%m-%dT%H:%M:%S.%f"
    return datetime.strptime(text, pattern).replace(tzinfo=UTC).timestamp()


def read_series(path: Path) -> dict[str, Series]:
    """Return the series of each node of a log, sorted by name; switches are left out."""
    samples: dict[str, list[tuple[float, float]]] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        training = next(rows)[0] == "time_ms"
        for row in rows:
            sensor = row[1] if training else f"{SENSOR}_1"
            cell = row[2] if training else row[1]
            if not sensor.startswith(SENSOR) or not cell or float(cell) <= 0:
                continue
            time_s = int(row[0]) / 1000 if training else _local_s(row[0])
            samples.setdefault(sensor, []).append((time_s, float(cell)))
    series = {}
    for sensor, found in sorted(samples.items()):
        times, watts = np.array(sorted(found), dtype=np.float64).T
        fresh = np.concatenate([[True], np.diff(times) > 0])
        series[sensor] = Series(times[fresh], watts[fresh])
    return series


def read_windows(series: Series, window_s: float) -> Windowed:
    """Return the lines of a series' windows; those too thin for one do not count."""
    shares: list[float] = []
    for window in within(series, window_s):
        with contextlib.suppress(SeriesError):
            shares.append(strongest_line(window).share)
    median = float(np.median(shares)) if shares else math.nan
    return Windowed(median, sum(share >= STRONG for share in shares), len(shares))


def read_row(path: Path) -> Row:
    """Return a log's row of the table."""
    nodes = list(read_series(path).values())
    try:
        line = strongest_line(nodes[0]) if nodes else None
        coherence = phase_coherence(nodes, line.period_s).words if line else "not defined"
    except SeriesError as error:
        return Row(path.name, len(nodes), None, (), "not defined", str(error))
    windows = tuple(read_windows(nodes[0], window_s) for window_s in WINDOWS_S) if nodes else ()
    return Row(path.name, len(nodes), line, windows, coherence, "" if nodes else "no node")


def rows(folder: Path) -> Iterator[Row]:
    """Yield a row for each log in ``folder`` whose bytes were not seen before, by name."""
    seen: set[str] = set()
    for path in sorted(folder.glob("*.csv.gz")):
        # gzip stores names and times: it is the content that must differ.
        content = hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        if content not in seen:
            seen.add(content)
            yield read_row(path)


def markdown(table: Iterator[Row]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| log | nodes | samples | period, s | line share | 60 s windows | 300 s windows | coherence |"
    yield "|---|---|---|---|---|---|---|---|"
    shown: list[Row] = []
    for row in table:
        name = row.name.removesuffix(".csv.gz")
        if row.line is None:
            yield f"| {name} | {row.nodes} | | none: {row.why} | | | | {row.coherence} |"
        else:
            line = row.line
            short, long = row.windows
            shown.append(row)
            yield (
                f"| {name} | {row.nodes} | {line.samples} | {line.period_s:.2f} | {line.share:.2f} "
                f"| {short} | {long} | {row.coherence} |"
            )
    yield ""
    whole = sum(row.line is not None and row.line.share >= STRONG for row in shown)
    yield f"Share of {STRONG:.2f} or more: {whole} of {len(shown)} logs read whole;"
    for place, window_s in enumerate(WINDOWS_S):
        cells = [row.windows[place] for row in shown]
        yield (
            f"{sum(cell.strong for cell in cells)} of {sum(cell.count for cell in cells)} windows of "
            f"{window_s:.0f} s, in {sum(cell.strong > 0 for cell in cells)} logs "
            f"({sum(cell.median >= STRONG for cell in cells)} by their median)."
        )


def main(arguments: list[str]) -> int:
    """Print the table of one folder; return the exit status."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        sys.stderr.write(
            "usage: python -m verifier.workload.table DIR (a folder of .csv.gz logs)\n"
        )
        return 2
    for line in markdown(rows(Path(arguments[0]))):
        sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
