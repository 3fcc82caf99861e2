"""A simulated chip whose truth is known, compared as a recording would be."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from attestor.channels import CHIP_CHANNELS, Reading
from attestor.recording import RecordedChip, RecordingHeader, RecordingWriter
from simulator.chip import H100, Activity, Chip, settled_clock_mhz
from tests.gpu.compare import CHIPS, altered, find_runs, judge, main, pipes, too_wide
from tests.gpu.evidence import Evidence, EvidenceError, read_evidence
from tests.gpu.flop_log import FlopHeader, FlopLogWriter, Work, read_flop_log
from verifier.accounts.chips import read_chip_table

STARTED = 1_800_000_003_000
SECONDS = 45
TABLE = read_chip_table(CHIPS.read_bytes())
K16 = TABLE.lookup(H100.model).k16_flop_per_clock
TRAINING = Activity(
    sm=0.9,
    hmma=0.6,
    fp32=0.1,
    dram=0.4,
    busy=1.0,
    clock_mhz=1_500,
    memory_used_bytes=6e10,
    processes=1,
)
"""What the tests' chip does: the truth is nine tenths of what its 16-bit pipe could do in its active cycles."""
EFFICIENCY = 0.9


def play(
    folder: Path,
    name: str,
    activity: Activity = TRAINING,
    *,
    seconds: int = SECONDS,
    labels: dict[str, str] | None = None,
    inflate: float = 1.0,
) -> None:
    """Write a recording and its FLOP log."""
    header = RecordingHeader(
        telemetry="simulated",
        origin="the tests",
        licence="Apache-2.0",
        chips=(RecordedChip("GPU-0", H100.model),),
        driver="",
        period_ms=1_000,
        labels={"started_unix_ms": str(STARTED)} if labels is None else labels,
    )
    chip = Chip(H100, "GPU-0", random.Random(1))
    rate = K16 * settled_clock_mhz(H100, activity) * 1e6 * activity.hmma * EFFICIENCY * inflate
    names = [channel.name for channel in CHIP_CHANNELS]
    with (
        RecordingWriter(folder / f"{name}.csv.gz", header, names) as recording,
        FlopLogWriter(folder / f"{name}.flop.gz", FlopHeader(name, {"m": "1"})) as log,
    ):
        for second in range(seconds + 1):
            recording.write(Reading(second * 1_000, 0, chip.second(activity)))
            for at in (0, 250, 500, 750):
                begin = STARTED + second * 1_000 + at
                log.write(Work(begin, begin + 250, 0, "bf16", rate / 4, rate / 8))


def evidence(folder: Path, name: str) -> Evidence:
    recording, log = folder / f"{name}.csv.gz", folder / f"{name}.flop.gz"
    return read_evidence(recording, log, TABLE, window_ms=10_000)


def test_whole_windows_of_the_chips_are_laid_beside_what_was_executed_in_them(
    tmp_path: Path,
) -> None:
    play(tmp_path, "train")
    run = evidence(tmp_path, "train")
    chips = run.windows.chips
    assert chips.start_ms.tolist() == [STARTED + 7_000 + 10_000 * at for at in range(3)]
    rate = K16 * settled_clock_mhz(H100, TRAINING) * 1e6 * 0.6 * EFFICIENCY
    np.testing.assert_allclose(run.executed, rate * 10, rtol=1e-9)
    np.testing.assert_allclose(run.useful, rate * 5, rtol=1e-9)
    assert run.edge.tolist() == [0, 0, 0], "lines end where windows do"
    assert (run.telemetry, set(run.by_precision)) == ("simulated", {"bf16"})


def test_a_truth_that_the_counters_allow_is_held_and_less_evidence_is_wider(tmp_path: Path) -> None:
    play(tmp_path, "train")
    row = judge(evidence(tmp_path, "train"), TABLE)
    assert (row.held, row.windows, row.contradicted) == (3, 3, 0)
    assert row.useful_share == 0.5
    assert row.lower < 1 < row.upper
    assert row.upper < row.no_pipes
    assert 0 < row.width16 < row.width < 10
    assert row.binds == "PIPES_CLOCK"
    assert len(too_wide([evidence(tmp_path, "train")], [row])) == (row.width > 4)


def test_a_truth_beyond_what_the_chip_can_do_is_not_held_and_ends_with_1(tmp_path: Path) -> None:
    play(tmp_path, "forged", inflate=20)
    assert judge(evidence(tmp_path, "forged"), TABLE).held == 0
    done = CliRunner().invoke(main, [str(tmp_path)])
    assert done.exit_code == 1
    assert "not held in every window: forged" in done.output


def test_what_a_run_did_not_execute_is_not_proved_and_a_disguise_is_told_by_its_features(
    tmp_path: Path,
) -> None:
    play(tmp_path, "train")
    play(
        tmp_path,
        "throttled",
        replace(TRAINING, hmma=0.1, clock_mhz=600),
        labels={"started_unix_ms": str(STARTED), "disguises": "train"},
    )
    plain, disguise = evidence(tmp_path, "train"), evidence(tmp_path, "throttled")
    changed = {name: (before, after) for name, before, after in altered(disguise, plain)}
    assert changed["hmma_active_mean"] == pytest.approx((0.6, 0.1), abs=1e-3)
    assert changed["sm_clock_mean"] == pytest.approx((1_500, 600), abs=8)
    assert "sm_active_mean" not in changed
    assert pipes(plain)["hmma_active"] == pytest.approx(0.6, abs=1e-3)
    done = CliRunner().invoke(main, [str(tmp_path), "--json", str(tmp_path / "out.json")])
    assert done.exit_code == 0, done.output
    assert "| throttled | train |" in done.output
    assert "all 6 windows held" in done.output
    assert (tmp_path / "out.json").exists()


def test_a_recording_that_does_not_say_when_it_began_is_refused(tmp_path: Path) -> None:
    play(tmp_path, "train", labels={})
    with pytest.raises(EvidenceError, match="started_unix_ms"):
        evidence(tmp_path, "train")


def test_a_run_without_a_whole_window_is_left_out_and_named(tmp_path: Path) -> None:
    play(tmp_path, "short", seconds=9)
    done = CliRunner().invoke(main, [str(tmp_path)])
    assert (done.exit_code, "no whole window" in done.output) == (1, True)
    play(tmp_path, "train")
    done = CliRunner().invoke(main, [str(tmp_path)])
    assert (done.exit_code, "no whole window" in done.output) == (0, True)


def test_a_run_that_cannot_be_read_does_not_hold_up_the_others_and_ends_with_1(
    tmp_path: Path,
) -> None:
    play(tmp_path, "broken")
    play(tmp_path, "train")
    (tmp_path / "broken.flop.gz").write_bytes(b"no log")
    done = CliRunner().invoke(main, [str(tmp_path)])
    assert done.exit_code == 1
    assert "not read: " in done.output
    assert "| train | simulated | 3 |" in done.output


def test_recordings_without_a_log_are_passed_over(tmp_path: Path) -> None:
    play(tmp_path, "train")
    (tmp_path / "train.flop.gz").rename(tmp_path / "other.flop.gz")
    assert list(find_runs(tmp_path)) == []
    assert read_flop_log(tmp_path / "other.flop.gz")[0].workload == "train"
    assert CliRunner().invoke(main, [str(tmp_path)]).exit_code == 1
