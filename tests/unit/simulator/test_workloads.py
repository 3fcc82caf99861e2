import random
from collections.abc import Iterator
from statistics import correlation, mean

import pytest

from simulator.chip import H100, Activity, Chip
from simulator.errors import WorldError
from simulator.workloads.interface import Draw
from simulator.workloads.registry import WORKLOADS, find_workload


def work(name: str, seconds: int, job: int = 0, chip: int = 0) -> list[Activity]:
    draw = Draw(random.Random(job), random.Random(chip))
    return list(find_workload(name).activity(H100, seconds, draw))


def watts(activities: list[Activity], seed: int = 0) -> Iterator[float]:
    chip = Chip(H100, "GPU-0", random.Random(seed))
    for activity in activities:
        yield chip.second(activity)["power_w"]


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_every_second_is_physically_possible(name: str) -> None:
    done = work(name, 500)
    assert len(done) == 500
    for activity in done:
        for share in (activity.sm, activity.tensor, activity.fp32, activity.dram, activity.busy):
            assert 0 <= share <= 1
        assert H100.idle_mhz <= activity.clock_mhz <= H100.boost_mhz
        assert 0 <= activity.memory_used_bytes <= H100.memory_bytes
        assert 0 <= activity.nvlink_tx <= 4.5e11  # 900 GB/s both ways: NVIDIA H100 datasheet
        assert 0 <= activity.pcie_rx <= 6.4e10  # PCIe 5.0 x16


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_the_same_randomness_gives_the_same_work(name: str) -> None:
    assert work(name, 200, job=3, chip=4) == work(name, 200, job=3, chip=4)


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_every_parameter_names_its_source(name: str) -> None:
    parameters = find_workload(name).parameters
    assert parameters
    for parameter in parameters:
        assert parameter.value
        assert len(parameter.source) > 8


def test_an_idle_chip_uses_no_pipe() -> None:
    for activity in work("idle", 50):
        assert activity.tensor == activity.sm == activity.fp32 == activity.dram == 0
        assert activity.processes == 0
    assert 60 <= mean(watts(work("idle", 300))) <= 75


def test_training_draws_what_published_runs_draw() -> None:
    done = work("training", 1200)
    assert 0.35 <= mean(a.tensor for a in done) <= 0.42
    # MLCommons training_results_v4.0, GPT-3: 6.85 kW at the wall of 8 chips and a host of 2.0 to 2.2 kW.
    assert 540 <= mean(watts(done)) <= 640


def test_decoding_is_bound_by_memory() -> None:
    done = work("inference", 1200)
    assert mean(a.tensor for a in done) < 0.1 < mean(a.dram for a in done)
    assert 137 <= mean(watts(done)) <= 320


def test_chips_of_one_job_step_together_and_those_of_two_do_not() -> None:
    ours = list(watts(work("training", 1200, job=1, chip=1), seed=1))
    also_ours = list(watts(work("training", 1200, job=1, chip=2), seed=2))
    theirs = list(watts(work("training", 1200, job=9, chip=3), seed=3))
    assert correlation(ours, also_ours) > 0.95
    assert abs(correlation(ours, theirs)) < 0.6


def test_an_unknown_workload_is_refused_by_name() -> None:
    with pytest.raises(WorldError, match="mining") as refused:
        find_workload("mining")
    assert refused.value.reason == "UNKNOWN_WORKLOAD"
