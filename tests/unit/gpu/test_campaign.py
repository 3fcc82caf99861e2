"""The campaign: its plan, its faults, and what it leaves."""

import json
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.gpu import campaign
from tests.gpu.campaign import Campaign, main
from tests.gpu.plan import BUSY_CALLS_S, CALLS_S, FIXED_S, Run, plan
from tests.gpu.running import COMMAND
from tests.gpu.runs import Outcome, RunError

NAMES = ("idle", "training", "decode", "lora")


@dataclass(slots=True)
class Machine:
    """Stands in for processes: each run takes what it was planned to, and some fail."""

    now_s: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)
    out: Path = Path()
    seen: list[list[str]] = field(default_factory=list)

    def record(self, run: Run, folder: Path, *_: object, **__: object) -> Outcome:
        self.now_s += self.took_s.get(run.name, run.wall_s)
        self.seen.append(sorted(path.name for path in self.out.iterdir()))
        if run.name in self.faults:
            return Outcome(run.name, "failed", self.faults[run.name])
        file = folder / f"{run.name}.csv.gz"
        file.write_bytes(run.name.encode())
        return Outcome(run.name, "recorded", files=(file,))

    def run_process(self, words: list[str], environment: object, most_s: float, said: Path) -> None:
        command = words[2] + ("-beside" if "--beside" in words else "")
        self.now_s += {"calls": CALLS_S, "calls-beside": BUSY_CALLS_S}.get(command, 0.0)
        if command in self.faults:
            raise RunError(self.faults[command])
        target = Path(words[words.index("--json") + 1])
        target.write_text(json.dumps({"format": command}))


def carried_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: Machine, budget_s: float = 540
) -> dict[str, object]:
    monkeypatch.setattr(campaign, "record", machine.record)
    monkeypatch.setattr(campaign, "run_process", machine.run_process)
    out, work = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    work.mkdir()
    machine.out = out
    planned = plan(NAMES, budget_s=budget_s)
    Campaign(planned, out, work, {}, False, "cuda:0", "full", lambda: machine.now_s).carry_out(17)
    found: dict[str, object] = json.loads((out / "results.json").read_text())
    return found


def outcomes(found: dict[str, object]) -> dict[str, str]:
    runs = found["runs"]
    assert isinstance(runs, list)
    return {run["name"]: run["outcome"] for run in runs}


def test_a_campaign_leaves_results_and_archives_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = carried_out(monkeypatch, tmp_path, Machine())
    assert outcomes(found) == dict.fromkeys(NAMES, "recorded")
    assert (found["finished"], found["telemetry"], found["began_ms"]) == (True, "recorded", 17)
    measured = [found[name] for name in ("calls", "busy_calls", "overhead")]
    assert measured == [{"format": name} for name in ("calls", "calls-beside", "overhead")]
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["recordings-1.tar", "results.json"]
    with tarfile.open(tmp_path / "out" / "recordings-1.tar") as archive:
        assert archive.getnames() == [f"{name}.csv.gz" for name in NAMES]


def test_the_fault_of_one_run_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    faults = {"training": "out of memory", "calls": "no driver", "overhead": "no GPU"}
    found = carried_out(monkeypatch, tmp_path, Machine(faults=faults))
    assert outcomes(found) == {**dict.fromkeys(NAMES, "recorded"), "training": "failed"}
    assert "out of memory" in json.dumps(found["runs"])
    assert found["calls"] == {"fault": "no driver", "table": None}
    assert found["overhead"] == {"fault": "no GPU", "table": None}


def test_a_campaign_that_is_cut_short_has_left_what_it_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine()
    carried_out(monkeypatch, tmp_path, machine)
    assert machine.seen[0] == ["results.json"]
    assert machine.seen[1:] == [["recordings-1.tar", "results.json"]] * (len(NAMES) - 1)


def test_a_run_for_which_no_time_is_left_is_skipped_and_said_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    budget_s = FIXED_S + 80
    found = carried_out(monkeypatch, tmp_path, Machine(took_s={"idle": 55}), budget_s)
    assert outcomes(found) == {
        "idle": "recorded",
        "training": "recorded",
        "decode": "skipped",
        "lora": "skipped",
    }
    assert "were left" in json.dumps(found["runs"])
    assert found["overhead"] == {"format": "overhead"}


def invoke(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(main, words)
    return found.exit_code, found.output


def test_a_dry_run_prints_the_plan_and_does_nothing(tmp_path: Path) -> None:
    status, said = invoke("--out", str(tmp_path / "out"), "--dry-run")
    assert status == 0
    assert "28 runs: " in said
    assert " s of 540 s, at most " in said
    assert not list(tmp_path.iterdir())


def test_what_is_asked_wrongly_is_refused(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert "no workload 'mining'" in invoke("--out", out, "--only", "mining")[1]
    assert "too short" in invoke("--out", out, "--budget", "30")[1]
    assert invoke()[0] == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    status, said = invoke("--out", str(tmp_path / "full"))
    assert (status, "is not empty" in said) == (1, True)


def test_a_campaign_that_is_told_to_end_ends_what_it_started(root: Path, tmp_path: Path) -> None:
    words = [*COMMAND, "campaign", "--fake", "--out", str(tmp_path / "out")]
    hangs = {**os.environ, "FAKE_NVML_FAIL": "nvmlDeviceGetUtilizationRates:-1"}
    with subprocess.Popen(words, cwd=root, env=hangs, stdout=subprocess.DEVNULL) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            child = until(lambda: asks_a_driver(children.read_text().split()))
            process.terminate()
            assert process.wait(20) == 128 + signal.SIGTERM
        finally:
            process.kill()
    assert not Path(f"/proc/{child}").exists()


def asks_a_driver(pids: list[str]) -> str:
    """Return the process that measures calls, or nothing."""
    for pid in pids:
        with suppress(OSError):  # a compiler's, that ended meanwhile
            if b"calls.json" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return ""


def until(found: Callable[[], str]) -> str:
    """Return the first answer that is one; fail when there is none in time."""
    for _ in range(300):
        if answer := found():
            return answer
        time.sleep(0.1)
    pytest.fail("it did not come to that")
