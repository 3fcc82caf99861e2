"""The accounts' laws: order, monotone evidence, scaling, and sums that do not depend on the split."""

import itertools
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from protos.stillwatch.statement.v1 import summary_pb2
from statements.features import COLUMN, FEATURE_SET, WIDTH, pack_rows
from verifier.accounts.chips import ChipTable, read_chip_table
from verifier.accounts.columns import ColumnsBuilder
from verifier.accounts.errors import AccountsError, ColumnsError
from verifier.accounts.expected import ExpectedNode
from verifier.accounts.interval import Term
from verifier.accounts.obligations import (
    Evidence,
    Outcome,
    assess_coverage_floor,
    assess_training_cap,
)
from verifier.accounts.observations import Impossible
from verifier.accounts.party import PartyAccount, account, account_nodes, sum_up
from verifier.agreement.model import Trust

MODEL = "NVIDIA H100 80GB HBM3"
PEAK = 2 * 540_672 * 1.98e9
MINUTE = 60_000
MISSING = 2**64 - 1


@dataclass(frozen=True)
class Window:
    """One window of a node of one chip."""

    number: int = 0
    features: dict[str, float] = field(default_factory=dict)
    energy_j: tuple[float, float] | None = None
    wall_j: float | None = None
    boot: bytes = b"\x01" * 16
    chips: int = 1
    model: str = MODEL
    taken: int = 60


def summary(window: Window) -> summary_pb2.WorkloadSummary:
    row = [math.nan] * WIDTH
    for name, value in window.features.items():
        row[COLUMN[name]] = value
    found = summary_pb2.WorkloadSummary(
        feature_set=FEATURE_SET,
        samples_expected=60,
        samples_taken=window.taken,
        largest_gap_ms=1000,
        boot_id=window.boot,
        chip_features=pack_rows([row] * window.chips),
    )
    if window.energy_j is not None:
        found.energy_start_mj.extend([round(window.energy_j[0] * 1000)] * window.chips)
        found.energy_end_mj.extend([round(window.energy_j[1] * 1000)] * window.chips)
        found.energy_start_at.extend([window.number * MINUTE + MINUTE] * window.chips)
        found.energy_end_at.extend([window.number * MINUTE + 2 * MINUTE] * window.chips)
    if window.wall_j is not None:
        found.node.wall_energy_joules = window.wall_j
        found.node.wall_covered_ms = MINUTE
    return found


def party(
    table: ChipTable,
    *windows: Window,
    minutes: int = 1,
    chips: int = 1,
    trust: Trust = Trust.COUNTERS,
    nodes: int = 1,
    **changes: object,
) -> PartyAccount:
    builder = ColumnsBuilder()
    for node in range(nodes):
        for window in windows:
            start = (window.number + 1) * MINUTE
            models = [table.row(window.model)] * window.chips
            builder.add(node, start, start + MINUTE, summary(window), models)
    expected = [
        replace(ExpectedNode(n, f"node-{n}", (table.row(MODEL),) * chips, 0), **changes)  # type: ignore[arg-type] # by name
        for n in range(nodes)
    ]
    period = (MINUTE, (minutes + 1) * MINUTE)
    return account(builder.build(), expected, period, table, trust)


BUSY = {
    "tensor_active_mean": 0.4,
    "hmma_active_mean": 0.4,
    "imma_active_mean": 0.0,
    "dmma_active_mean": 0.0,
    "fp16_active_mean": 0.02,
    "fp32_active_mean": 0.05,
    "fp64_active_mean": 0.0,
    "sm_active_mean": 0.9,
    "sm_clock_mean": 1755.0,
    "sm_clock_tensor_mean": 1755.0,
    "utilisation_mean": 1.0,
    "power_mean": 550.0,
}
IDLE = {
    "utilisation_mean": 0.0,
    "sm_active_mean": 0.0,
    "tensor_active_mean": 0.0,
    "power_mean": 72.0,
}


def test_nothing_known_is_peak_times_time(table: ChipTable) -> None:
    found = party(table, Window())
    assert found.lower_flop == 0
    assert found.upper_flop == pytest.approx(PEAK * 60)
    assert found.coverage == 0
    assert found.binds is Term.PEAK_TIME


def test_activity_and_clock_bound_both_sides(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY))
    executed = 0.4 * 540_672 * 1.755e9 * 60
    assert found.lower_flop == pytest.approx(0.375 * executed, rel=1e-5)
    assert found.estimate_flop == pytest.approx(executed, rel=1e-5)
    assert 2 * executed < found.upper_flop < 2.2 * executed
    assert found.binds is Term.PIPES_CLOCK


def test_excluding_tf32_proves_twice_as_much(table: ChipTable) -> None:
    plain = party(table, Window(features=BUSY))
    known = party(table, Window(features=BUSY), tf32_excluded=True)
    assert known.lower_flop == pytest.approx(2 * plain.lower_flop)


def test_without_a_logged_clock_nothing_is_proved(table: ChipTable) -> None:
    blind = {k: v for k, v in BUSY.items() if "clock" not in k}
    assert party(table, Window(features=blind)).lower_flop == 0


def test_under_meters_alone_a_partys_own_counters_count_for_nothing(table: ChipTable) -> None:
    window = Window(features=BUSY, energy_j=(0, 3_000), wall_j=4_000)
    assert party(table, window).upper_flop < 30 * PEAK
    found = party(table, window, trust=Trust.METERS)
    assert found.lower_flop == 0
    assert found.upper_flop == pytest.approx(PEAK * 60)


def test_the_energy_counter_bounds_and_scales(table: ChipTable) -> None:
    one = party(table, Window(energy_j=(5, 5 + 6_000)))
    two = party(table, Window(energy_j=(5, 5 + 12_000)))
    assert one.upper_flop == pytest.approx(6_000 / 0.20e-12)
    assert two.upper_flop == pytest.approx(2 * one.upper_flop)
    assert one.binds is Term.ENERGY_FLOOR


def test_wall_energy_bounds_all_chips_of_a_node_together(table: ChipTable) -> None:
    found = party(table, Window(wall_j=60_000, chips=8), chips=8)
    assert found.upper_flop == pytest.approx(60_000 / 0.20e-12)
    assert found.lower_flop == 0
    assert found.coverage == 1


def test_an_unknown_or_another_model_counts_as_the_most_capable(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY, model="NVIDIA A100-SXM4-80GB"))
    assert found.upper_flop > party(table, Window(features=BUSY)).upper_flop
    assert found.lower_flop == 0
    assert [seen.what for seen in found.observations] == [Impossible.MODEL]


def test_silence_costs_peak_times_time(table: ChipTable) -> None:
    found = party(table, minutes=3)
    assert found.upper_flop == 0
    assert found.unaccounted_flop == pytest.approx(3 * 60 * PEAK)
    assert found.coverage == 0


def test_absolute_counters_price_a_gap_unless_the_machine_was_restarted(table: ChipTable) -> None:
    first = Window(0, energy_j=(1000, 5000))
    last = Window(2, energy_j=(9000, 13_000))
    found = party(table, first, last, minutes=3)
    assert found.unaccounted_flop == pytest.approx(4000 / 0.20e-12)
    reset = party(table, first, replace(last, boot=b"\x02" * 16), minutes=3)
    assert reset.unaccounted_flop == pytest.approx(60 * PEAK)
    assert found.coverage == reset.coverage == pytest.approx(2 / 3)


def test_a_counter_that_falls_within_a_boot_is_seen_and_prices_nothing(table: ChipTable) -> None:
    found = party(table, Window(0, energy_j=(0, 9000)), Window(2, energy_j=(100, 4000)), minutes=3)
    assert found.unaccounted_flop == pytest.approx(60 * PEAK)
    assert Impossible.COUNTER_BACK in [seen.what for seen in found.observations]


def test_samples_not_taken_hide_as_much_as_fits(table: ChipTable) -> None:
    calm = {k: v / 10 if k.endswith("active_mean") else v for k, v in BUSY.items()}
    full, half = party(table, Window(features=calm)), party(table, Window(0, calm, taken=30))
    assert half.upper_flop == pytest.approx(full.upper_flop / 2 + 30 * PEAK)
    assert half.lower_flop == pytest.approx(full.lower_flop / 2)
    assert half.coverage == 0.5


def test_a_chip_is_not_idle_in_samples_that_were_not_taken(table: ChipTable) -> None:
    slept = {"utilisation_mean": 0.0, "power_mean": 72.0}
    assert party(table, Window(0, slept, taken=59)).training_capable.estimate_flop == 0
    doubtful = party(table, Window(0, slept, taken=6)).training_capable
    assert doubtful.estimate_flop > 0
    assert doubtful.upper_flop >= 54 * PEAK
    # Its energy counter speaks of the whole window, whatever was sampled.
    found = party(table, Window(0, slept, energy_j=(0, 60 * 72), taken=6))
    assert found.training_capable.estimate_flop == 0
    assert found.training_capable.upper_flop == pytest.approx(60 * 72 / 0.20e-12)
    assert found.coverage == 1


def test_a_reading_of_nothing_excludes_no_less_than_its_resolution(table: ChipTable) -> None:
    profiled = party(table, Window(features=IDLE))
    assert profiled.upper_flop == pytest.approx(0.001 * 60 * PEAK, rel=0.2)
    assert profiled.upper_flop == profiled.training_capable.upper_flop
    assert profiled.detection_limit_flop > 0
    counted = party(table, Window(features={"utilisation_mean": 0.0}))
    assert counted.upper_flop == pytest.approx(0.01 * 60 * PEAK, rel=0.2)


def test_a_counter_that_is_no_longer_read_covers_nothing(table: ChipTable) -> None:
    said = summary(Window(0, taken=0))
    said.energy_start_mj[:] = said.energy_end_mj[:] = [5_000_000]
    said.energy_start_at[:] = said.energy_end_at[:] = [MINUTE - 30_000]
    builder = ColumnsBuilder()
    builder.add(0, MINUTE, 2 * MINUTE, said, [table.row(MODEL)])
    node = ExpectedNode(0, "node", (table.row(MODEL),), 0)
    found = account(builder.build(), [node], (MINUTE, 2 * MINUTE), table, Trust.COUNTERS)
    assert found.coverage == found.counter_share == 0
    assert found.upper_flop == found.training_capable.upper_flop == pytest.approx(60 * PEAK)


def test_static_power_is_taken_off_no_time_that_energy_does_not_cover(root: Path) -> None:
    text = (root / "policies/reference/chips.toml").read_text()
    table = read_chip_table(text.replace("static_power_w = 0\n", "static_power_w = 50\n").encode())
    window = Window(energy_j=(0, 3000))
    whole = party(table, window).upper_flop
    assert whole == 0
    said = summary(window)
    said.energy_end_at[:] = [MINUTE + MINUTE // 2]
    builder = ColumnsBuilder()
    builder.add(0, MINUTE, 2 * MINUTE, said, [table.row(MODEL)])
    node = ExpectedNode(0, "node", (table.row(MODEL),), 0)
    half = account(builder.build(), [node], (MINUTE, 2 * MINUTE), table, Trust.COUNTERS)
    energy = (3000 - 30 * 50) / 0.20e-12
    assert half.upper_flop == pytest.approx(min(energy + 30 * PEAK, 60 * PEAK))


def test_a_chip_that_a_window_leaves_out_ran_at_its_peak(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY), chips=2)
    assert found.unaccounted_flop == pytest.approx(60 * PEAK)
    assert found.coverage == 0.5
    assert Impossible.CHIP_COUNT in [seen.what for seen in found.observations]


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("hmma_active_mean", 1.5, Impossible.ACTIVITY),
        ("tensor_active_mean", -0.5, Impossible.ACTIVITY),
        ("sm_clock_tensor_mean", 4000.0, Impossible.CLOCK),
        ("power_mean", -5.0, Impossible.POWER),
    ],
)
def test_what_is_impossible_is_said_and_lowers_nothing(
    table: ChipTable, name: str, value: float, what: Impossible
) -> None:
    honest = party(table, Window(features={k: v for k, v in BUSY.items() if k != name}))
    forged = party(table, Window(features=BUSY | {name: value}))
    assert forged.upper_flop == honest.upper_flop
    assert forged.lower_flop == honest.lower_flop
    assert [seen.what for seen in forged.observations] == [what]


@pytest.mark.parametrize("joules", [-1.0, math.inf, 1.7e308, 6.1e7])
def test_wall_energy_that_no_node_can_draw_is_seen_and_stops_no_audit(
    table: ChipTable, joules: float
) -> None:
    found = party(table, Window(0, wall_j=joules), Window(1, wall_j=joules), minutes=2)
    assert found.upper_flop == pytest.approx(120 * PEAK)
    assert found.wall_energy_j == found.coverage == 0
    assert [seen.what for seen in found.observations] == [Impossible.WALL]


def test_activity_beyond_what_energy_allows_is_seen(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY | {"power_mean": 1.0}, energy_j=(0, 60)))
    assert Impossible.PROOF_BEYOND_BOUND in [seen.what for seen in found.observations]
    assert found.lower_flop == found.upper_flop


def test_a_second_window_of_the_same_time_does_not_count(table: ChipTable) -> None:
    once = party(table, Window(features=BUSY))
    twice = party(table, Window(features=BUSY), Window(features=IDLE))
    assert (twice.lower_flop, twice.upper_flop) == (once.lower_flop, once.upper_flop)
    assert [seen.what for seen in twice.observations] == [Impossible.OVERLAP]


def test_idle_is_shown_by_counters_and_power_together(table: ChipTable) -> None:
    slept = {"utilisation_mean": 0.0, "power_mean": 72.0}
    assert party(table, Window(features=slept)).training_capable.estimate_flop == 0
    hot = party(table, Window(features=slept | {"power_mean": 500.0}))
    assert hot.training_capable.estimate_flop > 0
    ran = party(table, Window(features={"utilisation_mean": 0.0}))
    assert ran.training_capable.estimate_flop > 0
    met = party(table, Window(features=slept), trust=Trust.METERS)
    assert met.training_capable.estimate_flop > 0


FRACTIONS = st.floats(0, 1, width=32)
FEATURE_SETS = st.fixed_dictionaries(
    {},
    optional={
        **{name: FRACTIONS for name in BUSY if name.endswith("active_mean")},
        "utilisation_mean": FRACTIONS,
        "sm_clock_mean": st.floats(200, 1980, width=32),
        "sm_clock_tensor_mean": st.floats(200, 1980, width=32),
        "power_mean": st.floats(0, 700, width=32),
    },
)
ENERGIES = st.none() | st.floats(0, 60_000).map(lambda joules: (10.0, 10.0 + joules))
WALLS = st.none() | st.floats(0, 90_000)


@given(FEATURE_SETS, ENERGIES, WALLS, st.sampled_from(Trust))
def test_lower_estimate_and_upper_are_in_order(
    table: ChipTable,
    features: dict[str, float],
    energy: tuple[float, float] | None,
    wall: float | None,
    trust: Trust,
) -> None:
    found = party(table, Window(0, features, energy, wall), trust=trust)
    assert 0 <= found.lower_flop <= found.estimate_flop <= found.upper_flop
    capable = found.training_capable
    assert 0 <= capable.lower_flop <= capable.estimate_flop <= capable.upper_flop
    assert capable.upper_flop <= found.upper_flop
    assert found.upper_flop <= 60 * PEAK * (1 + 1e-12)


ANY = st.floats(width=32) | st.sampled_from([math.inf, -math.inf, math.nan, 0.0, -1.0, 3e38])
COUNTERS = st.sampled_from([0, 1, MISSING - 1, MISSING]) | st.integers(0, MISSING)
TIMES = st.integers(0, 3 * MINUTE) | st.integers(0, 253_402_300_799_999)
UINT32 = st.integers(0, 2**32 - 1)


@given(
    st.fixed_dictionaries(dict.fromkeys(COLUMN, ANY)),
    st.tuples(COUNTERS, COUNTERS, TIMES, TIMES),
    st.floats() | st.none(),
    st.tuples(UINT32, UINT32, UINT32),
)
def test_no_values_whatever_break_the_order_or_the_bound_of_time(
    table: ChipTable,
    features: dict[str, float],
    readings: tuple[int, int, int, int],
    wall: float | None,
    counts: tuple[int, int, int],
) -> None:
    said = summary(Window(0, features))
    said.energy_start_mj[:], said.energy_end_mj[:] = [readings[0]], [readings[1]]
    said.energy_start_at[:], said.energy_end_at[:] = [readings[2]], [readings[3]]
    said.samples_expected, said.samples_taken, said.node.wall_covered_ms = counts
    if wall is not None:
        said.node.wall_energy_joules = wall
    said.power.slot_ms, said.power.node = 20_000, b"\x10\x00\xff\xff\x00\x00"
    builder = ColumnsBuilder()
    model = table.row(MODEL)
    builder.add(0, MINUTE, 2 * MINUTE, said, [model])
    builder.add(0, 3 * MINUTE, 4 * MINUTE, said, [model])
    columns, nodes = builder.build(), [ExpectedNode(0, "node", (model,), 0)]
    for period, trust in itertools.product(
        ((MINUTE, 4 * MINUTE), (MINUTE + 7, 3 * MINUTE + 1)), Trust
    ):
        found = account(columns, nodes, period, table, trust)
        assert 0 <= found.lower_flop <= found.estimate_flop <= found.upper_flop
        assert 0 <= found.training_capable.lower_flop <= found.training_capable.upper_flop
        assert 0 <= found.coverage <= 1
        seconds = (period[1] - period[0]) / 1000
        assert found.most_flop <= seconds * PEAK * (1 + 1e-12)


@given(FEATURE_SETS, ENERGIES, WALLS, st.data())
def test_missing_evidence_never_lowers_the_upper_bound(
    table: ChipTable,
    features: dict[str, float],
    energy: tuple[float, float] | None,
    wall: float | None,
    data: st.DataObject,
) -> None:
    full = party(table, Window(0, features, energy, wall)).most_flop
    kept = {k: v for k, v in features.items() if data.draw(st.booleans(), label=k)}
    less = Window(
        0,
        kept,
        energy if data.draw(st.booleans(), label="energy") else None,
        wall if data.draw(st.booleans(), label="wall") else None,
    )
    assert party(table, less).most_flop >= full * (1 - 1e-12)
    assert party(table).most_flop >= full * (1 - 1e-12)


@given(FEATURE_SETS, ENERGIES, WALLS)
def test_energy_added_never_widens(
    table: ChipTable,
    features: dict[str, float],
    energy: tuple[float, float] | None,
    wall: float | None,
) -> None:
    before = party(table, Window(0, features))
    after = party(table, Window(0, features, energy, wall))
    assert after.upper_flop <= before.upper_flop * (1 + 1e-12)


@settings(max_examples=20)
@given(st.lists(FEATURE_SETS, min_size=1, max_size=5), st.integers(1, 4))
def test_any_split_over_workers_gives_the_same_account(
    table: ChipTable, features: list[dict[str, float]], workers: int
) -> None:
    period = (MINUTE, 8 * MINUTE)
    model = table.row(MODEL)
    nodes = [ExpectedNode(n, f"node-{n}", (model,), 0) for n in range(len(features))]

    def accounts(some: list[ExpectedNode]) -> PartyAccount:
        builder = ColumnsBuilder()
        for node in some:
            for number in range(5):
                window = Window(number, features[node.index])
                start = (number + 1) * MINUTE
                builder.add(node.index, start, start + MINUTE, summary(window), [model])
        found = account_nodes(builder.build(), some, period, table, Trust.COUNTERS)
        return sum_up(found, period, Trust.COUNTERS)

    whole = accounts(nodes)
    parts = [accounts(nodes[worker::workers]) for worker in range(workers)]
    joined = sum_up([n for part in reversed(parts) for n in part.nodes], period, Trust.COUNTERS)
    assert replace(joined, observations=(), nodes=()) == replace(whole, observations=(), nodes=())


@given(st.integers(0, MINUTE), ENERGIES, WALLS, FEATURE_SETS)
def test_a_cut_through_a_window_loses_nothing(
    table: ChipTable,
    cut: int,
    energy: tuple[float, float] | None,
    wall: float | None,
    features: dict[str, float],
) -> None:
    model = table.row(MODEL)
    builder = ColumnsBuilder()
    window = Window(0, features, energy, wall)
    builder.add(0, MINUTE, 2 * MINUTE, summary(window), [model])
    columns, node = builder.build(), [ExpectedNode(0, "node", (model,), 0)]
    edges = [MINUTE, MINUTE + cut, 2 * MINUTE]
    whole = account(columns, node, (MINUTE, 2 * MINUTE), table, Trust.COUNTERS)
    parts = [
        account(columns, node, (a, b), table, Trust.COUNTERS)
        for a, b in itertools.pairwise(edges)
        if a < b
    ]
    assert math.fsum(p.upper_flop for p in parts) >= whole.upper_flop * (1 - 1e-9)
    assert math.fsum(p.lower_flop for p in parts) <= whole.lower_flop * (1 + 1e-9)


def walled(table: ChipTable, watts: list[int], cut_ms: int) -> list[PartyAccount]:
    """A minute of wall power in slots of 10 s, before and after a cut through it."""
    known = [watt for watt in watts if watt != 65_535]
    said = summary(Window(wall_j=10.0 * sum(known) * 6 / len(known)))
    said.power.slot_ms = 10_000
    said.power.node = b"".join(watt.to_bytes(2, "little") for watt in watts)
    builder = ColumnsBuilder()
    builder.add(0, MINUTE, 2 * MINUTE, said, [table.row(MODEL)])
    columns, node = builder.build(), [ExpectedNode(0, "node", (table.row(MODEL),), 0)]
    edges = [(MINUTE, MINUTE + cut_ms), (MINUTE + cut_ms, 2 * MINUTE)]
    return [account(columns, node, edge, table, Trust.COUNTERS) for edge in edges]


def test_wall_energy_is_cut_by_its_slots(table: ChipTable) -> None:
    before, after = walled(table, [60, 60, 60, 6, 6, 6], 30_000)
    assert before.wall_energy_j == pytest.approx(1800)
    assert after.wall_energy_j == pytest.approx(180)
    # Half a watt a slot is what rounding may have taken away.
    assert before.upper_flop == pytest.approx((1800 + 15) / 0.20e-12)
    assert after.upper_flop == pytest.approx((180 + 15) / 0.20e-12)


def test_a_hole_at_the_cut_may_have_drawn_what_its_larger_neighbour_did(table: ChipTable) -> None:
    _, after = walled(table, [60, 60, 65_535, 65_535, 6, 6], 30_000)
    assert after.upper_flop == pytest.approx((600 + 2 * 60 + 15) / 0.20e-12)


@given(st.lists(st.just(65_535) | st.integers(0, 600), min_size=6, max_size=6), st.integers(1, 59))
def test_a_cut_through_wall_energy_loses_none_of_it(
    table: ChipTable, watts: list[int], cut_s: int
) -> None:
    known = [watt for watt in watts if watt != 65_535]
    assume(known)
    whole = 60.0 * sum(known) / len(known) / 0.20e-12
    parts = walled(table, watts, cut_s * 1000)
    lost = [part for part in parts if part.binds is Term.PEAK_TIME]
    assert lost or math.fsum(part.upper_flop for part in parts) >= whole * (1 - 1e-9)


def test_a_cap_is_kept_violated_or_open(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY))
    assert assess_training_cap(found, found.upper_flop * 1.01).outcome is Outcome.KEPT
    assert assess_training_cap(found, found.lower_flop * 0.99).outcome is Outcome.VIOLATED
    assert assess_training_cap(found, found.estimate_flop).outcome is Outcome.UNRESOLVED


def test_an_open_cap_names_the_cheapest_evidence(table: ChipTable) -> None:
    quiet = party(table, Window(0, IDLE), minutes=2)
    assessment = assess_training_cap(quiet, 1e15)
    assert assessment.outcome is Outcome.UNRESOLVED
    assert assessment.would_resolve is not None
    assert assessment.would_resolve.evidence is Evidence.MISSING_WINDOWS
    assert assessment.would_resolve.settles


def test_what_a_party_of_which_nothing_was_seen_would_show_is_not_predicted(
    table: ChipTable,
) -> None:
    silent = party(table, minutes=2)
    remedy = assess_training_cap(silent, 1e15).would_resolve
    assert remedy is not None
    assert remedy.evidence is Evidence.MISSING_WINDOWS
    assert not remedy.settles
    assert remedy.upper == silent.most_flop


def test_missing_windows_are_taken_to_be_like_those_that_were_seen(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY), minutes=2)
    remedy = assess_training_cap(found, 1.5 * found.upper_flop).would_resolve
    assert remedy is not None
    assert not (remedy.evidence is Evidence.MISSING_WINDOWS and remedy.settles)
    broken = assess_training_cap(found, 1.5 * found.lower_flop).would_resolve
    assert broken is not None
    assert broken.evidence is Evidence.MISSING_WINDOWS
    assert broken.settles
    assert broken.lower == pytest.approx(2 * found.lower_flop)


def test_under_meters_alone_a_meter_that_others_hold_is_what_is_missing(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY), trust=Trust.METERS)
    assessment = assess_training_cap(found, 1e15)
    assert assessment.outcome is Outcome.UNRESOLVED
    assert assessment.would_resolve is not None
    assert assessment.would_resolve.evidence is Evidence.INDEPENDENT_METER


def test_chips_of_a_model_that_the_table_does_not_know_are_counted(table: ChipTable) -> None:
    window = Window(features=BUSY, model="NVIDIA H20")
    unknown = party(table, window, models=(table.row("NVIDIA H20"),))
    assert unknown.unknown_chips == 1
    assert party(table, Window(features=BUSY)).unknown_chips == 0
    assert unknown.lower_flop == 0


def test_power_alone_never_violates_a_cap(table: ChipTable) -> None:
    found = party(table, Window(wall_j=600_000, chips=8), chips=8)
    assert assess_training_cap(found, 0.0).outcome is Outcome.UNRESOLVED


def test_a_missed_floor_is_open_until_its_cure_ends(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY), minutes=2)
    end = found.period[1]
    assert assess_coverage_floor(found, 0.5, 1000, end).outcome is Outcome.KEPT
    assert assess_coverage_floor(found, 0.9, 1000, end + 999).outcome is Outcome.UNRESOLVED
    assert assess_coverage_floor(found, 0.9, 1000, end + 1000).outcome is Outcome.VIOLATED


def test_a_window_of_a_node_that_nobody_expects_is_refused(table: ChipTable) -> None:
    builder = ColumnsBuilder()
    builder.add(7, MINUTE, 2 * MINUTE, summary(Window()), [table.row(MODEL)])
    with pytest.raises(AccountsError) as caught:
        account(builder.build(), [], (0, MINUTE), table, Trust.COUNTERS)
    assert caught.value.reason == "UNKNOWN_NODE"


@pytest.mark.parametrize("boot", [b"", b"\x01" * 15])
def test_a_summary_that_does_not_name_its_boot_is_refused(table: ChipTable, boot: bytes) -> None:
    with pytest.raises(ColumnsError) as caught:
        ColumnsBuilder().add(0, 0, MINUTE, summary(Window(boot=boot)), [table.row(MODEL)])
    assert caught.value.reason == "BOOT_ID"


@pytest.mark.parametrize("chips", [0, 2])
def test_a_summary_of_another_shape_is_refused(table: ChipTable, chips: int) -> None:
    with pytest.raises(ColumnsError):
        ColumnsBuilder().add(0, 0, MINUTE, summary(Window()), [table.row(MODEL)] * chips)
