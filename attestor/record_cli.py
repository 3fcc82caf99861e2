"""``stillwatch agent record`` and ``convert``: recordings from sources, and from one form into the other."""

import math
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import click

from attestor.bell import Bell
from attestor.config import read_config
from attestor.errors import ConfigError, RecordingError
from attestor.observe import verify_opened
from attestor.output import log_for_people, show
from attestor.preview import rfc3339
from attestor.recorded_command import Ending, RecordedCommand
from attestor.recorder import RETRY_MS, Recorder, Said, parse_labels
from attestor.recording import CSV, PARQUET, RecordingReader, convert, verify_absent
from attestor.sampler import NodeSampler
from attestor.settings import Settings
from attestor.sources.interface import Telemetry
from attestor.sources.registry import Opener, configure
from attestor.waiting import Bar
from statements.clock import SystemClock
from statements.options import output_option

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_WINDOW_MS: Final = 60_000
"""What sources are told of windows, of which a recording has none."""


class RecordingName(click.Path):
    """The path of a recording to be written, whose name says its form."""

    name = "recording"

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Return the path; a name that says no form is a usage error."""
        if not Path(value).name.endswith((CSV, PARQUET)):
            self.fail(f"a recording's name ends in {CSV} or {PARQUET}", param, ctx)
        return Path(value)


@click.command("convert")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("target", metavar="OUT", type=RecordingName())
@output_option
def convert_command(source: Path, target: Path, output: str) -> None:
    """Write the recording IN to OUT, as Parquet or as gzip of CSV, by its name. Nothing is lost.

    \b
    Example:
      stillwatch agent convert night.csv.gz night.parquet
    """
    rows = convert(source, target)
    show(
        output,
        {
            "recording": str(target),
            "rows": rows,
            "bytes": target.stat().st_size,
            "bytes_before": source.stat().st_size,
        },
    )


def _labels(
    ctx: click.Context,  # noqa: ARG001 - click's signature
    parameter: click.Parameter,  # noqa: ARG001
    texts: tuple[str, ...],
) -> dict[str, str]:
    try:
        return parse_labels(texts)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("record")
@click.argument("out", metavar="OUT", type=RecordingName())
@click.argument("words", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--seconds", type=click.FloatRange(0.1), help="How long, where there is no COMMAND.")
@click.option("--period", help="Between two readings of a chip.  [default: 100 ms]")
@click.option(
    "--samples",
    type=click.Choice(["driver", "polled"]),
    help="Fetch what the driver samples by itself, or ask each chip each period.  [default: driver]",
)
@click.option("--recording", type=_FILE, help="Record a replay of this rather than the driver.")
@click.option("--config", type=_FILE, help="Record the sources of a node of this agent's file.")
@click.option("--node", help="Which node of it.")
@click.option("--label", "labels", multiple=True, callback=_labels, help="KEY=VALUE; repeatable.")
@click.option("--origin", help="Where the recording is from, for people.")
@click.option("--licence", help="Who may use it, as SPDX names it.  [default: NOASSERTION]")
@click.option("--anonymise", is_flag=True, help="Call the chips GPU-0 and so on, for publication.")
@output_option
def record_command(
    *,
    out: Path,
    words: tuple[str, ...],
    seconds: float | None,
    period: str | None,
    samples: str | None,
    recording: Path | None,
    config: Path | None,
    node: str | None,
    labels: dict[str, str],
    origin: str | None,
    licence: str | None,
    anonymise: bool,
    output: str,
) -> None:
    """Record what the chips of this node read into OUT: for so long, or until COMMAND ends, or one interrupts.

    COMMAND is told STILLWATCH_RECORDING_STARTED_MS, the instant of the recording's time 0 in Unix milliseconds, and
    STILLWATCH_FLOP_LOG, where it may write what it executed. Its exit status is passed on, its output goes to stderr.

    \b
    Example:
      stillwatch agent record night.csv.gz --seconds 600
      stillwatch agent record train.csv.gz --label job=train -- python train.py --steps 100
    """
    if seconds is not None and words:
        raise click.UsageError("give --seconds or a COMMAND, not both: COMMAND says how long")
    if (config is None) != (node is None):
        raise click.UsageError("--config and --node belong together")
    if sum(given is not None for given in (recording, config, period or samples)) > 1:
        raise click.UsageError(
            "--recording and --config say what is read, and how: give one of them, and no --period or --samples"
        )
    log_for_people()
    flop_log = _beside(out)
    verify_absent(out)
    if words:
        verify_absent(flop_log)
    clock = SystemClock()
    began_ms = clock.now_ms()
    said = Said(origin or "", licence or "NOASSERTION", labels, anonymise)
    if recording is not None:
        said = _as_recorded(recording, said, origin, licence)
    sources = _sources(
        at_ms=began_ms,
        recording=recording,
        config=config,
        node=node,
        period=period,
        samples=samples,
    )
    sampler = NodeSampler("this node", sources, RETRY_MS)
    sampler.poll(began_ms)
    verify_opened(sampler, sources)
    if sampler.equipment.telemetry is Telemetry.LIVE:
        began_ms = clock.now_ms()  # opening a driver may take seconds
    bell = Bell()
    ending = Ending(bell, seconds)

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        ending.stop(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    recorder = Recorder(sampler, clock=clock, bell=bell, path=out, said=said, started_ms=began_ms)
    if words:
        try:
            ending.command = RecordedCommand(words, _told(began_ms, flop_log), bell)
        except RecordingError:
            recorder.writer.abandon()
            raise
    bar = None if seconds is None else Bar("recording", math.ceil(seconds))
    status = _run(recorder, ending, bar)
    show(
        output,
        {
            "recording": str(out),
            "telemetry": recorder.header.telemetry,
            "started": rfc3339(began_ms),
            "started_unix_ms": began_ms,
            "seconds": (recorder.ended_ms - began_ms) / 1_000,
            "chips": len(recorder.header.chips),
            "channels": list(recorder.channels),
            "rows": recorder.rows,
            "late": recorder.late,
            "failed_sources": sorted(recorder.failed),
            "bytes": out.stat().st_size,
            "flop_log": str(flop_log) if words and flop_log.exists() else None,
            "exit_status": status,
        },
    )
    if not recorder.rows:
        raise RecordingError("NOTHING_READ", f"{out} holds no reading: its sources gave none")
    click.get_current_context().exit(status)


def _run(recorder: Recorder, ending: Ending, bar: Bar | None) -> int:
    """Record until it ends; return the command's exit status. A command outlives a recording that fails."""

    def left() -> float:
        if bar is not None:
            bar.show()
        return ending.left()

    try:
        recorder.run(left)
    except RecordingError as error:
        if ending.command is None:
            raise
        click.echo(f"Error: {error} [{error.reason}]: waiting for the command to end", err=True)
        status = ending.wait_for_command()
        raise RecordingError(error.reason, f"{error}; the command ended with {status}") from error
    return ending.wait_for_command()


def _as_recorded(path: Path, said: Said, origin: str | None, licence: str | None) -> Said:
    """Return what is said of a replay: what its recording says, and what is added."""
    with RecordingReader(path) as reader:
        header = reader.header
    return Said(
        origin=header.origin if origin is None else origin,
        licence=header.licence if licence is None else licence,
        labels={**header.labels, **said.labels},
        anonymise=said.anonymise,
    )


def _sources(
    *,
    at_ms: int,
    recording: Path | None,
    config: Path | None,
    node: str | None,
    period: str | None,
    samples: str | None,
) -> Sequence[tuple[str, Opener]]:
    if config is not None:
        nodes = {one.name: one.sources for one in read_config(config).nodes}
        if node not in nodes:
            raise ConfigError(
                "UNKNOWN_NODE", f"{config}: no such node; there are {', '.join(nodes)}"
            )
        return nodes[node]
    table: dict[str, object] = {"kind": "nvml"}
    table |= {} if period is None else {"period": period}
    table |= {} if samples is None else {"samples": samples}
    if recording is not None:
        table = {"kind": "replay", "path": str(recording), "at": rfc3339(at_ms)}
    kind, _, opener = configure(Settings(table, "record", Path()), _WINDOW_MS)
    return [(kind, opener)]


def _beside(out: Path) -> Path:
    """Return where a command may write what it executed: beside the recording, by its name."""
    form = CSV if out.name.endswith(CSV) else PARQUET
    return out.absolute().with_name(out.name.removesuffix(form) + ".flop.gz")


def _told(started_ms: int, flop_log: Path) -> dict[str, str]:
    return {
        "STILLWATCH_RECORDING_STARTED_MS": str(started_ms),
        "STILLWATCH_FLOP_LOG": str(flop_log),
    }
