"""A recording and the FLOP log beside it as the auditor would see the one, and the truth would have the other.

The recording goes through the agent's own reader and window, and the verifier's own columns; the FLOP log is cut at the
same windows. Nothing is fitted, and nothing of the truth gets into the evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from attestor.channels import Reading
from attestor.recording import RecordingReader
from attestor.window import Carried, Rig, Span, align, summarise
from statements.features import COLUMN
from tests.gpu.flop_log import FlopHeader, Work, executed_between, read_flop_log
from verifier.accounts.chips import ChipTable
from verifier.accounts.columns import ChipWindows, ColumnsBuilder, Float64, Windows

STARTED: Final = "started_unix_ms"
"""The recording's label that says when its time 0 was, Unix milliseconds."""
PIPES: Final = tuple(
    name
    for name in COLUMN
    if name.endswith("_active_mean") or name.startswith(("tensor_bin_", "sm_clock_tensor"))
)
"""The features that need profiling counters (GPM, DCGM)."""


class EvidenceError(Exception):
    """A recording that cannot be laid beside a FLOP log; the message says why."""


class TooShortError(EvidenceError):
    """No whole window lies within both."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One run: its windows, and by chip window what was executed in it, operations.

    ``telemetry`` is "recorded" or "simulated"; ``edge`` is the most by which a row's truth may be off, because the line
    of the log that crosses a window's edge is split evenly. ``by_precision`` is of the whole run.
    """

    name: str
    telemetry: str
    model: str
    labels: dict[str, str]
    workload: FlopHeader
    windows: Windows
    executed: Float64
    useful: Float64
    edge: Float64
    by_precision: dict[str, float]

    @property
    def seconds(self) -> float:
        """The length of its windows together, of all chips."""
        chips = self.windows.chips
        return float((chips.end_ms - chips.start_ms).sum()) / 1000


def read_evidence(recording: Path, log: Path, table: ChipTable, *, window_ms: int) -> Evidence:
    """Return a run, of all whole windows within both; EvidenceError when there are none, or a label is missing."""
    workload, works = read_flop_log(log)
    with RecordingReader(recording) as reader:
        header = reader.header
        try:
            started_ms = int(header.labels[STARTED])
        except (KeyError, ValueError) as error:
            raise EvidenceError(
                f"{recording}: the label {STARTED} does not say when it began"
            ) from error
        readings = [reading._replace(time_ms=reading.time_ms + started_ms) for reading in reader]
    spans = _whole_windows(readings, works, window_ms)
    if not spans:
        raise TooShortError(f"{recording}: no whole window of {window_ms} ms is in it and in {log}")
    rig = Rig(
        inventory=bytes(32),
        chips=len(header.chips),
        boot_id=bytes(16),
        expected_per_s=len(header.chips) * 1000 / header.period_ms,
        sample_ms=header.period_ms,
    )
    models = [table.row(chip.model) for chip in header.chips]
    builder, carried = ColumnsBuilder(), Carried()
    carried = carried.after(readings, spans[0].start_ms)
    for span in spans:
        inside = [r for r in readings if span.start_ms <= r.time_ms <= span.end_ms]
        summary, carried = summarise(span, rig, inside, carried)
        builder.add(0, span.start_ms, span.end_ms, summary, models)
    windows = builder.build()
    of_rows = [(span, chip) for span in spans for chip in range(len(header.chips))]
    useful = [replace(work, executed_flop=work.useful_flop) for work in works]
    return Evidence(
        name=recording.name.split(".")[0],
        telemetry=header.telemetry,
        model=header.chips[0].model if header.chips else "",
        labels=dict(header.labels),
        workload=workload,
        windows=windows,
        executed=_cut(works, of_rows),
        useful=_cut(useful, of_rows),
        edge=np.array([_edge(works, span, chip) for span, chip in of_rows]),
        by_precision=_by_precision(works),
    )


def _whole_windows(
    readings: Sequence[Reading], works: Sequence[Work], window_ms: int
) -> tuple[Span, ...]:
    """Return the windows of which both the chip's readings and the workload's lines speak from end to end."""
    if not readings or not works:
        return ()
    first = max(readings[0].time_ms, min(work.begin_ms for work in works))
    last = min(readings[-1].time_ms, max(work.end_ms for work in works))
    begin = align(int(first) + window_ms, window_ms)
    return tuple(
        Span(start, start + window_ms)
        for start in range(begin, int(last) - window_ms + 1, window_ms)
    )


def _cut(works: Sequence[Work], rows: Sequence[tuple[Span, int]]) -> Float64:
    return np.array(
        [executed_between(works, span.start_ms, span.end_ms, chip=chip) for span, chip in rows]
    )


def _edge(works: Sequence[Work], span: Span, chip: int) -> float:
    """Return the operations of the lines that cross an end of a window."""
    return sum(
        work.executed_flop
        for work in works
        if work.chip == chip
        and any(work.begin_ms < edge < work.end_ms for edge in (span.start_ms, span.end_ms))
    )


def _by_precision(works: Sequence[Work]) -> dict[str, float]:
    found: dict[str, float] = {}
    for work in works:
        found[work.precision] = found.get(work.precision, 0.0) + work.executed_flop
    return found


def without(windows: ChipWindows, names: Sequence[str]) -> ChipWindows:
    """Return the windows as a chip that does not say those features would have had them."""
    features = windows.features.copy()
    features[:, [COLUMN[name] for name in names]] = np.nan
    return replace(windows, features=features)
