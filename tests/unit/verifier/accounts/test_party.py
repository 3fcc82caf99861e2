"""What evidence bounds, proves and covers, one kind at a time."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.verifier.accounts.told import (
    BUSY,
    IDLE,
    MINUTE,
    MODEL,
    PEAK,
    Window,
    party,
    summary,
)
from verifier.accounts.chips import ChipTable, read_chip_table
from verifier.accounts.columns import ColumnsBuilder
from verifier.accounts.errors import AccountsError, ColumnsError
from verifier.accounts.expected import ExpectedNode
from verifier.accounts.interval import Term
from verifier.accounts.observations import Impossible
from verifier.accounts.party import account
from verifier.agreement.model import Trust


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
