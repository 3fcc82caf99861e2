"""What a training run of the MLPerf logs says of itself: its window, its steps, and so its true FLOP.

The truth comes from the run's own event log and from the benchmark's definition, never from the power that the agents
replay: it is what an interval from power can be held against. Origin: https://github.com/mlcommons/training_results_v4.0
(Apache-2.0).
"""

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final

from simulator.errors import StoryError

TRAINING: Final = "train/mlperf-train-v4.0-smc-ac_64xSMC-H100-SXM-80GB_gpt3_result_5848-240517221859825376616_2.csv.gz"
"""GPT-3 175B on 64 nodes of 8 H100, 3,412 s."""
INFERENCE: Final = (
    "infer/mlperf-infer-v4.1-nvidia_H200-SXM-141GBx8_TRT_MaxQ_llama2-70b-99.9_Offline_run_1.csv.gz"
)
"""Llama-2-70B on one node of 8 H200: the only inference log that outlasts the training run."""
INFERENCE_LEAD_S: Final = 480
"""The inference log begins this long before its run_start, to the second."""
TRAINING_NODES: Final = 64
CHIPS: Final = 8
PARAMETERS: Final = 175e9
"""Parameters of the benchmark's GPT-3."""
_FLOP_PER_PARAMETER_AND_TOKEN: Final = 6
"""Dense training: two in the forward pass, four in the backward (Kaplan et al., arXiv:2001.08361, section 2.1)."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One run, from its event log. Times are the log's own Unix milliseconds.

    ``tokens`` trained in ``steps`` steps; ``step_s`` is the median time between step events of one block.
    """

    start_ms: int
    stop_ms: int
    steps: int
    tokens: int
    step_s: float

    @property
    def duration_ms(self) -> int:
        """Length of the run window."""
        return self.stop_ms - self.start_ms

    @property
    def true_flop(self) -> float:
        """Useful FLOP of training: 6 x parameters x tokens."""
        return _FLOP_PER_PARAMETER_AND_TOKEN * PARAMETERS * self.tokens


def find_log(folder: Path, name: str) -> Path:
    """Return the path of a log in a folder laid out as train/, infer/, events/ and index.csv."""
    path = folder / name
    if not path.is_file():
        raise StoryError(
            "NO_TELEMETRY",
            f"{path} is not there: --telemetry wants the folder that holds train/, infer/, events/ and index.csv",
        )
    return path.resolve()


def read_run(folder: Path) -> TrainingRun:
    """Return the training run that the demo replays; raises StoryError when its event log does not say enough."""
    name = Path(TRAINING).name.removesuffix(".csv.gz")
    path = find_log(folder, f"events/{name}.events.csv.gz")
    start = stop = None
    steps: list[tuple[int, int]] = []
    gaps: list[int] = []
    block: list[int] = []
    for time_ms, key, value, samples in _events(path):
        if key == "run_start":
            start = time_ms
        elif key == "run_stop":
            stop = time_ms
        elif key == "block_start":
            block = []
        elif key == "tracked_stats" and "train_step_timing" in value:
            steps.append((time_ms, samples))
            block.append(time_ms)
            gaps.extend(after - before for before, after in list(pairwise(block))[-1:])
    if start is None or stop is None or not gaps:
        raise StoryError(
            "NO_TRUTH", f"{path}: run_start, run_stop or the training steps are missing"
        )
    return TrainingRun(start, stop, len(steps), steps[-1][1], median(gaps) / 1000)


def _events(path: Path) -> Iterator[tuple[int, str, str, int]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            next(rows, None)
            for time_ms, key, value, samples in rows:
                yield int(time_ms), key, value, int(samples or 0)
    except (OSError, EOFError, zlib.error, ValueError, csv.Error) as error:
        raise StoryError("NO_TRUTH", f"{path}: not a readable event log ({error})") from error
