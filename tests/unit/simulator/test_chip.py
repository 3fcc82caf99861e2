import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.chip import H100, Activity, Chip, demanded_w, settled_clock_mhz

shares = st.floats(0, 1)
activities = st.builds(
    Activity,
    sm=shares,
    hmma=shares,
    dram=shares,
    busy=shares,
    clock_mhz=st.floats(345, 1980),
    nvlink_tx=st.floats(0, 4.5e11),
)


@given(st.lists(activities, min_size=1, max_size=30), st.integers(0, 2**32))
def test_the_energy_counter_is_the_sum_of_power(done: list[Activity], seed: int) -> None:
    chip = Chip(H100, "GPU-0", random.Random(seed))
    before = chip.second(Activity())["energy_mj"]
    readings = [chip.second(activity) for activity in done]
    drawn = sum(round(reading["power_w"] * 1000) for reading in readings)
    assert readings[-1]["energy_mj"] - before == drawn


@given(activities)
def test_a_chip_keeps_within_its_power_limit_by_lowering_its_clock(activity: Activity) -> None:
    clock = settled_clock_mhz(H100, activity)
    assert H100.idle_mhz <= clock <= max(activity.clock_mhz, H100.idle_mhz)
    assert demanded_w(H100, activity, clock) <= H100.limit_w + 1e-6
    if demanded_w(H100, activity, activity.clock_mhz) <= H100.limit_w:
        assert clock == activity.clock_mhz


@given(st.lists(activities, min_size=2, max_size=20))
def test_counters_never_go_back_and_readings_stay_in_range(done: list[Activity]) -> None:
    chip = Chip(H100, "GPU-0", random.Random(0))
    readings = [chip.second(activity) for activity in done]
    for before, after in pairwise(readings):
        assert after["energy_mj"] > before["energy_mj"]
        assert after["nvlink_tx_bytes"] >= before["nvlink_tx_bytes"]
    for reading in readings:
        assert 0 < reading["power_w"] <= H100.limit_w
        assert 0 <= reading["sm_active"] <= 1


def test_a_chip_that_is_throttled_says_so() -> None:
    flat_out = Activity(sm=1, hmma=0.95, dram=0.5, busy=1, clock_mhz=1980)
    reading = Chip(H100, "GPU-0", random.Random(1)).second(flat_out)
    assert reading["throttle_power"] == 1
    assert reading["sm_clock_mhz"] < 1980
    assert reading["power_w"] == pytest.approx(H100.limit_w, abs=5)


def test_temperature_follows_power_after_a_while() -> None:
    chip = Chip(H100, "GPU-0", random.Random(1))
    work = Activity(sm=0.9, hmma=0.45, dram=0.4, busy=1, clock_mhz=1755)
    cold = chip.second(Activity())["temperature_c"]
    first = chip.second(work)["temperature_c"]
    for _ in range(200):
        settled = chip.second(work)["temperature_c"]
    assert cold <= first < settled < 80
