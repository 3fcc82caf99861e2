"""The accounts' laws: order, monotone evidence, scaling, and sums that do not depend on the split."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from statements.features import COLUMN
from tests.unit.verifier.accounts.told import (
    BUSY,
    MINUTE,
    MISSING,
    MODEL,
    PEAK,
    Window,
    party,
    summary,
)
from verifier.accounts.chips import ChipTable
from verifier.accounts.columns import ColumnsBuilder
from verifier.accounts.expected import ExpectedNode
from verifier.accounts.interval import Term
from verifier.accounts.party import PartyAccount, account, account_nodes, sum_up
from verifier.agreement.model import Trust

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
