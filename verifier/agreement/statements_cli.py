"""``stillwatch fact`` and ``stillwatch finding``: what evaluators, parties and the panel say."""

from hashlib import sha256
from pathlib import Path

import click

from protos.stillwatch.statement.v1 import governance_pb2
from statements.pins import Role
from verifier.agreement.conditions import GREATEST, usable
from verifier.agreement.speaking import FILE, Speaker, speaks_as
from verifier.agreement.standing import read_standing, verify_listed
from verifier.instants import InstantError, parse_instant

_OUTCOMES = {
    "upheld": governance_pb2.Ruling.OUTCOME_UPHELD,
    "dismissed": governance_pb2.Ruling.OUTCOME_DISMISSED,
    "remedied": governance_pb2.Ruling.OUTCOME_REMEDIED,
}


@click.group()
def fact() -> None:
    """Publish observed indicators.

    \b
    Example:
      stillwatch fact publish --key meridian.key --ledger 127.0.0.1:7701 \\
        --agreement agreement.toml --indicator task_horizon --value 16 --source "METR, May 2026"
    """


@fact.command("publish")
@click.option("--indicator", required=True, help="Its id in the agreement.")
@click.option("--value", type=float, required=True, help="In the indicator's unit.")
@click.option("--source", required=True, help="Where it was published, or how it was measured.")
@click.option("--observed-at", help="When it was observed (RFC 3339); otherwise now.")
@click.option("--document", type=FILE, help="A document that shows it; only its SHA-256 is logged.")
@speaks_as(Role.EVALUATOR)
def publish_fact(
    *,
    indicator: str,
    value: float,
    source: str,
    observed_at: str | None,
    document: Path | None,
    who: Speaker,
    output: str,
) -> None:
    """Assert an indicator's value, as an evaluator.

    \b
    Example:
      stillwatch fact publish --key meridian.key --ledger 127.0.0.1:7701 \\
        --agreement agreement.toml --indicator task_horizon --value 16 --source "METR, May 2026"
    """
    known = {row.id: row for row in who.agreement.indicators}
    if indicator not in known:
        raise click.UsageError(f"there is no indicator {indicator!r}; there are {', '.join(known)}")
    if who.name not in known[indicator].evaluators:
        raise click.UsageError(f"{who.name} may not sign {indicator!r}: it would count for nothing")
    if not usable(value):
        raise click.UsageError(f"--value must be a finite number of at most {GREATEST:g}")
    message = governance_pb2.Fact(
        agreement=who.agreement.digest, indicator=indicator, value=value, source=source
    )
    if observed_at is not None:
        try:
            message.observed_at = parse_instant(observed_at)
        except InstantError as error:
            raise click.UsageError(f"--observed-at: {error}") from None
    if document is not None:
        message.document = sha256(document.read_bytes()).digest()
    who.say(message, output, f"{indicator} = {value:g} {known[indicator].unit}")


_MIRROR = click.option(
    "--mirror",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A copy of the log, as `audit run --mirror` keeps it: what no verdict there lists is refused.",
)


@click.group()
def finding() -> None:
    """Reply to a finding as a party, or rule on it as an adjudicator.

    \b
    Example:
      stillwatch finding reply --key aurora.key --ledger 127.0.0.1:7701 --agreement agreement.toml \\
        --finding F1 --verdict 00ff... --text "A breaker tripped; logs attached."
    """


@finding.command("reply")
@click.option("--finding", "finding_id", required=True, help="The finding's id in the verdict.")
@click.option("--verdict", required=True, help="Statement id of the logged verdict; 64 hex digits.")
@click.option("--text", required=True, help="The party's words.")
@_MIRROR
@speaks_as(Role.PARTY)
def reply(
    *,
    finding_id: str,
    verdict: str,
    text: str,
    mirror: Path | None,
    who: Speaker,
    output: str,
) -> None:
    """Answer a finding.

    \b
    Example:
      stillwatch finding reply --key aurora.key --ledger 127.0.0.1:7701 --agreement agreement.toml \\
        --finding F1 --verdict 00ff... --text "A breaker tripped; logs attached."
    """
    named = _statement_id(verdict)
    if mirror is not None:
        verify_listed(read_standing(mirror, who.agreement), finding_id, who.name, named)
    message = governance_pb2.Reply(finding=finding_id, verdict=named, text=text)
    who.say(message, output, f"reply to {finding_id}")


@finding.command("rule")
@click.option("--finding", "finding_id", required=True, help="The finding's id in the verdict.")
@click.option("--verdict", required=True, help="Statement id of the logged verdict; 64 hex digits.")
@click.option("--party", required=True, help="Whom the finding is about.")
@click.option("--outcome", type=click.Choice(sorted(_OUTCOMES)), required=True)
@click.option("--reason", required=True, help="Why.")
@_MIRROR
@speaks_as(Role.ADJUDICATOR)
def rule(
    *,
    finding_id: str,
    verdict: str,
    party: str,
    outcome: str,
    reason: str,
    mirror: Path | None,
    who: Speaker,
    output: str,
) -> None:
    """Vote on a finding, as a member of the panel.

    \b
    Example:
      stillwatch finding rule --key judge-tanaka.key --ledger 127.0.0.1:7701 --agreement agreement.toml \\
        --finding F1 --verdict 00ff... --party borealis --outcome upheld --reason "The counters agree."
    """
    if who.agreement.party(party) is None:
        listed = ", ".join(row.id for row in who.agreement.parties)
        raise click.UsageError(f"there is no party {party!r}; there are {listed}")
    if not who.agreement.panel.may_rule(who.name, party):
        raise click.UsageError(f"{who.name} may not rule on {party}: the vote would not count")
    named = _statement_id(verdict)
    if mirror is not None:
        verify_listed(read_standing(mirror, who.agreement), finding_id, party, named)
    message = governance_pb2.Ruling(
        finding=finding_id,
        verdict=named,
        party=party,
        outcome=_OUTCOMES[outcome],
        reason=reason,
        agreement=who.agreement.digest,
    )
    who.say(message, output, f"{outcome}: {finding_id} about {party}")


def _statement_id(text: str) -> bytes:
    try:
        ident = bytes.fromhex(text)
    except ValueError:
        ident = b""
    if len(ident) != 32:
        raise click.UsageError(f"--verdict must be 64 hexadecimal digits, not {text!r}")
    return ident
