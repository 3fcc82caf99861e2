"""``stillwatch agent rotate``: a new key for a node, or for a person."""

from pathlib import Path

import click

from attestor.config import choose_log, read_agreement
from attestor.log_options import log_options
from attestor.output import show
from statements.clock import parse_clock
from statements.ledger_client import LedgerClient
from statements.succession import rotate_key
from statements.tls import ClientTls

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--key", "key_path", type=_FILE, required=True, help="The key to replace.")
@log_options
def rotate(
    *,
    key_path: Path,
    ledger: str,
    tls: ClientTls | None,
    agreement_path: Path,
    origin: str | None,
    clock_text: str | None,
    output: str,
) -> None:
    """Replace a key: of a node whose agent is stopped, of a party, of anybody but a ledger.

    The old key signs that the new one follows, and says nothing after that. The node, or person, stays the same:
    KEY.author says who. What a node's spool still holds is said again under the new key when the agent starts.

    \b
    Example:
      stillwatch agent rotate --key node1.key --ledger 127.0.0.1:7701 --agreement agreement.toml
    """
    pins = read_agreement(agreement_path)
    log = choose_log(pins, origin)
    clock = parse_clock(clock_text, log.origin)
    with LedgerClient(ledger, tls) as client:
        done = rotate_key(client, key_path, now_ms=clock.now_ms(), pins=pins, origin=log.origin)
    show(
        output,
        {
            "author": done.author.hex(),
            "old_key": done.old.hex(),
            "new_key": done.new.hex(),
            "key": str(key_path),
            "retired": str(done.retired),
        },
    )
