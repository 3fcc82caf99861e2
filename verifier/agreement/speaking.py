"""What commands that say something under an agreement share: who speaks, where to, and by which clock."""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from google.protobuf.message import Message

from statements.clock import Clock, parse_clock
from statements.keys import read_author, read_signing_key
from statements.ledger_client import LedgerClient
from statements.options import clock_option, output_option
from statements.pins import Role
from statements.publication import publish
from statements.tls import ClientTls
from statements.tls_option import tls_option
from verifier.agreement.errors import AgreementError
from verifier.agreement.model import Agreement
from verifier.agreement.parse import parse_agreement

FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@dataclass(frozen=True, slots=True)
class Speaker:
    """One who is about to say something: a key that the agreement pins, an agreement, a log, a clock."""

    key_path: Path
    name: str
    agreement: Agreement
    ledger: str
    tls: ClientTls | None
    origin: str
    clock: Clock

    def say(
        self, message: Message, output: str, said: str, period: tuple[int, int] | None = None
    ) -> None:
        """Publish a message and print where it is; ``said`` tells people what it was, ``period`` of when it speaks."""
        with LedgerClient(self.ledger, self.tls) as client:
            published = publish(
                client,
                self.key_path,
                message,
                now_ms=self.clock.now_ms(),
                pins=self.agreement.pins,
                origin=self.origin,
                period=period,
            )
        result = {
            "said": said,
            "by": self.name,
            "statement_id": published.statement_id.hex(),
            "log": self.origin,
            "index": published.index,
        }
        show(output, result)


def show(output: str, result: Mapping[str, object]) -> None:
    """Print a flat result on stdout, a line a value or as JSON."""
    if output == "json":
        click.echo(json.dumps(result, indent=2))
        return
    width = max(len(key) for key in result)
    for key, value in result.items():
        click.echo(f"{key:<{width}}  {value}")


def load(path: Path) -> Agreement:
    """Return the agreement in a file; what is wrong with it is a usage error that names the file."""
    try:
        return parse_agreement(path.read_bytes())
    except AgreementError as error:
        raise click.UsageError(f"{path}: {error} [{error.reason}]") from None


def speaks_as(role: Role) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of one who speaks in a role, and call it with ``who`` and ``output``."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(
            *,
            key_path: Path,
            ledger: str,
            tls: ClientTls | None,
            agreement_path: Path,
            origin: str | None,
            clock_text: str | None,
            **given: object,
        ) -> None:
            agreement = load(agreement_path)
            chosen = _origin(agreement, origin)
            command(
                who=Speaker(
                    key_path,
                    _name(agreement, key_path, role),
                    agreement,
                    ledger,
                    tls,
                    chosen,
                    parse_clock(clock_text, chosen),
                ),
                **given,
            )

        for option in reversed(_OPTIONS):
            run = option(run)
        return run

    return decorate


_OPTIONS = (
    click.option("--key", "key_path", type=FILE, required=True, help="The speaker's key file."),
    click.option("--ledger", required=True, metavar="HOST:PORT", help="Where to log it."),
    tls_option,
    click.option(
        "--agreement", "agreement_path", type=FILE, required=True, help="The agreement's TOML file."
    ),
    click.option("--origin", help="Which log, where the agreement lists several."),
    clock_option,
    output_option,
)


def _origin(agreement: Agreement, wanted: str | None) -> str:
    origins = [pin.origin for pin in agreement.pins.ledgers]
    if wanted is None and len(origins) > 1:
        raise click.UsageError(
            f"the agreement lists several logs: choose --origin {' | '.join(origins)}"
        )
    if wanted is not None and wanted not in origins:
        raise click.UsageError(f"the agreement lists no log {wanted!r}, only {', '.join(origins)}")
    return wanted or origins[0]


def _name(agreement: Agreement, key_path: Path, role: Role) -> str:
    """Return whose key it is, having checked that the agreement pins it in that role."""
    pin = agreement.pins.by_key.get(read_author(key_path, read_signing_key(key_path)))
    if pin is None:
        raise click.UsageError(f"{key_path}: the agreement pins no such key")
    if pin.role is not role:
        raise click.UsageError(
            f"{key_path}: is the key of {pin.id!r} in {pin.role.value}; this takes one of {role.value}"
        )
    return pin.id
