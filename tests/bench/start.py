"""``start``: how long ``stillwatch --help`` takes, beside a Python that does nothing."""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.figure import Figure

ROUNDS: Final = 15
REQUIRED: Final = 15.0
REACH: Final = 8.0


def measure() -> Figure:
    """Return the figure: medians, the two commands in turns. The ratio must be at most what is required."""
    command = [str(Path(sys.executable).with_name("stillwatch")), "--help"]
    nothing = [sys.executable, "-c", "pass"]
    took: list[float] = []
    beside: list[float] = []
    for _ in range(ROUNDS):
        beside.append(_seconds(nothing))
        took.append(_seconds(command))
    value, reference = statistics.median(took) * 1000, statistics.median(beside) * 1000
    return Figure(
        name="start",
        value=value,
        unit=f"ms; stillwatch --help, median of {ROUNDS}; at most",
        reference="python -c pass, ms",
        reference_value=reference,
        ratio=value / reference,
        required=REQUIRED,
        reach=REACH,
        met=value / reference <= REQUIRED,
    )


def _seconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began
