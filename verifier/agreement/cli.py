"""``stillwatch agreement``: check a text, join it, leave it."""

import json
from importlib import resources
from pathlib import Path

import click

from protos.stillwatch.statement.v1 import governance_pb2
from statements.options import output_option
from statements.pins import Role
from verifier.accounts.chips import read_chip_table
from verifier.agreement.check import Level, check_agreement
from verifier.agreement.explanation import state_as_json, state_as_text
from verifier.agreement.speaking import FILE, Speaker, load, speaks_as
from verifier.agreement.standing import read_standing


@click.group()
def agreement() -> None:
    """Check, join and follow an agreement.

    \b
    Example:
      stillwatch agreement check policies/agreements/frontier-pause.toml
    """


@agreement.command()
@click.argument("file", type=FILE)
@output_option
def check(file: Path, output: str) -> None:
    """Say what an agreement could never show, and what its parties should know.

    Exits with 2 when the agreement is refused.

    \b
    Example:
      stillwatch agreement check policies/agreements/frontier-pause.toml
    """
    read = load(file)
    table = resources.files("policies").joinpath("reference", "chips.toml").read_bytes()
    remarks = check_agreement(read, read_chip_table(table))
    refused = any(remark.level is Level.ERROR for remark in remarks)
    if output == "json":
        tree = {
            "agreement": {"id": read.id, "digest": f"sha256:{read.digest.hex()}"},
            "refused": refused,
            "remarks": [
                {
                    "level": remark.level.value,
                    "reason": remark.reason,
                    "place": remark.place,
                    "message": remark.message,
                }
                for remark in remarks
            ],
        }
        click.echo(json.dumps(tree, indent=2))
    else:
        click.echo(f"{read.title} ({read.id}, version {read.version})")
        click.echo(f"digest sha256:{read.digest.hex()}")
        for remark in remarks:
            click.echo(f"{remark.level.value}: {remark.place}: {remark.message} [{remark.reason}]")
    if refused:
        raise click.UsageError(f"{file}: refused; see the errors above")


@agreement.command()
@click.option("--agreement", "file", type=FILE, required=True, help="The agreement's TOML file.")
@click.option(
    "--mirror",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="A verified copy of the log.",
)
@output_option
def state(file: Path, mirror: Path, output: str) -> None:
    """Say where an agreement is in its life, and which statements brought it there.

    \b
    Example:
      stillwatch agreement state --agreement agreement.toml --mirror mirror/
    """
    read = load(file)
    now = read_standing(mirror, read)
    if output == "json":
        click.echo(json.dumps(state_as_json(read, now), indent=2))
    else:
        click.echo(state_as_text(read, now))


@agreement.command()
@speaks_as(Role.PARTY)
def accede(*, who: Speaker, output: str) -> None:
    """Accede as a party, on the condition that the agreement states for it.

    \b
    Example:
      stillwatch agreement accede --key aurora.key --ledger 127.0.0.1:7701 --agreement agreement.toml
    """
    message = governance_pb2.Accession(agreement=who.agreement.digest, party=who.name)
    who.say(message, output, f"{who.name} accedes")


@agreement.command()
@click.option("--reason", help="Why, for people.")
@speaks_as(Role.PARTY)
def withdraw(*, reason: str | None, who: Speaker, output: str) -> None:
    """Give notice that a party leaves; it stays bound until the notice is over.

    \b
    Example:
      stillwatch agreement withdraw --key aurora.key --ledger 127.0.0.1:7701 --agreement agreement.toml
    """
    message = governance_pb2.Withdrawal(agreement=who.agreement.digest, party=who.name)
    if reason is not None:
        message.reason = reason
    who.say(message, output, f"{who.name} gives notice to withdraw")
