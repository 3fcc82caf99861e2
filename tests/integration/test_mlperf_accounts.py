"""Real power logs through the agent's own source and window: what the accounts and the signs say.

GPT-3 175B on 64 nodes of 8 H100: https://github.com/mlcommons/training_results_v4.0 (Apache-2.0).
"""

import csv
import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from attestor.sources.mlperf import MlperfSource
from attestor.window import Carried, Rig, Span, summarise
from protos.stillwatch.statement.v1 import summary_pb2
from verifier.accounts.chips import ChipTable, read_chip_table
from verifier.accounts.columns import ColumnsBuilder
from verifier.accounts.expected import ExpectedNode
from verifier.accounts.interval import Term
from verifier.accounts.obligations import Outcome, assess_training_cap
from verifier.accounts.party import PartyAccount, account
from verifier.agreement.model import Trust
from verifier.workload.coherence import phase_coherence, shifted
from verifier.workload.period import Series, from_slots, strongest_line

RUN = "mlperf-train-v4.0-smc-ac_64xSMC-H100-SXM-80GB_gpt3_result_5848-240517221859825376616_2"
NODES, CHIPS, WINDOW_MS = 64, 8, 60_000
MODEL = "NVIDIA H100 80GB HBM3"
START_MS = 1_800_000_000_000 // WINDOW_MS * WINDOW_MS
TRUTH_FLOP = 288 * 4_194_304 * 6 * 175e9
"""Steps x tokens a step x 6 x parameters."""


@dataclass(frozen=True)
class Run:
    summaries: list[list[tuple[int, summary_pb2.WorkloadSummary]]]
    table: ChipTable
    length_ms: int
    step_s: float

    def account(self, factor: float = 1.0, whole_windows: bool = False) -> PartyAccount:
        """Account for the run window, or for all windows that hold a part of it."""
        builder = ColumnsBuilder()
        models = [self.table.row(MODEL)] * CHIPS
        for index, windows in enumerate(self.summaries):
            for start_ms, summary in windows:
                builder.add(index, start_ms, start_ms + WINDOW_MS, scaled(summary, factor), models)
        end_ms = START_MS + self.length_ms
        if whole_windows:
            end_ms = START_MS + -(-self.length_ms // WINDOW_MS) * WINDOW_MS
        nodes = [ExpectedNode(i, f"node_{i + 1}", tuple(models), START_MS) for i in range(NODES)]
        return account(builder.build(), nodes, (START_MS, end_ms), self.table, Trust.COUNTERS)

    def series(self) -> list[Series]:
        """The nodes' power over the run window, in seconds since it began."""
        found = []
        for windows in self.summaries:
            slots = np.concatenate([np.frombuffer(s.power.node, dtype="<u2") for _, s in windows])
            found.append(from_slots(slots[: self.length_ms // 1000], 1000))
        return found


def scaled(summary: summary_pb2.WorkloadSummary, factor: float) -> summary_pb2.WorkloadSummary:
    """The summary of a log whose watts are all ``factor`` times as many."""
    if factor == 1:
        return summary
    changed = summary_pb2.WorkloadSummary()
    changed.CopyFrom(summary)
    changed.node.wall_energy_joules = summary.node.wall_energy_joules * factor
    slots = np.frombuffer(summary.power.node, dtype="<u2")
    watts = np.where(slots == 65535, 65535, np.round(slots * factor))
    changed.power.node = watts.astype("<u2").tobytes()
    return changed


def windows_of(source: MlperfSource, count: int) -> list[tuple[int, summary_pb2.WorkloadSummary]]:
    rig = Rig(b"\x01" * 32, CHIPS, source.description.boot_id, 0.5, source.description.sample_ms)
    carried, found = Carried(), []
    readings = source.read(START_MS + (count + 1) * WINDOW_MS).readings
    for number in range(count):
        span = Span(START_MS + number * WINDOW_MS, START_MS + (number + 1) * WINDOW_MS)
        inside = [r for r in readings if span.start_ms <= r.time_ms <= span.end_ms]
        summary, carried = summarise(span, rig, inside, carried)
        found.append((span.start_ms, summary))
    return found


@pytest.fixture(scope="module")
def run(traces: Path, root: Path) -> Run:
    folder = traces / "mlperf"
    with gzip.open(folder / "events" / f"{RUN}.events.csv.gz", "rt") as file:
        events = [(int(row[0]), row[1], row[2]) for row in list(csv.reader(file))[1:]]
    at = {key: time for time, key, _ in events if key in {"run_start", "run_stop"}}
    length_ms = at["run_stop"] - at["run_start"]
    steps = [time for time, key, value in events if "train_step_timing" in value]
    count = -(-length_ms // WINDOW_MS)
    path = folder / "train" / f"{RUN}.csv.gz"
    summaries = [
        windows_of(
            MlperfSource(path, sensor=f"node_{n + 1}", chips=CHIPS, model=MODEL, at_ms=START_MS),
            count,
        )
        for n in range(NODES)
    ]
    table = read_chip_table((root / "policies/reference/chips.toml").read_bytes())
    return Run(summaries, table, length_ms, float(np.median(np.diff(steps))) / 1000)


@pytest.fixture(scope="module")
def recorded(run: Run) -> PartyAccount:
    return run.account()


def test_the_interval_of_the_run_window_holds_the_truth(recorded: PartyAccount) -> None:
    assert recorded.lower_flop == 0
    assert recorded.most_flop == pytest.approx(3.74e21, rel=0.005)
    assert recorded.lower_flop <= TRUTH_FLOP <= recorded.most_flop
    assert recorded.most_flop / TRUTH_FLOP == pytest.approx(2.95, abs=0.01)
    assert recorded.binds is Term.PEAK_TIME


def test_wall_energy_of_the_run_window_is_that_of_the_log(recorded: PartyAccount) -> None:
    assert recorded.wall_energy_j == pytest.approx(1.495e9, rel=0.005)


def energy_bound(part: PartyAccount) -> float:
    return part.wall_energy_j / 0.20e-12


def test_the_energy_bound_is_that_of_the_least_energy_an_operation(recorded: PartyAccount) -> None:
    assert energy_bound(recorded) == pytest.approx(7.47e21, rel=0.005)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_scaled_watts_scale_energy_and_its_bound_exactly(run: Run, factor: float) -> None:
    whole, part = run.account(whole_windows=True), run.account(factor, whole_windows=True)
    assert part.wall_energy_j == factor * whole.wall_energy_j
    assert energy_bound(part) == factor * energy_bound(whole)


@pytest.mark.parametrize(("factor", "upper"), [(0.25, 1.87e21), (0.1, 0.747e21)])
def test_less_power_bounds_by_energy(run: Run, factor: float, upper: float) -> None:
    part = run.account(factor)
    assert part.most_flop == pytest.approx(upper, rel=0.01)
    assert part.binds is Term.ENERGY_FLOOR
    assert (part.most_flop < TRUTH_FLOP) == (factor == 0.1)


def test_power_alone_never_breaks_a_cap_on_flop(recorded: PartyAccount) -> None:
    for cap in (0.0, 1e18, 1e21):
        assessment = assess_training_cap(recorded, cap)
        assert assessment.outcome is Outcome.UNRESOLVED
        assert assessment.would_resolve is not None
    assert assess_training_cap(recorded, 4e21).outcome is Outcome.KEPT


def test_the_period_of_the_run_is_that_of_its_steps(run: Run) -> None:
    nodes = run.series()
    periods = [strongest_line(series).period_s for series in nodes]
    for period in periods:
        assert period == pytest.approx(run.step_s, rel=0.03)


def test_the_nodes_of_one_job_share_a_phase_and_lose_it_when_shifted(run: Run) -> None:
    nodes = run.series()
    period = strongest_line(nodes[0]).period_s
    together = phase_coherence(nodes, period).value
    draw = np.random.default_rng(20260101)
    length = run.length_ms / 1000
    apart = [
        phase_coherence(shifted(nodes, draw.uniform(0, length, NODES).tolist()), period).value
        for _ in range(20)
    ]
    assert together is not None
    assert together > 0.5
    # One draw of 64 unrelated phases exceeds 0.2 in 8 of 100 cases, exp(-64 x 0.2^2): the control is their mean.
    control = np.array(apart, dtype=np.float64)
    assert control.mean() < 0.2
    assert control.max() < 0.4


def test_the_coherence_of_one_node_is_not_defined(run: Run) -> None:
    coherence = phase_coherence(run.series()[:1], 10.8)
    assert coherence.value is None
    assert coherence.words == "not defined"
    assert math.isfinite(strongest_line(run.series()[0]).share)
