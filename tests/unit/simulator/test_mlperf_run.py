import gzip
import os
from pathlib import Path

import pytest

from simulator.demo.mlperf_run import TRAINING, read_run
from simulator.errors import StoryError

STEP = '"{""train_step_timing in s"": 10.6}"'


def write_events(folder: Path, text: str) -> None:
    (folder / "events").mkdir()
    name = Path(TRAINING).name.removesuffix(".csv.gz")
    with gzip.open(folder / "events" / f"{name}.events.csv.gz", "wt") as file:
        file.write("time_ms,key,value,step_or_samples\n" + text)


def test_the_truth_of_the_recorded_run_is_counted_from_its_own_events() -> None:
    traces = os.environ.get("STILLWATCH_TRACES")
    if not traces:
        pytest.skip("STILLWATCH_TRACES is not set: the MLPerf logs are not part of the project")
    run = read_run(Path(traces) / "mlperf")
    assert run.steps == 288
    assert run.true_flop == pytest.approx(1.268e21, rel=1e-3)
    assert run.step_s == pytest.approx(10.77, rel=0.01)
    assert run.duration_ms == 3_412_670


def test_gaps_between_blocks_are_not_steps(tmp_path: Path) -> None:
    write_events(
        tmp_path,
        "0,run_start,null,\n1,block_start,null,\n"
        f"1000,tracked_stats,{STEP},10\n3000,tracked_stats,{STEP},20\n"
        f"50000,block_start,null,\n51000,tracked_stats,{STEP},30\n53000,tracked_stats,{STEP},40\n"
        "60000,run_stop,null,\n",
    )
    run = read_run(tmp_path)
    assert (run.steps, run.tokens, run.step_s, run.duration_ms) == (4, 40, 2.0, 60_000)


def test_an_event_log_without_a_stop_is_refused(tmp_path: Path) -> None:
    write_events(tmp_path, f"0,run_start,null,\n1000,tracked_stats,{STEP},10\n")
    with pytest.raises(StoryError) as refused:
        read_run(tmp_path)
    assert refused.value.reason == "NO_TRUTH"


def test_a_folder_without_the_logs_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(StoryError, match="holds train") as refused:
        read_run(tmp_path)
    assert refused.value.reason == "NO_TELEMETRY"
