"""The published GPT-3 runs as evidence: through the agent's own source and window, then into columns.

GPT-3 175B on 64 nodes of 8 H100: https://github.com/mlcommons/training_results_v4.0 (Apache-2.0).
"""

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from attestor.sources.mlperf import MlperfSource, read_run_start
from attestor.window import Carried, Rig, Span, summarise
from protos.stillwatch.statement.v1 import summary_pb2
from verifier.accounts.chips import ChipTable
from verifier.accounts.columns import ColumnsBuilder, Windows
from verifier.accounts.expected import ExpectedNode
from verifier.accounts.party import PartyAccount, account
from verifier.agreement.model import Trust
from verifier.workload.period import Series, from_slots

_PREFIX: Final = "mlperf-train-v4.0-smc-ac_64xSMC-H100-SXM-80GB_gpt3_result_"
RUNS: Final = (
    f"{_PREFIX}5848-240517221859825376616_2",
    f"{_PREFIX}5849-240518014016374832336_1",
    f"{_PREFIX}5849-240518014016374832336_3",
)
NODES, CHIPS, WINDOW_MS = 64, 8, 60_000
MODEL: Final = "NVIDIA H100 80GB HBM3"
START_MS: Final = 1_800_000_000_000 // WINDOW_MS * WINDOW_MS
"""When the run starts on the agent's clock."""
TRUTH_FLOP: Final = 288 * 4_194_304 * 6 * 175e9
"""Steps x tokens a step x 6 x parameters."""


@dataclass(frozen=True)
class Run:
    """One run: the summaries of each node, its length, and the median time between step events."""

    windows: Windows
    table: ChipTable
    length_ms: int
    steps: int
    step_s: float

    def account(
        self, trust: Trust = Trust.COUNTERS, *, whole_windows: bool = False
    ) -> PartyAccount:
        """Account for the run window, or for all windows that hold a part of it."""
        end_ms = START_MS + self.length_ms
        if whole_windows:
            end_ms = START_MS + -(-self.length_ms // WINDOW_MS) * WINDOW_MS
        models = (self.table.row(MODEL),) * CHIPS
        nodes = [ExpectedNode(at, f"node_{at + 1}", models, START_MS) for at in range(NODES)]
        return account(self.windows, nodes, (START_MS, end_ms), self.table, trust)

    def series(self) -> list[Series]:
        """Each node's power over the run window, in seconds since it began."""
        nodes = self.windows.nodes
        found = []
        for node in range(NODES):
            rows = np.flatnonzero(nodes.node == node).tolist()
            slots = np.concatenate([nodes.wall_slots[row] for row in rows])
            found.append(from_slots(slots[: self.length_ms // 1000], 1000))
        return found


def scale_log(path: Path, factor: float, folder: Path) -> Path:
    """Write a copy of a training log whose watts are all ``factor`` times as many; return its path."""
    target = folder / f"{factor}_{path.name}"
    with (
        gzip.open(path, "rt", newline="") as source,
        gzip.open(target, "wt", compresslevel=1, newline="") as copy,
    ):
        rows = csv.reader(source)
        writer = csv.writer(copy)
        writer.writerow(next(rows))
        writer.writerows((t, sensor, repr(float(w) * factor) if w else w) for t, sensor, w in rows)
    return target


def read_run(
    folder: Path, name: str, table: ChipTable, *, factor: float = 1.0, scratch: Path | None = None
) -> Run:
    """Return a run of the logs in ``folder``, scaled at the log by ``factor`` (then in ``scratch``)."""
    with gzip.open(folder / "events" / f"{name}.events.csv.gz", "rt") as file:
        events = [(int(row[0]), row[1], row[2]) for row in list(csv.reader(file))[1:]]
    at = {key: time for time, key, _ in events if key in {"run_start", "run_stop"}}
    steps = [time for time, _, value in events if "train_step_timing" in value]
    length_ms = at["run_stop"] - at["run_start"]
    path = folder / "train" / f"{name}.csv.gz"
    start_ms = read_run_start(path)
    if factor != 1:
        if scratch is None:
            raise ValueError("a scaled log needs a folder to be written to")
        path = scale_log(path, factor, scratch)
    builder = ColumnsBuilder()
    models = [table.row(MODEL)] * CHIPS
    for node in range(NODES):
        source = MlperfSource(
            path,
            sensor=f"node_{node + 1}",
            chips=CHIPS,
            model=MODEL,
            at_ms=START_MS,
            run_start_ms=start_ms,
        )
        for span, summary in _windows(source, -(-length_ms // WINDOW_MS)):
            builder.add(node, span.start_ms, span.end_ms, summary, models)
    between = float(np.median(np.diff(steps))) / 1000
    return Run(builder.build(), table, length_ms, len(steps), between)


def _windows(source: MlperfSource, count: int) -> list[tuple[Span, summary_pb2.WorkloadSummary]]:
    description = source.description
    per_s = 1000 / description.sample_ms
    rig = Rig(b"\x01" * 32, CHIPS, description.boot_id, per_s, description.sample_ms)
    carried = Carried()
    found: list[tuple[Span, summary_pb2.WorkloadSummary]] = []
    readings = source.read(START_MS + (count + 1) * WINDOW_MS).readings
    for number in range(count):
        span = Span(START_MS + number * WINDOW_MS, START_MS + (number + 1) * WINDOW_MS)
        inside = [r for r in readings if span.start_ms <= r.time_ms <= span.end_ms]
        summary, carried = summarise(span, rig, inside, carried)
        found.append((span, summary))
    return found
