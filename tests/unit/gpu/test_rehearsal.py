"""A whole campaign on a machine without a GPU: tiny workloads, the real recorder, a fake driver.

It needs PyTorch, which the project does not install. It supports no claim about chips.
"""

import json
import os
import subprocess
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from attestor.recording import RecordingReader
from tests.gpu.fake import MODEL, ORIGIN
from tests.gpu.flop_log import read_flop_log
from tests.gpu.running import COMMAND

RUNS = ("covered", "interactive", "idle")


@pytest.mark.skipif(not find_spec("torch"), reason="PyTorch is not installed")
def test_a_campaign_on_a_fake_driver_records_counts_and_packs(root: Path, tmp_path: Path) -> None:
    words = [*COMMAND, "campaign", "--fake", "--out", str(tmp_path / "out")]
    for name in RUNS:
        words += ["--only", name]
    done = subprocess.run(
        words, cwd=root, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "fake-recordings-1.tar",
        "results.json",
    ]
    results = json.loads((out / "results.json").read_text())
    assert (results["finished"], results["telemetry"]) == (True, ORIGIN)
    assert [run["outcome"] for run in results["runs"]] == ["recorded"] * len(RUNS)
    assert results["calls"]["driver"] == "999.99-fake"
    assert results["busy_calls"]["beside"] == "product-bf16"
    assert results["overhead"]["steps_with"] > 0
    assert results["overhead"]["recorder_most_bytes"] > 1 << 20
    with tarfile.open(out / "fake-recordings-1.tar") as archive:
        archive.extractall(tmp_path / "in", filter="data")
    for run in results["runs"]:
        recording, log = (tmp_path / "in" / name for name in run["files"])
        header, works = read_flop_log(log)
        assert header.workload == run["workload"]
        with RecordingReader(recording) as reader:
            assert (reader.header.telemetry, reader.header.origin) == ("simulated", ORIGIN)
            assert [chip.model for chip in reader.header.chips] == [MODEL]
            assert reader.header.labels["workload"] == run["workload"]
            started_ms = int(reader.header.labels["started_unix_ms"])
            times = [started_ms + reading.time_ms for reading in reader]
        # What was executed was executed while somebody read.
        assert times[0] < works[0].begin_ms
        assert works[-1].end_ms < times[-1] + 1_000
        assert (sum(work.executed_flop for work in works) > 0) == (run["name"] != "idle")
