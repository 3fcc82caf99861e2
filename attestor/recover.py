"""``stillwatch agent recover``: a new key for whoever lost theirs, or had it stolen."""

from pathlib import Path

import click

from attestor.config import choose_log, read_agreement
from attestor.errors import IdentityError
from attestor.log_options import digest_option, log_options
from attestor.output import show
from statements.clock import parse_clock
from statements.keys import read_author, read_signing_key
from statements.ledger_client import LedgerClient
from statements.options import output_option
from statements.pins import Pins, Role
from statements.publication import publish
from statements.recovery import (
    decode_request,
    draw_successor,
    encode_request,
    entitled,
    request_recovery,
    verify_request,
)
from statements.tls import ClientTls

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def recover() -> None:
    """Replace a key that is lost, or that a thief has: its owner asks, somebody who may signs and logs it.

    Of a party, evaluator, adjudicator, verifier or meter the recovery key may that the agreement names for it, or a
    quorum of the panel; of a node its party. Whatever the former key says after that is refused; what it said before
    stands.

    \b
    Example:
      (the owner)     stillwatch agent recover request --key aurora.key --agreement agreement.toml \\
                        --author aurora --out aurora.json
      (who may)       stillwatch agent recover sign --by aurora-recovery.key --request aurora.json \\
                        --new-key 5b8c06ec... --ledger 127.0.0.1:7701 --agreement agreement.toml
    """


@recover.command()
@click.option("--key", "key_path", type=_FILE, required=True, help="File of the new key to draw.")
@click.option("--agreement", "agreement_path", type=_FILE, required=True)
@click.option(
    "--author",
    "name",
    required=True,
    help="Whose key it will be: an id in the agreement (or parties.ID, where two share it), or a node's id.",
)
@click.option("--out", "out_path", type=_FILE, required=True, help="Request to write.")
@output_option
def request(
    *, key_path: Path, agreement_path: Path, name: str, out_path: Path, output: str
) -> None:
    """Draw a new key, and write the request that proves that you hold it.

    KEY must not exist: move a stolen one away. The new key says nothing until the request is logged. Tell whoever signs
    it what is printed as new_key, by a way that no thief can change.

    \b
    Example:
      stillwatch agent recover request --key aurora.key --agreement agreement.toml \\
        --author aurora --out aurora.json
    """
    pins = read_agreement(agreement_path)
    author = _author(pins, name)
    key = draw_successor(key_path, author)
    try:
        out_path.write_text(
            encode_request(request_recovery(key, author, pins.digest)), encoding="utf-8"
        )
    except OSError as error:
        raise IdentityError("UNWRITABLE", f"cannot write {out_path}: {error.strerror}") from error
    show(output, {"author": author.hex(), "new_key": key.key_id.hex(), "request": str(out_path)})


@recover.command()
@click.option(
    "--by",
    "by_path",
    type=_FILE,
    required=True,
    help="The recovery key, the node's party's key, or an adjudicator's.",
)
@click.option("--request", "request_path", type=_FILE, required=True)
@digest_option(
    "--new-key", "SHA-256 of the new key, as its owner told you: another request is refused."
)
@click.option("--reason", help="Why, for people; everybody can read it.")
@log_options
def sign(
    *,
    by_path: Path,
    request_path: Path,
    new_key: bytes,
    reason: str | None,
    ledger: str,
    tls: ClientTls | None,
    agreement_path: Path,
    origin: str | None,
    clock_text: str | None,
    output: str,
) -> None:
    """Give an author the new key that it asks for; an adjudicator votes, and a quorum for one key gives it.

    \b
    Example:
      stillwatch agent recover sign --by aurora-recovery.key --request aurora.json \\
        --new-key 5b8c06ec... --reason "stolen on 3 June" --ledger 127.0.0.1:7701 --agreement agreement.toml
    """
    pins = read_agreement(agreement_path)
    log = choose_log(pins, origin)
    clock = parse_clock(clock_text, log.origin)
    try:
        asked = decode_request(request_path.read_text(encoding="utf-8"), str(request_path))
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityError("NOT_A_REQUEST", f"{request_path}: {error}") from error
    found = verify_request(asked, pins.digest)
    if found.key_id != new_key:
        raise IdentityError(
            "OTHER_KEY",
            f"{request_path}: asks for the key {found.key_id.hex()}, not for the one that you were told: ask its owner",
        )
    right = entitled(pins, read_author(by_path, read_signing_key(by_path)), asked.author)
    with LedgerClient(ledger, tls) as client:
        published = publish(
            client,
            by_path,
            asked.message(reason),
            now_ms=clock.now_ms(),
            pins=pins,
            origin=log.origin,
        )
    panel = pins.panel
    show(
        output,
        {
            "author": asked.author.hex(),
            "new_key": new_key.hex(),
            "done": "replaced"
            if right != "vote" or panel is None
            else f"voted; it is replaced once {panel.quorum} of the panel's newest votes are for this key",
            "index": published.index,
        },
    )


def _author(pins: Pins, name: str) -> bytes:
    """Return the author that somebody calls by its id in the agreement, or by its digest."""
    pinned = [pin for pin in pins.by_key.values() if pin.role is not Role.LEDGER]
    found = [pin for pin in pinned if name in {pin.id, f"{pin.role.value}.{pin.id}"}]
    if len(found) == 1:
        return found[0].key_id
    if found:
        listed = ", ".join(f"{pin.role.value}.{pin.id}" for pin in found)
        raise IdentityError("AMBIGUOUS_AUTHOR", f"{name!r} may be {listed}: write which")
    try:
        digest = bytes.fromhex(name.removeprefix("sha256:"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        listed = ", ".join(pin.id for pin in pinned)
        raise IdentityError(
            "UNKNOWN_AUTHOR",
            f"{name!r} is neither in the agreement ({listed}) nor a node's id of 64 hexadecimal digits",
        )
    return digest
