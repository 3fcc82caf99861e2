"""Real power logs through the agent's own source and window: what the accounts and the signs say.

The runs are those of :mod:`tests.mlperf.gpt3`; ``python -m tests.mlperf DIR`` prints the figures behind these claims.
"""

import csv
import gzip
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.mlperf.gpt3 import NODES, RUNS, TRUTH_FLOP, Run, read_run
from verifier.accounts.chips import ChipTable, read_chip_table
from verifier.accounts.interval import Term
from verifier.accounts.obligations import Outcome, assess_training_cap
from verifier.accounts.party import PartyAccount
from verifier.agreement.model import Trust
from verifier.workload.coherence import phase_coherence, shifted
from verifier.workload.period import strongest_line, together
from verifier.workload.table import Row, rows


@pytest.fixture(scope="module")
def table(root: Path) -> ChipTable:
    return read_chip_table((root / "policies/reference/chips.toml").read_bytes())


@pytest.fixture(scope="module", params=RUNS, ids=["5848_2", "5849_1", "5849_3"])
def run(request: pytest.FixtureRequest, traces: Path, table: ChipTable) -> Run:
    return read_run(traces / "mlperf", request.param, table)


@pytest.fixture(scope="module")
def recorded(run: Run) -> PartyAccount:
    return run.account()


def test_the_interval_of_the_run_window_holds_the_truth(run: Run, recorded: PartyAccount) -> None:
    assert run.steps == 288
    assert recorded.lower_flop == 0
    assert recorded.most_flop == pytest.approx(3.74e21, rel=0.005)
    assert recorded.lower_flop <= TRUTH_FLOP <= recorded.most_flop
    assert recorded.most_flop / TRUTH_FLOP == pytest.approx(2.95, abs=0.01)
    assert recorded.binds is Term.PEAK_TIME
    assert recorded.coverage > 0.99


def test_a_partys_own_wall_power_narrows_nothing_where_only_others_meters_count(run: Run) -> None:
    found = run.account(Trust.METERS)
    assert found.binding_shares[Term.PEAK_TIME] == 1
    assert found.most_flop / TRUTH_FLOP == pytest.approx(2.95, abs=0.01)


def test_wall_energy_of_the_run_window_is_1_495_gigajoules(recorded: PartyAccount) -> None:
    assert recorded.wall_energy_j == pytest.approx(1.495e9, rel=0.005)
    assert recorded.wall_floor_flop == pytest.approx(7.47e21, rel=0.005)


def test_wall_energy_is_the_trapezoid_of_the_raw_log(traces: Path, table: ChipTable) -> None:
    folder = traces / "mlperf"
    with gzip.open(folder / "events" / f"{RUNS[0]}.events.csv.gz", "rt") as file:
        at = {
            row[1]: int(row[0]) for row in csv.reader(file) if row[1] in {"run_start", "run_stop"}
        }
    samples: dict[str, list[tuple[int, float]]] = {}
    with gzip.open(folder / "train" / f"{RUNS[0]}.csv.gz", "rt") as file:
        for time_ms, sensor, watts in list(csv.reader(file))[1:]:
            if sensor.startswith("node") and at["run_start"] <= int(time_ms) <= at["run_stop"]:
                samples.setdefault(sensor, []).append((int(time_ms), float(watts)))
    joules = 0.0
    for found in samples.values():
        times, watt = np.array(sorted(found), dtype=np.float64).T
        joules += float(np.trapezoid(watt, times)) / 1000
    recorded = read_run(folder, RUNS[0], table).account()
    assert recorded.wall_energy_j == pytest.approx(joules, rel=0.005)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_log_of_scaled_watts_scales_energy_and_its_bound_exactly(
    traces: Path, table: ChipTable, tmp_path: Path, factor: float
) -> None:
    folder = traces / "mlperf"
    whole = read_run(folder, RUNS[0], table).account(whole_windows=True)
    scaled = read_run(folder, RUNS[0], table, factor=factor, scratch=tmp_path)
    part = scaled.account(whole_windows=True)
    assert part.wall_energy_j == factor * whole.wall_energy_j
    assert part.wall_floor_flop == factor * whole.wall_floor_flop
    # Of the window that the run's end cuts, slots of whole watts tell what lies inside.
    cut, cut_part = read_run(folder, RUNS[0], table).account(), scaled.account()
    assert cut_part.wall_energy_j == pytest.approx(factor * cut.wall_energy_j, rel=1e-5)


@pytest.mark.parametrize(("factor", "upper"), [(0.25, 1.87e21), (0.1, 0.747e21)])
def test_a_log_of_less_power_is_bound_by_its_energy(
    traces: Path, table: ChipTable, tmp_path: Path, factor: float, upper: float
) -> None:
    scaled = read_run(traces / "mlperf", RUNS[0], table, factor=factor, scratch=tmp_path)
    part = scaled.account()
    assert part.most_flop == pytest.approx(upper, rel=0.01)
    assert part.binds is Term.ENERGY_FLOOR
    assert (part.most_flop < TRUTH_FLOP) == (factor == 0.1)


def test_power_alone_never_breaks_a_cap_on_flop(recorded: PartyAccount) -> None:
    for cap in (0.0, 1e18, 1e21):
        assessment = assess_training_cap(recorded, cap)
        assert assessment.outcome is Outcome.UNRESOLVED
        assert assessment.would_resolve is not None
    assert assess_training_cap(recorded, 4e21).outcome is Outcome.KEPT


def test_the_period_of_a_run_is_that_of_its_steps(run: Run) -> None:
    nodes = run.series()
    line = strongest_line(together(nodes))
    assert line.period_s == pytest.approx(run.step_s, rel=0.03)
    for series in nodes[::8]:
        assert strongest_line(series).period_s == pytest.approx(run.step_s, rel=0.03)


def test_the_nodes_of_one_job_share_a_phase_and_lose_it_when_shifted(run: Run) -> None:
    nodes = run.series()
    period = strongest_line(together(nodes)).period_s
    together_value = phase_coherence(nodes, period).value
    draw = np.random.default_rng(20260101)
    length = run.length_ms / 1000
    apart = [
        phase_coherence(shifted(nodes, draw.uniform(0, length, NODES).tolist()), period).value
        for _ in range(20)
    ]
    assert together_value is not None
    assert together_value > 0.5
    # One draw of 64 unrelated phases exceeds 0.2 in 8 of 100 cases, exp(-64 x 0.2^2): the control is their mean.
    control = np.array(apart, dtype=np.float64)
    assert control.mean() < 0.2
    assert control.max() < 0.4


def test_the_coherence_of_one_node_is_not_defined(run: Run) -> None:
    nodes = run.series()[:1]
    coherence = phase_coherence(nodes, 10.8)
    assert coherence.value is None
    assert coherence.words == "not defined"
    assert math.isfinite(strongest_line(nodes[0]).share)


@cache
def _inference(folder: Path) -> tuple[Row, ...]:
    return tuple(rows(folder))


def test_every_inference_log_has_its_line_printed_and_no_coherence(traces: Path) -> None:
    found = _inference(traces / "mlperf" / "infer")
    assert len(found) == 94
    assert len(list((traces / "mlperf" / "infer").glob("*.gz"))) > len(found)
    for row in found:
        assert row.nodes == 1
        assert row.coherence == "not defined"
        assert row.line is not None
        assert 0 <= row.line.share <= 1


def test_serving_too_shows_strong_lines_in_short_windows_so_that_a_line_proves_nothing(
    traces: Path,
) -> None:
    found = _inference(traces / "mlperf" / "infer")
    assert sum(row.windows[0].strong for row in found) > 0
