"""``stillwatch audit watch``: keep a mirror of a log up to date."""

import json
import signal
from contextlib import ExitStack
from pathlib import Path

import click

from statements.clock import ScaledClock, parse_clock
from statements.daemon_log import log_as_json
from statements.errors import PinsError
from statements.log_trust import LogTrust
from statements.options import clock_option, output_option
from statements.pins import Pins, agreement_digest, read_pins
from statements.tls import ClientTls
from statements.tls_option import tls_option
from tlog.checkpoint import parse_checkpoint
from tlog.errors import TlogError
from tlog.note import parse_note
from verifier.checks.ticks_missing import MOST_LATE
from verifier.mirror.errors import InconsistentLogError, MirrorError
from verifier.mirror.follow import Bell, Follower, Listener, Pace
from verifier.mirror.prefix import served_log
from verifier.mirror.refresh import Refreshed, refresh
from verifier.mirror.shelf import Shelf
from verifier.mirror.source import HttpSource, Source, open_source
from verifier.options import agreement_digest_option, agreement_option, log_option

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@agreement_option
@agreement_digest_option
@log_option
@click.option(
    "--mirror",
    "mirror_path",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to keep; it is made when it is not there.",
)
@click.option("--once", is_flag=True, help="End when the mirror has all that is served.")
@click.option(
    "--check-all",
    is_flag=True,
    help="First check all that is kept: fetch anew what is damaged, and ask again for missing bodies.",
)
@click.option(
    "--grpc", "target", metavar="HOST:PORT", help="Have this ledger tell when there is news."
)
@tls_option
@click.option(
    "--every",
    type=click.FloatRange(min=0.2),
    default=10.0,
    show_default=True,
    help="Seconds between two looks at the log.",
)
@clock_option
@output_option
def watch(
    *,
    agreement_path: Path,
    agreement_digest: str | None,
    place: str,
    mirror_path: Path,
    once: bool,
    check_all: bool,
    target: str | None,
    tls: ClientTls | None,
    every: float,
    clock_text: str | None,
    output: str,
) -> None:
    """Keep a mirror of a log: fetch what is new, verify it, and go on until stopped. It concludes nothing.

    It may be killed at any time, and goes on where it was. A log that forks ends it; one that is out of reach, not
    whole, or says no time any more is told of on stderr, and looked at again.

    \b
    Exit status: 0 the mirror has all that was served, or it was stopped (SIGTERM); 2 usage; 4 it could not run.

    \b
    Example:
      stillwatch audit watch --agreement agreement.toml --log https://log.example.org/ --mirror mirror/
      stillwatch audit run --agreement agreement.toml --log mirror/ --period stage
    """
    log_as_json()
    pins = _pins(agreement_path, agreement_digest)
    bell = Bell()
    try:
        with ExitStack() as stack:
            source = open_source(place, tls)
            if isinstance(source, HttpSource):
                stack.enter_context(source)
            shelf = stack.enter_context(Shelf.open(mirror_path))
            trust = _trust(source, shelf, pins)
            told: Refreshed | None
            if once:
                told = refresh(source, shelf, trust, everything=check_all)
            else:
                _stop_at_signals(bell, source)
                if target is not None:
                    stack.callback(Listener(target, tls, bell, every).close)
                pace = _pace(pins, trust, every, clock_text)
                told = Follower(source, shelf, trust, pace, bell).run(everything=check_all)
    except InconsistentLogError as error:
        click.echo(f"{error.spelt_out()}{error.advice}", err=True)
        raise
    if told is not None:
        _show(told, mirror_path, output)


def _pins(path: Path, digest: str | None) -> Pins:
    text = path.read_bytes()
    found = f"sha256:{agreement_digest(text).hex()}"
    if digest is not None and digest != found:
        raise click.UsageError(f"{path}: is {found}, not the agreement that you named")
    try:
        return read_pins(text)
    except PinsError as error:
        raise click.UsageError(f"{path}: {error} [{error.reason}]") from None


def _trust(source: Source, shelf: Shelf, pins: Pins) -> LogTrust:
    """Return by what the log is believed: that of the mirror, the agreement's only one, or else the one served."""
    held = shelf.checkpoint
    if held is not None:
        try:
            return LogTrust.of(pins, pins.ledger(parse_checkpoint(parse_note(held)).origin))
        except (PinsError, TlogError) as error:
            raise MirrorError(
                "MIRROR_DAMAGED", f"{shelf.folder} mirrors no log of this agreement: {error}"
            ) from None
    if len(pins.ledgers) == 1:
        return LogTrust.of(pins, pins.ledgers[0])
    return served_log(source, pins)


def _pace(pins: Pins, trust: LogTrust, every_s: float, clock_text: str | None) -> Pace:
    clock = parse_clock(clock_text, trust.key.name)
    rate = clock.rate if isinstance(clock, ScaledClock) else 1.0
    return Pace(every_s, MOST_LATE * pins.tick_ms / 1000 / rate)


def _stop_at_signals(bell: Bell, source: Source) -> None:
    def stop(_number: int, _frame: object) -> None:
        bell.stop()
        if isinstance(source, HttpSource):
            source.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _show(told: Refreshed, mirror: Path, output: str) -> None:
    tree = parse_checkpoint(parse_note(told.note))
    result = {
        "mirror": str(mirror),
        "origin": tree.origin,
        "size": tree.size,
        "root": tree.root.hex(),
        "new": told.size - told.before,
        "lacking": told.lacking,
        "requests": told.requests,
        "bytes": told.fetched_bytes,
    }
    if output == "json":
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(f"{mirror}: {tree.size} records of {tree.origin}, root {tree.root.hex()}")
    click.echo(f"{result['new']} new, by {told.requests} requests for {told.fetched_bytes} bytes")
    if told.lacking:
        click.echo(
            f"{told.lacking} bodies were not served as they were logged: --check-all asks again"
        )
