"""``stillwatch demo``: the whole story on this machine."""

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from simulator.demo import ending
from simulator.demo.mlperf_run import read_run
from simulator.demo.narration import Narration
from simulator.demo.processes import Processes
from simulator.demo.recorded import recorded_plot
from simulator.demo.simulated import simulated_plot
from simulator.demo.story import Story

NOT_AS_TOLD = 1


@click.command()
@click.option(
    "--telemetry",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Replay recorded MLPerf logs: a folder with train/, infer/, events/ and index.csv.",
)
@click.option(
    "--keep",
    "kept",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep everything in this folder, which is made: log, agreement, verdicts, labels.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print what came of it.",
)
@click.pass_context
def demo(context: click.Context, telemetry: Path | None, kept: Path | None, output: str) -> None:
    """Watch labs pause together, some defect, and an auditor find out. Takes under a minute.

    Ledger, agents and auditor are processes of their own, on loopback, on one scaled clock. Exits 0 when the story
    went as told, and 1 when a promise of it was not met.

    \b
    Example:
      stillwatch demo --keep /tmp/pause
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    run = None if telemetry is None else read_run(telemetry)
    plot = simulated_plot() if run is None or telemetry is None else recorded_plot(telemetry, run)
    with (
        _folder(kept) as folder,
        Narration(sys.stderr) as narration,
        Processes(folder / "processes") as processes,
    ):
        told = Story(folder, plot, processes, narration).tell(run)
    click.echo(ending.as_json(told, kept) if output == "json" else ending.as_text(told, kept))
    if not told.went_as_told:
        context.exit(NOT_AS_TOLD)


def _end(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - signal's signature
    """Leave by the way that ends the children first."""
    raise SystemExit(128 + signum)


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    """Give the folder of the rehearsal: the one to keep, or one that goes when the story is told."""
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="stillwatch-") as name:
            yield Path(name)
        return
    try:
        kept.mkdir(parents=True, exist_ok=True)
        taken = any(kept.iterdir())
    except OSError as error:
        raise click.UsageError(f"--keep {kept}: {error.strerror}") from None
    if taken:
        raise click.UsageError(f"--keep {kept}: the folder is not empty; name a new one")
    yield kept.resolve()
