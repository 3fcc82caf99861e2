"""Windows: what is summed, what is differenced, what is missing."""

import math
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestor.channels import NODE, Reading
from attestor.window import Carried, Rig, Span, align, integrate, summarise
from statements.features import COLUMN, MISSING_COUNTER, MISSING_SLOT, unpack_rows

SPAN = Span(60_000, 120_000)
RIG = Rig(bytes(32), chips=2, boot_id=bytes(16), expected_per_s=2.0, sample_ms=1_000)


def chip(at: int, row: int = 0, **values: float) -> Reading:
    return Reading(at, row, values)


def slots(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 2}H", data)


def test_features_are_those_of_samples_inside_the_window() -> None:
    readings = [
        chip(59_999, power_w=9_000),
        chip(60_000, power_w=100, tensor_active=0.0, sm_clock_mhz=1000, processes=1),
        chip(90_000, power_w=300, tensor_active=0.5, sm_clock_mhz=2000, processes=3),
        chip(120_000, power_w=9_000),
    ]
    rig = Rig(bytes(32), 1, bytes(16), 1.0, 60_000)
    summary, _ = summarise(SPAN, rig, readings, Carried())
    (row,) = unpack_rows(summary.chip_features, 1)
    assert row[COLUMN["power_mean"]] == 200
    assert row[COLUMN["power_max"]] == 300
    assert row[COLUMN["power_deviation"]] == 100
    assert row[COLUMN["tensor_bin_0"]] == row[COLUMN["tensor_bin_3"]] == 0.5
    assert row[COLUMN["sm_clock_mean"]] == 1500
    assert row[COLUMN["sm_clock_tensor_mean"]] == 2000
    assert row[COLUMN["processes_max"]] == 3
    assert math.isnan(row[COLUMN["hmma_active_mean"]])
    assert math.isnan(row[COLUMN["nvlink_sent"]])
    assert summary.samples_taken == 2
    assert summary.largest_gap_ms == 30_000


def test_a_mean_is_not_bent_by_irregular_sampling() -> None:
    crowded = [chip(60_000 + at, power_w=100) for at in range(0, 1_000, 10)]
    readings = [*crowded, chip(61_000, power_w=300)]
    rig = Rig(bytes(32), 1, bytes(16), 1.0, 1_000)
    summary, _ = summarise(Span(60_000, 62_000), rig, readings, Carried())
    assert unpack_rows(summary.chip_features, 1)[0][COLUMN["power_mean"]] == 200


LIVE = Rig(bytes(32), chips=1, boot_id=bytes(16), expected_per_s=10.0, sample_ms=100)


@pytest.mark.parametrize("channel", ["hmma_active", "utilisation", "sm_clock_mhz"])
def test_a_window_says_no_more_samples_than_each_channel_that_excludes_work_speaks_for(
    channel: str,
) -> None:
    """Half of the window's samples of one channel failed: what it did then is not excluded by the other half."""
    whole = {"power_w": 300.0, "hmma_active": 0.1, "utilisation": 0.1, "sm_clock_mhz": 1_000.0}
    readings = [
        Reading(at, 0, {n: v for n, v in whole.items() if n != channel or at < 90_000})
        for at in range(60_000, 120_000, 100)
    ]
    summary, _ = summarise(SPAN, LIVE, readings, Carried())
    assert summary.samples_expected == 600
    assert 300 <= summary.samples_taken <= 320
    healthy, _ = summarise(SPAN, LIVE, [r._replace(values=whole) for r in readings], Carried())
    assert healthy.samples_taken == 600


@given(late=st.randoms(use_true_random=False))
def test_readings_that_come_a_little_late_cost_no_sample(late: random.Random) -> None:
    often = {"utilisation": 0.1, "sm_clock_mhz": 1_000.0}
    readings = [
        Reading(at + late.randint(0, 9), 0, often | ({} if at % 200 else {"sm_active": 0.1}))
        for at in range(60_000, 120_000, 100)
    ]
    summary, _ = summarise(SPAN, LIVE, readings, Carried())
    assert summary.samples_taken == summary.samples_expected == 600


def test_a_channel_that_excludes_nothing_costs_no_samples() -> None:
    readings = [
        Reading(at, 0, {"utilisation": 0.1, **({"temperature_c": 50.0} if at < 70_000 else {})})
        for at in range(60_000, 120_000, 100)
    ]
    summary, _ = summarise(SPAN, LIVE, readings, Carried())
    assert summary.samples_taken == 600


def features(readings: list[Reading], rig: Rig = LIVE) -> list[float]:
    summary, _ = summarise(SPAN, rig, readings, Carried())
    return unpack_rows(summary.chip_features, rig.chips)[0]


def test_what_is_read_once_a_second_just_before_its_end_counts_alike() -> None:
    readings = [
        chip(60_950 + 1_000 * second, throttle_power=float(second == 59), tensor_active=0.5)
        for second in range(60)
    ]
    row = features(readings)
    assert row[COLUMN["throttled_power"]] == pytest.approx(1 / 60)
    assert row[COLUMN["tensor_active_mean"]] == 0.5


def test_activity_counts_for_the_time_before_it_however_often_it_is_read() -> None:
    often = [chip(at, tensor_active=0.9) for at in range(60_200, 70_001, 200)]
    rarely = [chip(at, tensor_active=0.1) for at in range(71_000, 120_000, 1_000)]
    row = features(often + rarely)
    assert row[COLUMN["tensor_active_mean"]] == pytest.approx((0.9 * 10 + 0.1 * 49) / 59)


def test_reasons_count_for_the_time_after_them_however_often_they_are_read() -> None:
    often = [chip(at, throttle_idle=1.0) for at in range(60_000, 70_000, 100)]
    rarely = [chip(at, throttle_idle=0.0) for at in range(70_000, 120_000, 1_000)]
    assert features(often + rarely)[COLUMN["throttled_idle"]] == pytest.approx(10 / 60)


@given(
    value=st.floats(0, 1, width=32),
    times=st.lists(st.integers(60_000, 119_999), min_size=1, unique=True).map(sorted),
)
def test_the_mean_of_what_stays_the_same_is_that(value: float, times: list[int]) -> None:
    row = features([chip(at, tensor_active=value, throttle_power=value) for at in times])
    for name in ("tensor_active_mean", "throttled_power"):
        assert row[COLUMN[name]] == pytest.approx(value, rel=1e-6)


def test_the_clock_that_activity_is_weighed_with_is_the_mean_of_the_time_that_it_is_about() -> None:
    """A chip that is busy at 1,900 MHz for half a second and idles at 300 MHz for the other half."""
    clocks = [
        chip(at, sm_clock_mhz=1_900 if at % 1_000 < 500 else 300)
        for at in range(60_050, 120_000, 100)
    ]
    share = 1_900 / (1_900 + 300)
    busy = [chip(60_950 + 1_000 * second, tensor_active=share) for second in range(60)]
    readings = sorted(clocks + busy, key=lambda reading: reading.time_ms)
    row = features(readings)
    cycles = row[COLUMN["tensor_active_mean"]] * row[COLUMN["sm_clock_tensor_mean"]]
    assert cycles == pytest.approx(1_900 / 2, rel=1e-6)


def test_activity_in_whose_time_no_clock_was_read_is_weighed_with_none() -> None:
    readings = [
        chip(61_000, tensor_active=1.0, sm_clock_mhz=1_000),
        chip(62_000, tensor_active=1.0),
        chip(63_000, tensor_active=1.0, sm_clock_mhz=1_300),
        chip(64_000, tensor_active=0.0, sm_clock_mhz=2_000),
    ]
    assert features(readings)[COLUMN["sm_clock_tensor_mean"]] == 1_150


def test_counters_at_the_ends_are_the_last_at_or_before_them() -> None:
    readings = [
        chip(60_000, energy_mj=1_000),
        chip(119_000, energy_mj=5_000),
        chip(120_001, energy_mj=9_000),
    ]
    summary, carried = summarise(SPAN, RIG, readings, Carried())
    assert list(summary.energy_start_mj) == [1_000, MISSING_COUNTER]
    assert list(summary.energy_start_at) == [60_000, 0]
    assert list(summary.energy_end_mj) == [5_000, MISSING_COUNTER]
    assert list(summary.energy_end_at) == [119_000, 0]
    after, _ = summarise(Span(120_000, 180_000), RIG, readings[2:], carried)
    assert list(after.energy_start_mj) == [5_000, MISSING_COUNTER]
    assert list(after.energy_end_mj) == [9_000, MISSING_COUNTER]


def test_a_counter_read_earlier_never_replaces_one_read_later() -> None:
    _, carried = summarise(SPAN, RIG, [chip(100_000, energy_mj=7)], Carried())
    late = [chip(90_000, energy_mj=6), chip(100_000, energy_mj=8), chip(50_000, energy_mj=1)]
    after = carried.after(late, 120_000)
    assert after.samples[0, "energy_mj"] == (100_000, 8)


def test_more_samples_than_the_field_holds_are_told_as_the_most_it_holds() -> None:
    rig = Rig(bytes(32), 1, bytes(16), expected_per_s=1e9, sample_ms=1)
    summary, _ = summarise(SPAN, rig, [], Carried())
    assert summary.samples_expected == 2**32 - 1


def test_a_silent_window_still_carries_the_last_counter() -> None:
    _, carried = summarise(SPAN, RIG, [chip(100_000, energy_mj=7)], Carried())
    silent, _ = summarise(Span(120_000, 180_000), RIG, [], carried)
    assert list(silent.energy_end_mj) == [7, MISSING_COUNTER]
    assert list(silent.energy_end_at) == [100_000, 0]
    assert silent.samples_taken == 0
    assert silent.largest_gap_ms == 60_000


def test_without_a_counter_or_power_the_fields_are_empty() -> None:
    summary, _ = summarise(SPAN, RIG, [chip(60_000, temperature_c=40)], Carried(), ["nvml"])
    assert not summary.energy_start_mj
    assert not summary.energy_end_at
    assert not summary.HasField("power")
    assert not summary.HasField("node")
    assert not summary.HasField("sample_root")
    assert list(summary.failed_sources) == ["nvml"]


def test_bytes_moved_are_differences_and_a_reset_is_not_a_number() -> None:
    readings = [
        chip(60_000, 0, nvlink_tx_bytes=100, pcie_rx_bytes=50),
        chip(119_000, 0, nvlink_tx_bytes=400, pcie_rx_bytes=20),
        Reading(60_000, NODE, {"ib_tx_bytes": 5, "cpu_energy_mj": 1_000}),
        Reading(119_000, NODE, {"ib_tx_bytes": 12, "cpu_energy_mj": 3_500}),
    ]
    summary, _ = summarise(SPAN, RIG, readings, Carried())
    row = unpack_rows(summary.chip_features, 2)[0]
    assert row[COLUMN["nvlink_sent"]] == 300
    assert math.isnan(row[COLUMN["pcie_received"]])
    assert summary.node.infiniband_sent_bytes == 7
    assert summary.node.cpu_energy_joules == 2.5
    assert not summary.node.HasField("ethernet_sent_bytes")


def test_slots_are_means_of_their_samples_and_never_interpolated() -> None:
    readings = [
        chip(60_000, power_w=100),
        chip(60_500, power_w=201),
        chip(62_000, power_w=65_534),
        Reading(60_100, NODE, {"wall_w": 5_000.4}),
        Reading(61_100, NODE, {"wall_w": 65_535.0}),
        Reading(62_100, NODE, {"wall_w": 1_000_000.0}),
    ]
    summary, _ = summarise(SPAN, RIG, readings, Carried())
    power = slots(summary.power.chips)
    assert summary.power.slot_ms == 1_000
    assert len(power) == 120
    assert power[:4] == (150, MISSING_SLOT, MISSING_SLOT - 1, MISSING_SLOT)
    assert set(power[60:]) == {MISSING_SLOT}
    # What a slot cannot say is missing there: the most that it can say would be a lie.
    assert slots(summary.power.node)[:4] == (5_000,) + (MISSING_SLOT,) * 3
    assert summary.node.wall_energy_joules > 1_000_000


def test_wall_energy_stands_two_periods_into_a_gap_and_no_further() -> None:
    readings = [Reading(at, NODE, {"wall_w": 1_000}) for at in (70_000, 71_000, 100_000)]
    summary, _ = summarise(SPAN, RIG, readings, Carried())
    assert summary.node.wall_covered_ms == 1_000 + 2_000 + 2_000
    assert summary.node.wall_energy_joules == 5_000


watts = st.lists(
    st.tuples(st.integers(0, 300_000), st.floats(1, 20_000)), min_size=1, unique_by=lambda s: s[0]
).map(sorted)


@given(samples=watts, power=st.sampled_from([-3, -1, 1, 4]))
def test_watts_scaled_by_a_power_of_two_scale_the_joules_exactly(
    samples: list[tuple[int, float]], power: int
) -> None:
    joules, covered = integrate(samples, SPAN, 2_000)
    scaled = [(at, value * 2.0**power) for at, value in samples]
    assert integrate(scaled, SPAN, 2_000) == (joules * 2.0**power, covered)


@given(samples=watts)
def test_windows_neither_lose_nor_double_energy(samples: list[tuple[int, float]]) -> None:
    readings = [Reading(at, NODE, {"wall_w": value}) for at, value in samples]
    carried, joules, covered = Carried(), 0.0, 0
    for start in range(0, 360_000, 60_000):
        due = [r for r in readings if start <= r.time_ms <= start + 60_000]
        summary, carried = summarise(Span(start, start + 60_000), RIG, due, carried)
        joules += summary.node.wall_energy_joules
        covered += summary.node.wall_covered_ms
    whole, all_covered = integrate(samples, Span(0, 360_000), 2_000)
    assert covered == all_covered
    assert math.isclose(joules, whole, rel_tol=1e-12)


@given(instant=st.integers(0, 2**45), length=st.sampled_from([1_000, 60_000, 300_000]))
def test_boundaries_are_multiples_of_the_length(instant: int, length: int) -> None:
    start = align(instant, length)
    assert start % length == 0
    assert start <= instant < start + length
