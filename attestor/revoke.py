"""``stillwatch agent revoke``: a party ends a key of a node that it enrolled."""

from pathlib import Path

import click

from attestor.config import choose_log, read_agreement
from attestor.log_options import digest_option, log_options
from attestor.output import show
from protos.stillwatch.statement.v1 import identity_pb2
from statements.clock import parse_clock
from statements.ledger_client import LedgerClient
from statements.publication import publish
from statements.tls import ClientTls

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--party-key", type=_FILE, required=True, help="The party's key.")
@digest_option(
    "--key-id", "SHA-256 of the key: the node's id, or the new_key of its last rotation."
)
@click.option("--reason", help="Why, for people; everybody can read it.")
@log_options
def revoke(
    *,
    party_key: Path,
    key_id: bytes,
    reason: str | None,
    ledger: str,
    tls: ClientTls | None,
    agreement_path: Path,
    origin: str | None,
    clock_text: str | None,
    output: str,
) -> None:
    """End a node's key, for good. What it said before stands; its chips stay owed by the party.

    The node says nothing more until you give it another key (stillwatch agent recover), which ends the old one by
    itself. A key that may only have been copied is rotated.

    \b
    Example:
      stillwatch agent revoke --party-key party.key --key-id 5b8c06ec... --reason stolen \\
        --ledger 127.0.0.1:7701 --agreement agreement.toml
    """
    pins = read_agreement(agreement_path)
    log = choose_log(pins, origin)
    clock = parse_clock(clock_text, log.origin)
    with LedgerClient(ledger, tls) as client:
        published = publish(
            client,
            party_key,
            identity_pb2.Revocation(key_id=key_id, reason=reason),
            now_ms=clock.now_ms(),
            pins=pins,
            origin=log.origin,
        )
    show(output, {"revoked": key_id.hex(), "index": published.index})
