"""The workloads as a set, and those that are made of others; none of it needs PyTorch."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import islice

import pytest

from tests.gpu.workloads.counts import Counts
from tests.gpu.workloads.interface import Step
from tests.gpu.workloads.interleaved import InterleavedJob
from tests.gpu.workloads.paced import PacedJob, in_bursts, irregularly, rarely
from tests.gpu.workloads.registry import WORKLOADS, UnknownWorkloadError, find_workload
from tests.gpu.workloads.smoothed import SmoothedJob
from tests.gpu.workloads.training import Training

WANTED = {
    *("training", "training-fp8", "training-recompute", "finetuning", "lora"),
    *("prefill", "decode", "batch", "interactive", "idle", "memory-bound"),
    *(f"product-{precision}" for precision in ("fp32", "tf32", "bf16", "fp8", "int8")),
    *("throttled", "duty-cycled", "interleaved", "covered", "smoothed", "padded", "jittered"),
}


class Countdown:
    """A job whose steps count 1, 2, 3 and so on."""

    def __init__(self, precision: str) -> None:
        self._precision, self._taken = precision, 0
        self.shape: Mapping[str, str] = {"edge": "8"}

    def step(self) -> Step:
        self._taken += 1
        return Step(Counts.of(self._precision, self._taken), 0.25)


def test_every_kind_of_work_is_there() -> None:
    assert set(WORKLOADS) >= WANTED


def test_what_runs_beside_and_what_is_disguised_are_workloads() -> None:
    for name, workload in WORKLOADS.items():
        assert workload.name == name
        assert workload.does
        assert not set(workload.beside) - set(WORKLOADS)
        assert workload.disguises in {"", *WORKLOADS}
        assert "." not in name  # a recording is known by what is before the first


def test_no_line_of_a_log_is_long_on_a_chip_that_does_half_of_what_is_usual() -> None:
    # 400 TFLOP/s in 16 bit; lines must be no longer than a second for the comparison to cut them at windows.
    for workload in WORKLOADS.values():
        if isinstance(workload, Training):
            assert 4e13 < workload.counts("full").total_executed < 4e14, workload.name


def test_an_unknown_workload_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UnknownWorkloadError, match="product-bf16"):
        find_workload("mining")


def test_the_registry_needs_no_pytorch() -> None:
    script = "import sys, tests.gpu.campaign, tests.gpu.running; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_paced_job_rests_after_its_steps_and_counts_alike() -> None:
    job = PacedJob(Countdown("bf16"), iter((0.0, 2.0)))
    assert [job.step() for _ in range(2)] == [
        Step(Counts.of("bf16", 1), 0.25),
        Step(Counts.of("bf16", 2), 2.25),
    ]
    assert job.shape == {"edge": "8"}


def test_paces_are_long_or_in_bursts_or_irregular_and_the_same_each_time() -> None:
    def first(pauses: Iterator[float]) -> list[float]:
        return list(islice(pauses, 6))

    assert first(rarely(1.0)) == [2.5] * 6
    assert first(in_bursts(1.0)) == [0.0, 0.0, 1.0] * 2
    drawn = first(irregularly(1.0))
    assert drawn == first(irregularly(1.0))
    assert len(set(drawn)) == 6
    assert all(0 <= pause <= 0.5 for pause in drawn)


def test_interleaved_work_takes_one_step_of_what_is_hidden_among_many_that_are_shown() -> None:
    job = InterleavedJob(Countdown("bf16"), Countdown("fp8"), 2)
    taken = [next(iter(job.step().counts.executed.items())) for _ in range(5)]
    assert taken == [("bf16", 1), ("fp8", 1), ("fp8", 2), ("bf16", 2), ("fp8", 3)]
    assert job.shape == {"hidden_edge": "8", "shown_edge": "8", "shown_steps": "2"}


def test_filler_is_executed_and_of_no_use() -> None:
    job = SmoothedJob(Countdown("bf16"), Countdown("fp8"), 3)
    assert job.step().counts == Counts({"bf16": 1, "fp8": 6}, {"bf16": 1})
    assert job.step().counts == Counts({"bf16": 2, "fp8": 15}, {"bf16": 2})
