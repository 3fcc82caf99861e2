"""``stillwatch audit forks``: find two statements for one place across logs, and hand them over."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn

import click

from statements.header import Header
from statements.ledger_client import LedgerClient
from statements.offline_bundle import BUNDLE_LIMIT, decode_offline_bundle
from statements.options import output_option
from statements.pins import Pins
from statements.tls import ClientTls
from statements.tls_option import tls_option
from verifier.agreement.parse import parse_agreement
from verifier.errors import VerifierError
from verifier.evidence.forks import Source, Split, find_splits
from verifier.handover import Proof, hand_over
from verifier.mirror.prefix import fetch_prefix, served_log
from verifier.mirror.source import HttpSource, open_source
from verifier.offline.said import kind_name

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_FOUND: Final = 1


@click.command()
@click.argument("places", metavar="LOG...", nargs=-1, required=True)
@click.option("--agreement", "agreement_path", type=_FILE, required=True, help="The TOML file.")
@click.option(
    "--hand-to",
    "ledger",
    metavar="HOST:PORT",
    help="Hand each pair to this ledger, which logs what proves it.",
)
@tls_option
@output_option
def forks(
    places: tuple[str, ...],
    agreement_path: Path,
    ledger: str | None,
    tls: ClientTls | None,
    output: str,
) -> NoReturn:
    """Find authors that said two things for one place of their chain, in one log or in several.

    Each LOG is a mirror's folder, an address where a log is served, or a bundle of `stillwatch ledger export`. Two
    headers that one key signed for one place prove by themselves that it contradicted itself, whoever has them: with
    --hand-to a ledger that logged one of the two logs the other, and verdicts name the author from then on.

    Exit status: 0 none found, 1 found (and handed over, where asked), 2 usage, 4 could not run, or a ledger took no
    proof.

    \b
    Example:
      stillwatch audit forks mirror-a mirror-b --agreement agreement.toml
      stillwatch audit forks mirror-a theirs.bundle.tar --agreement agreement.toml --hand-to 127.0.0.1:7701
    """
    agreement = parse_agreement(agreement_path.read_bytes())
    found = list(find_splits([_source(place, agreement.pins, tls) for place in places]))
    proofs: list[Proof | None] = [None] * len(found)
    failures: list[VerifierError] = []
    if ledger is not None and found:
        with LedgerClient(ledger, tls) as client:
            for at, split in enumerate(found):
                try:
                    proofs[at] = hand_over(client, split)
                except VerifierError as error:
                    failures.append(error)
    told = list(zip(found, proofs, strict=True))
    if output == "json":
        shown = [_as_json(split, proof, agreement.pins) for split, proof in told]
        click.echo(json.dumps({"forks": shown}, indent=2))
    else:
        pages = [_as_text(split, proof, agreement.pins) for split, proof in told]
        click.echo("\n\n".join(pages) or "no author said two things for one place")
    if failures:
        raise failures[0]
    raise SystemExit(_FOUND if found else 0)


def _source(place: str, pins: Pins, tls: ClientTls | None) -> Source:
    """Return the records at a place: of a log, once it is verified; of a bundle, as they lie there."""
    path = Path(place)
    if path.is_file():
        if path.stat().st_size > BUNDLE_LIMIT:
            raise VerifierError("TOO_LARGE", f"{place} has more bytes than a bundle may have")
        bundle = decode_offline_bundle(path.read_bytes())
        return Source(place, bundle.indices, bundle.records, bundle.bodies)
    with ExitStack() as stack:
        source = open_source(place, tls)
        if isinstance(source, HttpSource):
            stack.enter_context(source)
        prefix = fetch_prefix(source, served_log(source, pins))
    return Source(place, range(prefix.size), prefix.entries, prefix.bodies)


def _who(header: Header, pins: Pins) -> str:
    """Return how people call the author of a header."""
    pin = pins.by_key.get(header.author)
    if pin is not None:
        return f"{pin.role.value}.{pin.id}"
    recovered = pins.by_recovery.get(header.author)
    if recovered is not None:
        return f"the recovery key of {recovered.role.value}.{recovered.id}"
    return "a node, or nobody that the agreement names"


def _as_json(split: Split, proof: Proof | None, pins: Pins) -> dict[str, object]:
    header = split.one.header
    statements = [
        {
            "log": one.place.source,
            "index": one.place.index,
            "kind": kind_name(one.header.kind),
            "statement_id": one.statement.id.hex(),
        }
        for one in (split.one, split.other)
    ]
    return {
        "author": header.author.hex(),
        "who": _who(header, pins),
        "key_id": header.key_id.hex(),
        "epoch": header.epoch.hex(),
        "sequence": header.sequence,
        "statements": statements,
        "logged": None if proof is None else {"first": proof.first, "proof": proof.second},
    }


def _as_text(split: Split, proof: Proof | None, pins: Pins) -> str:
    header = split.one.header
    lines = [
        f"{_who(header, pins)} said two things at sequence {header.sequence} of epoch {header.epoch.hex()}",
        f"  author      {header.author.hex()}",
    ]
    lines += [
        f"  {kind_name(one.header.kind):<10}  {one.statement.id.hex()}, record {one.place.index} of {one.place.source}"
        for one in (split.one, split.other)
    ]
    if proof is not None:
        lines.append(f"  handed over: record {proof.second} proves it, beside record {proof.first}")
    return "\n".join(lines)
