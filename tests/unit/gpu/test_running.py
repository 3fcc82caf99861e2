"""Running one workload."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.gpu.flop_log import Work, read_flop_log
from tests.gpu.lines import Lines
from tests.gpu.running import UNAVAILABLE, chip_of, main, play
from tests.gpu.workloads import registry
from tests.gpu.workloads.counts import NOTHING, Counts
from tests.gpu.workloads.interface import Job, Step, UnavailableError


@dataclass(slots=True)
class ManualClock:
    """Moves when it is told to, or slept on."""

    at_ms: float = 1_000_000.0

    def now_ms(self) -> float:
        return self.at_ms

    def sleep(self, seconds: float) -> None:
        self.at_ms += seconds * 1000


@dataclass(slots=True)
class Fixed:
    """Steps of one count and pause."""

    each: Step
    shape: Mapping[str, str] = field(default_factory=lambda: {"n": "1"})

    def step(self) -> Step:
        return self.each


@dataclass(frozen=True, slots=True)
class Stub:
    """A workload for the registry."""

    name: str = "stub"
    does: str = "nothing much"
    beside: tuple[str, ...] = ()
    disguises: str = ""
    missing: str = ""

    def prepare(self, device: str, size: str) -> Job:
        if self.missing:
            raise UnavailableError(self.missing)
        return Fixed(Step(Counts.of("bf16", 10), pause_s=0.01))


def played(each: Step, seconds: float, kernels_ms: float = 40.0) -> list[Work]:
    """Play a job whose kernels take so long, as seen by whoever waits for them."""
    written: list[Work] = []
    clock = ManualClock()

    def wait() -> None:
        clock.at_ms += kernels_ms

    play(Fixed(each), Lines(written.append), clock, wait, seconds)
    return written


def test_a_steps_time_is_that_until_its_kernels_are_done() -> None:
    works = played(Step(Counts.of("bf16", 10)), seconds=0.24)
    assert [(w.begin_ms, w.end_ms, w.executed_flop) for w in works] == [
        (1_000_000, 1_000_120, 30),
        (1_000_120, 1_000_240, 30),
    ]


def test_every_step_is_written_also_the_last_and_the_first() -> None:
    works = played(Step(Counts.of("bf16", 10)), seconds=0.3, kernels_ms=7)
    assert sum(work.executed_flop for work in works) == 10 * 43  # 43 steps of 7 ms begin within 300
    assert works[-1].end_ms == 1_000_301


def test_a_pause_ends_with_the_run() -> None:
    works = played(Step(Counts.of("bf16", 10), pause_s=30), seconds=0.5)
    assert [(w.end_ms - w.begin_ms, w.executed_flop) for w in works] == [(40, 10), (460, 0)]


def test_of_a_workload_that_does_nothing_the_log_says_so_throughout() -> None:
    works = played(Step(NOTHING, pause_s=0.5), seconds=2, kernels_ms=0)
    assert [(w.begin_ms, w.executed_flop) for w in works] == [
        (1_000_000 + 500 * number, 0) for number in range(4)
    ]


def run(
    monkeypatch: pytest.MonkeyPatch, stub: Stub, *words: str, log: Path | None, **env: str
) -> tuple[int, str]:
    monkeypatch.setattr(registry, "WORKLOADS", {"stub": stub})
    monkeypatch.delenv("STILLWATCH_FLOP_LOG", raising=False)
    if log is not None:
        env["STILLWATCH_FLOP_LOG"] = str(log)
    found = CliRunner().invoke(main, ["stub", "--device", "cpu", *words], env=env)
    return found.exit_code, found.output


def test_the_log_is_where_the_recorder_says_and_names_what_it_follows_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "x.flop.gz"
    status, said = run(
        monkeypatch,
        Stub(),
        *("--seconds", "0.1", "--size", "tiny", "--label", "power=as found"),
        log=log,
        STILLWATCH_RECORDING_STARTED_MS="17",
    )
    assert (status, "stub" in said) == (0, True)
    header, works = read_flop_log(log)
    assert (header.workload, header.shape) == ("stub", {"n": "1", "device": "cpu"})
    assert header.labels == {
        "power": "as found",
        "size": "tiny",
        "recording_started_ms": "17",
    }
    assert sum(work.executed_flop for work in works) > 0


@pytest.mark.parametrize(
    ("device", "chip"), [("cpu", 0), ("cuda", 0), ("cuda:0", 0), ("cuda:3", 3)]
)
def test_work_is_of_the_chip_that_it_ran_on(device: str, chip: int) -> None:
    assert chip_of(device) == chip


def test_what_the_machine_cannot_do_ends_with_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status, said = run(monkeypatch, Stub(missing="no FP8 here"), log=tmp_path / "x")
    assert (status, said.strip()) == (UNAVAILABLE, "stub: no FP8 here")
    assert not (tmp_path / "x").exists()


def test_no_workload_runs_whose_work_nobody_writes_down(monkeypatch: pytest.MonkeyPatch) -> None:
    status, said = run(monkeypatch, Stub(), log=None)
    assert (status, "--flop-log" in said) == (2, True)
