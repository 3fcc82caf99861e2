"""Measures what a recorder beside training costs it: ``python -m tests.gpu overhead``.

One training loop runs throughout; a recorder of the real driver runs beside it in every second block. Steps are
compared between blocks of one run, so that warming up and drifting clocks fall on both alike; the first steps of a
block, while the recorder starts or ends, are not counted.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from tests.gpu.recorder import Usage, record_words, usage
from tests.gpu.running import default_device, synchronizer
from tests.gpu.workloads.interface import SIZES, Job
from tests.gpu.workloads.registry import find_workload

FORMAT: Final = "stillwatch.overhead/1"
BLOCKS: Final = 6
SETTLE_S: Final = 2.0
"""How long the steps at a block's start are not counted: an interpreter starts meanwhile."""
_END_S: Final = 20.0


class OverheadError(Exception):
    """A recorder that did not run beside the training; the message says what it said."""


@dataclass(frozen=True, slots=True)
class Block:
    """Steps in a row, ms, with a recorder beside them or without; what the recorder used over how many seconds."""

    recorded: bool
    step_ms: tuple[float, ...]
    cpu_s: float = 0.0
    seconds: float = 0.0
    most_bytes: int = 0


def steps_for(
    seconds: float, job: Job, wait: Callable[[], None], now_s: Callable[[], float]
) -> tuple[float, ...]:
    """Take steps for so long; return how long each took, ms."""
    took: list[float] = []
    until_s = now_s() + seconds
    while (begin_s := now_s()) < until_s:
        job.step()
        wait()
        took.append((now_s() - begin_s) * 1000)
    return tuple(took)


def summary(blocks: Sequence[Block]) -> dict[str, object]:
    """Return what the blocks say: medians with and without, their ratio, and what the recorder used of one core."""
    plain = [took for block in blocks if not block.recorded for took in block.step_ms]
    beside = [took for block in blocks if block.recorded for took in block.step_ms]
    recorders = [block for block in blocks if block.recorded]
    without_ms, with_ms = statistics.median(plain), statistics.median(beside)
    measured_s = sum(block.seconds for block in recorders)
    return {
        "format": FORMAT,
        "steps_without": len(plain),
        "steps_with": len(beside),
        "median_ms_without": without_ms,
        "median_ms_with": with_ms,
        "ratio": with_ms / without_ms,
        "block_medians_ms": [
            {"recorded": block.recorded, "median_ms": statistics.median(block.step_ms)}
            for block in blocks
        ],
        "recorder_cores": sum(block.cpu_s for block in recorders) / measured_s,
        "recorder_most_bytes": max(block.most_bytes for block in recorders),
    }


def _recorded_block(
    job: Job, wait: Callable[[], None], seconds: float, folder: Path, number: int
) -> Block:
    said = folder / f"{number}.err"
    words = record_words(
        folder / f"{number}.csv.gz",
        {"workload": "overhead"},
        [sys.executable, "-c", f"import time; time.sleep({seconds + 2 * SETTLE_S:g})"],
    )
    with said.open("wb") as file:
        recorder = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=file)
    try:
        steps_for(SETTLE_S, job, wait, time.monotonic)
        began_s, before = time.monotonic(), _usage(recorder, said)
        took = steps_for(seconds, job, wait, time.monotonic)
        after, ended_s = _usage(recorder, said), time.monotonic()
        recorder.wait(_END_S)
    finally:
        if recorder.poll() is None:
            recorder.kill()
            recorder.wait()
    used = after.cpu_s - before.cpu_s
    return Block(True, took, used, ended_s - began_s, after.most_bytes)


def _usage(recorder: "subprocess.Popen[bytes]", said: Path) -> Usage:
    if recorder.poll() is not None:
        words = said.read_text(errors="replace").strip()[-500:]
        raise OverheadError(f"the recorder ended with status {recorder.returncode}: {words}")
    return usage(recorder.pid)


@click.command(help=__doc__)
@click.option("--workload", default="finetuning", show_default=True)
@click.option("--size", type=click.Choice(SIZES), default="full", show_default=True)
@click.option("--seconds", type=click.FloatRange(2), default=30.0, show_default=True)
@click.option("--device", help="PyTorch's name of it; the first GPU, or else the CPU.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="Write the result there.")
def main(
    *, workload: str, size: str, seconds: float, device: str | None, target: Path | None
) -> None:
    """Measure the recorder's cost."""
    on = device or default_device()
    job, wait = find_workload(workload).prepare(on, size), synchronizer(on)
    each_s = max(seconds / BLOCKS - SETTLE_S, 0.25)
    blocks: list[Block] = []
    with tempfile.TemporaryDirectory() as folder:
        steps_for(SETTLE_S, job, wait, time.monotonic)
        try:
            for number in range(BLOCKS):
                if number % 2:
                    blocks.append(_recorded_block(job, wait, each_s, Path(folder), number))
                else:
                    steps_for(SETTLE_S / 2, job, wait, time.monotonic)
                    took = steps_for(each_s, job, wait, time.monotonic)
                    blocks.append(Block(False, took))
        except (OverheadError, subprocess.TimeoutExpired) as error:
            raise click.ClickException(str(error)) from error
    found = {"workload": workload, "size": size, "device": on, **summary(blocks)}
    if target is not None:
        target.write_text(json.dumps(found, indent=1) + "\n")
    click.echo(json.dumps(found, indent=1))
