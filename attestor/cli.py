"""``stillwatch agent``: attest the chips of a node."""

import json
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import click

from attestor.agent import Agent
from attestor.config import AgentConfig, read_config
from attestor.enrol import enrol
from attestor.errors import AttestorError, ConfigError
from attestor.observe import observe
from attestor.output import Json, as_text, log_for_people, show
from attestor.preview import Preview
from attestor.record_cli import convert_command, record_command
from attestor.recording import RecordingReader
from attestor.recover import recover
from attestor.revoke import revoke
from attestor.rotate import rotate
from attestor.settings import Settings, parse_instant
from attestor.sources.registry import Opener, configure
from attestor.waiting import WatchedClock
from statements.clock import SystemClock, parse_clock
from statements.daemon_log import log_as_json
from statements.keys import hold_key, write_signing_key
from statements.kinds import Kind
from statements.ledger_client import LedgerClient
from statements.options import clock_option, output_option
from statements.signing import SigningKey

_FILE = click.Path(path_type=Path, dir_okay=False)
_seconds = click.option(
    "--seconds",
    type=click.IntRange(1, 3600),
    default=2,
    show_default=True,
    help="Length of the window.",
)


@click.group()
def agent() -> None:
    """Attest the chips of a node: sample, sign, spool, send.

    \b
    Example:
      stillwatch agent once
      stillwatch agent keygen --key node1.key
      stillwatch agent enrol request --help
      stillwatch agent preview --config agent.toml
      stillwatch agent record idle.csv.gz --seconds 60
      stillwatch agent run --config agent.toml
    """


agent.add_command(convert_command)
agent.add_command(enrol)
agent.add_command(record_command)
agent.add_command(recover)
agent.add_command(revoke)
agent.add_command(rotate)


@agent.command()
@click.option("--key", "key_path", type=_FILE, required=True, help="File to write; mode 0600.")
@output_option
def keygen(key_path: Path, output: str) -> None:
    """Draw a key, and print the id of the node that will hold it.

    A party's key is drawn likewise, and the recovery key of whoever signs: what is printed as pinned_as is what the
    agreement says of it.

    \b
    Example:
      stillwatch agent keygen --key node1.key
      stillwatch agent keygen --key aurora-recovery.key
    """
    key = SigningKey.generate()
    write_signing_key(key_path, key)
    identity = key.key_id.hex()
    show(output, {"node_id": identity, "pinned_as": f"sha256:{identity}", "key": str(key_path)})


@agent.command()
@click.option("--config", "config_path", type=_FILE, required=True, help="The agent's TOML file.")
@click.option("--until", help="Stop after the windows that end by this time (RFC 3339).")
@clock_option
@output_option
def run(config_path: Path, until: str | None, clock_text: str | None, output: str) -> None:
    """Attest until stopped. SIGTERM drains: what is spooled is sent first.

    Logs go to stderr, one JSON object a line. What is left in the spool is sent by the next run.

    \b
    Example:
      stillwatch agent run --config agent.toml
    """
    log_as_json()
    config = read_config(config_path)
    clock = parse_clock(clock_text, config.log.origin)
    until_ms = None if until is None else parse_instant(until, "--until")
    with ExitStack() as held:
        for node in config.nodes:
            held.enter_context(hold_key(node.key_path, wait=False))
        ledger = held.enter_context(LedgerClient(config.ledger, config.tls))
        process = Agent(config, ledger, clock)

        def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
            process.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        outcome = process.run(until_ms)
    show(
        output,
        {
            "windows": outcome.windows,
            "acknowledged": outcome.acknowledged,
            "left_in_spool": outcome.unlogged,
            "lost": outcome.lost,
        },
    )
    if outcome.lost:
        raise AttestorError(
            "WINDOWS_LOST",
            f"{outcome.lost} statements were never spooled and are lost; the log above says why they could not be",
        )


@agent.command()
@click.option("--recording", type=_FILE, help="Sample this recording rather than the driver.")
@_seconds
@output_option
def once(recording: Path | None, seconds: int, output: str) -> None:
    """Sample one short window and print it. Nothing is signed for anybody, nothing is sent.

    \b
    Example:
      stillwatch agent once --seconds 2
    """
    log_for_people()
    start_ms = None
    table: dict[str, object] = {"kind": "nvml"}
    if recording is not None:
        RecordingReader(recording).close()
        start_ms = 0
        table = {"kind": "replay", "path": str(recording), "at": "1970-01-01T00:00:00Z"}
    kind, _, opener = configure(Settings(table, "once", Path()), seconds * 1000)
    preview = _observe(
        "this node", [(kind, opener)], key=SigningKey.generate(), seconds=seconds, start_ms=start_ms
    )
    contents = preview.contents()
    del contents["opening"]
    show(output, {"telemetry": preview.telemetry, **contents})


@agent.command()
@click.option("--config", "config_path", type=_FILE, required=True, help="The agent's TOML file.")
@click.option("--node", "names", multiple=True, help="Only this node; may be repeated.")
@_seconds
@click.option("--at", help="Preview a replay at this time of its clock (RFC 3339).")
@output_option
def preview(
    config_path: Path, names: tuple[str, ...], seconds: int, at: str | None, output: str
) -> None:
    """Show exactly what would leave each node, and who may read it. Nothing is sent.

    \b
    Example:
      stillwatch agent preview --config agent.toml --node rack1-node1
    """
    log_for_people()
    config = read_config(config_path)
    start_ms = None if at is None else parse_instant(at, "--at")
    chosen = [node for node in config.nodes if not names or node.name in names]
    if not chosen:
        listed = ", ".join(node.name for node in config.nodes)
        raise ConfigError("UNKNOWN_NODE", f"{config_path}: no such node; there are {listed}")
    shown: list[Json] = [
        _observe(
            node.name,
            node.sources,
            key=node.key,
            seconds=seconds,
            start_ms=start_ms,
            config=config,
            author=node.author,
        ).as_json()
        for node in chosen
    ]
    if output == "json":
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo("\n\n".join(as_text(one) for one in shown))


def _observe(
    name: str,
    sources: Sequence[tuple[str, Opener]],
    *,
    key: SigningKey,
    seconds: int,
    start_ms: int | None,
    config: AgentConfig | None = None,
    author: bytes | None = None,
) -> Preview:
    return observe(
        name,
        sources,
        SystemClock() if start_ms is not None else WatchedClock(f"sampling {name}", seconds),
        key=key,
        length_ms=seconds * 1000,
        start_ms=start_ms,
        origin=config.log.origin if config else "",
        agreement=config.pins.digest if config else bytes(32),
        author=author,
        sealed_to=config.pins.disclosures.of_kind.get(Kind.SUMMARY) if config else None,
    )
