"""One recording: what goes wrong is an outcome, and nothing goes on after it."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from attestor.channels import Reading
from attestor.recording import RecordedChip, RecordingHeader, RecordingWriter
from tests.gpu import runs
from tests.gpu.compare import find_runs
from tests.gpu.flop_log import FlopHeader, FlopLogWriter, Work
from tests.gpu.plan import Run
from tests.gpu.recorder import ORIGIN, record_words
from tests.gpu.runs import Outcome, RunError, record, run_process

RUN = Run("idle", "idle", "tiny", 1.0, {"power": "as found"})


def made(folder: Path) -> None:
    """Write what a recorder and a workload would have written."""
    header = RecordingHeader("simulated", "here", "CC0-1.0", (RecordedChip("GPU-a", "x"),), "", 100)
    with RecordingWriter(folder / "idle.csv.gz", header, ["power_w"]) as recording:
        recording.write(Reading(0, 0, {"power_w": 70.0}))
    with FlopLogWriter(folder / "idle.flop.gz", FlopHeader("idle", {})) as log:
        log.write(Work(1_000, 2_000, 0, "bf16", 30, 20))
        log.write(Work(2_000, 3_000, 0, "fp32", 0, 0))


def recorded(
    monkeypatch: pytest.MonkeyPatch, folder: Path, script: str, *, most_s: float = 20.0
) -> Outcome:
    """Record with a script in the recorder's place, and one that cannot convert."""

    def words(
        out: Path, labels: Mapping[str, str], command: Sequence[str], *, fake: bool
    ) -> list[str]:
        return [sys.executable, "-c", script]

    monkeypatch.setattr(runs, "record_words", words)
    monkeypatch.setattr(
        runs, "convert_words", lambda source, target: [sys.executable, "-c", "raise SystemExit(5)"]
    )
    return record(
        RUN,
        folder,
        dict(os.environ),
        device="cpu",
        fake=False,
        most_s=most_s,
        now_s=time.monotonic,
    )


def test_the_recorder_is_called_with_labels_and_the_command_after_two_dashes(
    tmp_path: Path,
) -> None:
    words = record_words(tmp_path / "x.csv.gz", {"power": "as found"}, ["true", "--x"])
    assert words[1:] == [
        *("-m", "stillwatch", "agent", "record", str(tmp_path / "x.csv.gz")),
        *("--period", "100 ms", "--origin", ORIGIN, "--licence", "CC-BY-4.0", "--anonymise"),
        *("--label", "power=as found", "--", "true", "--x"),
    ]


def test_a_recording_is_read_back_and_its_operations_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made(tmp_path)
    found = recorded(monkeypatch, tmp_path, "pass")
    assert (found.outcome, found.executed, found.logged_s, found.readings) == (
        "recorded",
        {"bf16": 30},
        2.0,
        1,
    )
    assert found.flop_per_s == 15
    assert [path.name for path in found.files] == ["idle.csv.gz", "idle.flop.gz"]
    assert "not written as Parquet" in found.why


def test_what_a_machine_cannot_do_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = "import sys; sys.stderr.write('no FP8 here'); sys.exit(3)"
    found = recorded(monkeypatch, tmp_path, script)
    assert (found.outcome, "no FP8 here" in found.why) == ("unavailable", True)


def test_a_run_that_fails_says_its_last_words_and_keeps_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made(tmp_path)
    found = recorded(monkeypatch, tmp_path, "raise MemoryError('out of memory')")
    assert (found.outcome, "out of memory" in found.why) == ("failed", True)
    assert [path.name for path in found.files] == ["idle.csv-gz.failed", "idle.flop-gz.failed"]
    assert not list(find_runs(tmp_path))


@pytest.mark.parametrize("name", ["idle.csv.gz", "idle.flop.gz"])
def test_a_file_that_was_cut_short_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    made(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
    found = recorded(monkeypatch, tmp_path, "pass")
    assert (found.outcome, name in found.why, len(found.files)) == ("failed", True, 2)
    assert all(path.exists() for path in found.files)
    assert not list(find_runs(tmp_path))


def test_a_recorder_that_wrote_nothing_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = recorded(monkeypatch, tmp_path, "pass")
    assert (found.outcome, found.files) == ("failed", ())


def test_a_command_that_is_not_there_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runs, "record_words", lambda *_, **__: ["/nowhere/stillwatch"])
    found = record(RUN, tmp_path, {}, device="cpu", fake=False, most_s=1, now_s=time.monotonic)
    assert (found.outcome, "/nowhere/stillwatch" in found.why) == ("failed", True)


def test_what_takes_too_long_is_ended_with_all_that_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runs, "_STOP_S", 0.3)
    script = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(60)
"""
    said = tmp_path / "said.txt"
    with pytest.raises(RunError, match="not done after 1 s"):
        run_process([sys.executable, "-c", script], dict(os.environ), 1.0, said)
    status = Path(f"/proc/{int(said.read_text())}/status")
    for _ in range(50):
        if not status.exists() or "State:\tZ" in status.read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail("a process goes on that the run started")
