"""``stillwatch meter``: what the holders of meters say."""

import click

from protos.stillwatch.statement.v1 import summary_pb2
from statements.pins import Role
from verifier.accounts.metered import MOST_MJ
from verifier.agreement.speaking import Speaker, speaks_as
from verifier.instants import InstantError, parse_instant

_MJ_PER_J = 1000


@click.group()
def meter() -> None:
    """Log what energy meters read, as one who holds them and not what they measure.

    \b
    Example:
      stillwatch meter push --key grid.key --ledger 127.0.0.1:7701 --agreement agreement.toml \\
        --subject aurora-hall --from 2026-06-01T00:00:00Z --to 2026-06-01T01:00:00Z \\
        --energy-start 81723900000 --energy-end 81730050000
    """


@meter.command("push")
@click.option("--subject", required=True, help="What it measures, in the meter's own words.")
@click.option("--from", "start_text", required=True, help="When it read --energy-start (RFC 3339).")
@click.option("--to", "end_text", required=True, help="When it read --energy-end (RFC 3339).")
@click.option("--energy-start", type=float, required=True, help="Its absolute counter then, J.")
@click.option("--energy-end", type=float, required=True, help="Its absolute counter then, J.")
@speaks_as(Role.METER)
def push(
    *,
    subject: str,
    start_text: str,
    end_text: str,
    energy_start: float,
    energy_end: float,
    who: Speaker,
    output: str,
) -> None:
    """Log two readings of an absolute energy counter.

    \b
    Example:
      stillwatch meter push --key grid.key --ledger 127.0.0.1:7701 --agreement agreement.toml \\
        --subject aurora-hall --from 2026-06-01T00:00:00Z --to 2026-06-01T01:00:00Z \\
        --energy-start 81723900000 --energy-end 81730050000
    """
    start, end = _instant("--from", start_text), _instant("--to", end_text)
    if start > end:
        raise click.UsageError("--from is after --to")
    if not 0 <= energy_start <= energy_end < MOST_MJ / _MJ_PER_J:
        raise click.UsageError(
            "--energy-start and --energy-end are joules of one counter that only rises, as it stood at the two instants"
        )
    message = summary_pb2.MeterReading(
        subject=subject,
        energy_start_mj=round(energy_start * _MJ_PER_J),
        energy_end_mj=round(energy_end * _MJ_PER_J),
    )
    who.say(message, output, f"{subject} drew {energy_end - energy_start:g} J", (start, end))


def _instant(option: str, text: str) -> int:
    try:
        return parse_instant(text)
    except InstantError as error:
        raise click.UsageError(f"{option}: {error}") from None
