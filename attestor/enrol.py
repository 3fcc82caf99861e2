"""``stillwatch agent enrol``: the node asks, its party signs."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import click

from attestor.config import choose_log, read_agreement
from attestor.errors import IdentityError
from attestor.identity import (
    EnrolmentRequest,
    decode_request,
    encode_request,
    enrolment,
    party_author,
    request_enrolment,
    token_digest,
    verify_request,
)
from attestor.output import Json, show
from attestor.settings import parse_instant
from statements.clock import parse_clock
from statements.errors import SubmissionError
from statements.keys import read_author, read_signing_key
from statements.ledger_client import LedgerClient
from statements.options import clock_option, output_option
from statements.publication import publish
from statements.signing import key_digest
from statements.tls import ClientTls
from statements.tls_option import tls_option

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def enrol() -> None:
    """Make a node's key live: the node makes a request, its party signs and logs it.

    \b
    Example:
      (both)          export STILLWATCH_ENROL_TOKEN=...    # one-time, from the party, any random text
      (on the node)   stillwatch agent enrol request --key node1.key --agreement agreement.toml \\
                        --party lab-a --name node1 --chips 8 --out node1.json
      (at the party)  stillwatch agent enrol sign --party-key party.key --request node1.json \\
                        --site hall-2 --ledger 127.0.0.1:7701 --agreement agreement.toml
    """


_VARIABLE = "STILLWATCH_ENROL_TOKEN"


@enrol.command()
@click.option("--key", "key_path", type=_FILE, required=True, help="The node's key.")
@click.option(
    "--token",
    envvar=_VARIABLE,
    required=True,
    help=f"The one-time token that the party gave; best in {_VARIABLE}, out of sight of other users.",
)
@click.option("--agreement", "agreement_path", type=_FILE, required=True)
@click.option("--party", required=True, help="The party's id in the agreement.")
@click.option("--name", required=True, help="The node's name, 1 to 64 characters.")
@click.option("--chips", type=click.IntRange(0, 4096), required=True, help="Chips in the node.")
@click.option("--chip-model", default="", help="Model of the chips, as the driver names it.")
@click.option("--out", "out_path", type=_FILE, required=True, help="Request to write.")
@output_option
def request(
    *,
    key_path: Path,
    token: str,
    agreement_path: Path,
    party: str,
    name: str,
    chips: int,
    chip_model: str,
    out_path: Path,
    output: str,
) -> None:
    """Write a node's request to be enrolled, which proves that the node holds its key.

    \b
    Example:
      stillwatch agent enrol request --key node1.key --agreement agreement.toml --party lab-a \\
        --name node1 --chips 8 --chip-model "NVIDIA H100 80GB HBM3" --out node1.json
    """
    pins = read_agreement(agreement_path)
    key = read_signing_key(key_path)
    made = request_enrolment(
        key,
        token=token,
        name=name,
        agreement=pins.digest,
        party=party_author(pins, party),
        chips=chips,
        chip_model=chip_model,
    )
    try:
        out_path.write_text(encode_request(made), encoding="utf-8")
    except OSError as error:
        raise IdentityError("UNWRITABLE", f"cannot write {out_path}: {error.strerror}") from error
    show(output, {"node_id": key.key_id.hex(), "request": str(out_path)})


@enrol.command()
@click.option("--party-key", type=_FILE, required=True, help="The party's key.")
@click.option(
    "--request", "request_paths", type=_FILE, required=True, multiple=True, help="May be repeated."
)
@click.option(
    "--token",
    "tokens",
    envvar=_VARIABLE,
    required=True,
    multiple=True,
    help=f"A token handed out; may be repeated. Or several in {_VARIABLE}, apart by spaces.",
)
@click.option("--site", required=True, help="The site's name, 1 to 64 characters.")
@click.option("--ledger", required=True, help="HOST:PORT of the ledger.")
@tls_option
@click.option("--agreement", "agreement_path", type=_FILE, required=True)
@click.option("--origin", help="Which of the agreement's logs, when it lists several.")
@click.option("--accounted-from", help="First instant to account for (RFC 3339); default: now.")
@clock_option
@output_option
def sign(
    *,
    party_key: Path,
    request_paths: tuple[Path, ...],
    tokens: tuple[str, ...],
    site: str,
    ledger: str,
    tls: ClientTls | None,
    agreement_path: Path,
    origin: str | None,
    accounted_from: str | None,
    clock_text: str | None,
    output: str,
) -> None:
    """Verify nodes' requests, sign their enrolments with the party's key, and log them.

    Each token serves one request. From --accounted-from on, time without evidence of the node's chips counts against
    the party.

    \b
    Example:
      stillwatch agent enrol sign --party-key party.key --request node1.json --request node2.json \\
        --site hall-2 --ledger 127.0.0.1:7701 --agreement agreement.toml
    """
    pins = read_agreement(agreement_path)
    log = choose_log(pins, origin)
    clock = parse_clock(clock_text, log.origin)
    party = read_author(party_key, read_signing_key(party_key))
    from_ms = None if accounted_from is None else parse_instant(accounted_from, "--accounted-from")
    unused = {token_digest(token) for token in tokens}
    verified = []
    for path in request_paths:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise IdentityError("NOT_A_REQUEST", f"{path}: {error}") from error
        found = decode_request(text, str(path))
        verify_request(found, agreement=pins.digest, party=party, tokens=unused)
        unused.discard(found.token_digest)
        verified.append(found)
    enrolled: list[Json] = []
    with LedgerClient(ledger, tls) as client, _progress(verified) as requests:
        for found in requests:
            try:
                published = publish(
                    client,
                    party_key,
                    enrolment(found, site=site, accounted_from_ms=from_ms),
                    now_ms=clock.now_ms(),
                    pins=pins,
                    origin=log.origin,
                )
            except SubmissionError as error:
                raise IdentityError(
                    error.reason,
                    f"{found.name} is not enrolled: {error}; enrolled before it: {len(enrolled)} of {len(verified)}",
                ) from error
            node_id = key_digest(found.node_key).hex()
            enrolled.append({"name": found.name, "node_id": node_id, "index": published.index})
    show(output, {"site": site, "enrolled": enrolled})


def _progress(
    requests: Sequence[EnrolmentRequest],
) -> AbstractContextManager[Iterable[EnrolmentRequest]]:
    """Return the requests behind a bar on stderr, when there are several and somebody watches."""
    hidden = len(requests) == 1 or not sys.stderr.isatty()
    return click.progressbar(requests, label="enrolling", file=sys.stderr, hidden=hidden)
