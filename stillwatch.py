"""The command ``stillwatch``: one group that loads the rest on demand."""

import click

from statements.lazy_group import Entry, LazyGroup

COMMANDS = {
    "demo": Entry("simulator.cli", "demo", "Watch labs pause together, and some defect.", "sim"),
    "agent": Entry("attestor.cli", "agent", "Attest the chips of a node."),
    "ledger": Entry("ledger.cli", "ledger", "Run and check a transparency log.", "ledger"),
    "witness": Entry(
        "ledger.witness.cli", "witness", "Cosign logs, so that none shows two histories.", "ledger"
    ),
    "agreement": Entry(
        "verifier.agreement.cli", "agreement", "Check, join and follow an agreement.", "verifier"
    ),
    "fact": Entry(
        "verifier.agreement.statements_cli", "fact", "Publish an observed indicator.", "verifier"
    ),
    "finding": Entry(
        "verifier.agreement.statements_cli", "finding", "Reply to a finding, or rule.", "verifier"
    ),
    "meter": Entry("verifier.agreement.meter_cli", "meter", "Log what a meter read.", "verifier"),
    "audit": Entry("verifier.cli", "audit", "Audit a pause from its logs.", "verifier"),
    "verify": Entry(
        "verifier.offline.cli", "verify", "Check bundles, records and verdicts handed over."
    ),
    "sim": Entry("simulator.cli", "sim", "Look at workloads and strategies.", "sim"),
}
"""Every command, in the order in which help lists them."""


class CouldNotRun(click.ClickException):
    """The command could not do its work; nothing was concluded."""

    exit_code = 4


class Stillwatch(LazyGroup):
    """The commands; an error that says what is wrong is no trace."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; an error that carries a reason code is one line and exit status 4.

        Errors without one are defects, and keep their traces.
        """
        try:
            return super().invoke(ctx)
        except Exception as error:
            reason = getattr(error, "reason", None)
            if not isinstance(reason, str) or isinstance(error, click.ClickException):
                raise
            raise CouldNotRun(f"{error} [{reason}]") from error


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        import importlib.metadata  # noqa: PLC0415 - it takes as long as all else here

        click.echo(f"stillwatch {importlib.metadata.version('stillwatch')}")
        ctx.exit()


@click.group(
    cls=Stillwatch,
    entries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: stillwatch demo --keep /tmp/pause",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version and exit.",
)
def main() -> None:
    """Verify that a coordinated pause or slowdown of frontier AI training is being kept.

    Agents on GPU nodes sign what they read; a transparency log keeps it; auditors check every byte and say what was
    kept, what was broken, and what could not be told.
    """


if __name__ == "__main__":
    main()
