"""Runs one workload, and writes what it executes to a FLOP log: ``python -m tests.gpu run NAME``.

A process of its own: the campaign starts it under the recorder. It ends with status 3 where the machine, or this
version of PyTorch, cannot do what the workload needs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import click

from tests.gpu.flop_log import FlopHeader, FlopLogError, FlopLogWriter, read_flop_log
from tests.gpu.lines import Lines
from tests.gpu.workloads.interface import SIZES, Job, UnavailableError
from tests.gpu.workloads.registry import UnknownWorkloadError, find_workload

LOG_VARIABLE: Final = "STILLWATCH_FLOP_LOG"
STARTED_VARIABLE: Final = "STILLWATCH_RECORDING_STARTED_MS"
UNAVAILABLE: Final = 3
COMMAND: Final = (sys.executable, str(Path(__file__).parent))
"""How a process of ours is started: by its folder, as other packages may be called ``tests``, too."""
_LAST_S: Final = 60.0
"""How long a workload beside this one may take to end after it."""


class StepClock(Protocol):
    """A clock fine enough for steps."""

    def now_ms(self) -> float:
        """Return the time, Unix milliseconds; it never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(frozen=True, slots=True)
class RunClock:
    """Unix milliseconds that never go back: the wall's time once, and a monotonic clock's from then on."""

    wall_ms: float = field(default_factory=lambda: time.time() * 1000)
    began_s: float = field(default_factory=time.monotonic)

    def now_ms(self) -> float:
        """Return the time."""
        return self.wall_ms + (time.monotonic() - self.began_s) * 1000

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Played:
    """What a run came to: how many steps, over how long, and how long each took (its pause not counted), ms."""

    steps: int
    seconds: float
    step_ms: tuple[float, ...]


def play(
    job: Job, lines: Lines, clock: StepClock, synchronize: Callable[[], None], seconds: float
) -> Played:
    """Take steps for ``seconds``; each is waited for, and written down from begin to end."""
    began_ms = now_ms = clock.now_ms()
    until_ms = began_ms + seconds * 1000
    took: list[float] = []
    while now_ms < until_ms:
        begin_ms = now_ms
        step = job.step()
        synchronize()
        now_ms = clock.now_ms()
        took.append(now_ms - begin_ms)
        if step.counts.executed:
            lines.step(begin_ms, now_ms, step.counts)
        if step.pause_s > 0:
            paused_ms = now_ms
            clock.sleep(min(step.pause_s, max(until_ms - now_ms, 0.0) / 1000))
            now_ms = clock.now_ms()
            lines.pause(paused_ms, now_ms)
    lines.cut()
    return Played(len(took), (now_ms - began_ms) / 1000, tuple(took))


def synchronizer(device: str) -> Callable[[], None]:
    """Return what waits until a device has done all that was put to it."""
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return lambda: torch.cuda.synchronize(device)


def chip_of(device: str) -> int:
    """Return the row of a device among a recording's chips, where PyTorch counts them as the driver does."""
    return int(device.partition(":")[2] or 0)


def default_device() -> str:
    """Return the GPU, where PyTorch sees one."""
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _start_beside(
    names: Sequence[str], device: str, size: str, seconds: float, folder: Path
) -> list[tuple[subprocess.Popen[bytes], Path]]:
    variables = {name: word for name, word in os.environ.items() if name != LOG_VARIABLE}
    started = []
    for name in names:
        log = folder / f"{name}.flop.gz"
        words = [*COMMAND, "run", name, "--device", device]
        words += ["--size", size, "--seconds", str(seconds), "--flop-log", str(log)]
        started.append((subprocess.Popen(words, env=variables), log))
    return started


@click.command(help=__doc__)
@click.argument("name")
@click.option("--size", type=click.Choice(SIZES), default="full", show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1, 3_600), default=10.0, show_default=True)
@click.option("--device", help="PyTorch's name of it; the first GPU, or else the CPU.")
@click.option(
    "--flop-log", "log_path", type=click.Path(path_type=Path), envvar=LOG_VARIABLE, required=True
)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE")
def main(
    *,
    name: str,
    size: str,
    seconds: float,
    device: str | None,
    log_path: Path,
    labels: tuple[str, ...],
) -> None:
    """Run a workload."""
    try:
        workload = find_workload(name)
    except UnknownWorkloadError as error:
        raise click.ClickException(str(error)) from error
    known = dict(label.partition("=")[::2] for label in labels) | {"size": size}
    if STARTED_VARIABLE in os.environ:
        known["recording_started_ms"] = os.environ[STARTED_VARIABLE]
    with ExitStack() as stack:
        on = device or default_device()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        others = _start_beside(workload.beside, on, size, seconds, folder)
        for other, _ in others:
            stack.callback(_end, other)
        try:
            job = workload.prepare(on, size)
        except UnavailableError as error:
            click.echo(f"{name}: {error}", err=True)
            sys.exit(UNAVAILABLE)
        shape = {**job.shape, "device": on}
        log = stack.enter_context(FlopLogWriter(log_path, FlopHeader(name, shape, known)))
        played = play(job, Lines(log.write, chip_of(on)), RunClock(), synchronizer(on), seconds)
        for other, theirs in others:
            _join(other, theirs, log)
    click.echo(json.dumps({"workload": name, "steps": played.steps, "seconds": played.seconds}))


def _join(other: "subprocess.Popen[bytes]", theirs: Path, log: FlopLogWriter) -> None:
    """Wait for a workload beside this one, and write what it executed into the same log."""
    try:
        status = other.wait(_LAST_S)
        works = read_flop_log(theirs)[1]
    except (subprocess.TimeoutExpired, FlopLogError) as error:
        raise click.ClickException(f"the workload beside did not end well: {error}") from error
    if status:
        raise click.ClickException(f"the workload beside ended with status {status}")
    for work in works:
        log.write(work)


def _end(other: "subprocess.Popen[bytes]") -> None:
    if other.poll() is None:
        other.kill()
        other.wait()
