"""What a recorder costs what runs beside it."""

import os
from pathlib import Path

import pytest

from tests.gpu.overhead import Block, steps_for, summary
from tests.gpu.recorder import usage
from tests.gpu.workloads.interface import Step


def test_steps_with_a_recorder_are_laid_beside_those_without() -> None:
    blocks = [
        Block(False, (10.0, 10.0, 30.0)),
        Block(True, (11.0, 11.0), cpu_s=0.03, seconds=3.0, most_bytes=5),
        Block(False, (10.0,)),
        Block(True, (11.0,), cpu_s=0.01, seconds=1.0, most_bytes=7),
    ]
    found = summary(blocks)
    assert (found["steps_without"], found["steps_with"]) == (4, 3)
    assert found["ratio"] == pytest.approx(1.1)
    assert found["recorder_cores"] == pytest.approx(0.01)
    assert found["recorder_most_bytes"] == 7


def test_a_step_is_timed_until_its_kernels_are_done() -> None:
    at_s = 0.0

    class Job:
        shape: dict[str, str] = {}  # noqa: RUF012

        def step(self) -> Step:
            return Step()

    def wait() -> None:
        nonlocal at_s
        at_s += 0.5

    assert steps_for(2.0, Job(), wait, lambda: at_s) == (500.0,) * 4


def test_a_process_is_known_by_what_it_used_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    ticks = os.sysconf("SC_CLK_TCK")
    fields = " ".join(["S", *map(str, range(4, 14)), str(3 * ticks), str(ticks), *["0"] * 30])
    (folder / "stat").write_text(f"7 (a) b (c) {fields}\n")
    (folder / "status").write_text("Name:\ta\nVmHWM:\t   2048 kB\n")
    found = usage(7, tmp_path)
    assert (found.cpu_s, found.most_bytes) == (4.0, 2048 * 1024)
    for thread, used_ns in (("7", 1_500_000_000), ("9", 250_000_000)):
        (folder / "task" / thread).mkdir(parents=True)
        (folder / "task" / thread / "schedstat").write_text(f"{used_ns} 5 6\n")
    assert usage(7, tmp_path).cpu_s == 1.75
    with pytest.raises(OSError, match="8"):
        usage(8, tmp_path)


def test_this_process_used_something() -> None:
    found = usage(os.getpid())
    assert 0 < found.cpu_s < 100_000
    assert 1 << 20 < found.most_bytes < 1 << 40
