"""The command ``stillwatch``: one group that loads the rest on demand."""

import importlib
import importlib.metadata
from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is loaded when it is asked for: where it is, and one line of help."""

    module: str
    attribute: str
    help: str
    extra: str | None = None


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


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands' names, in reading order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; a missing extra is one line that says what to install."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            module = importlib.import_module(entry.module)
        except ModuleNotFoundError as error:
            own = (error.name or "").partition(".")[0]
            if entry.extra is None or own in _OWN_PACKAGES:
                raise
            raise click.ClickException(
                f"`stillwatch {cmd_name}` needs {error.name}: pip install 'stillwatch[{entry.extra}]'"
            ) from None
        command = getattr(module, entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}:{entry.attribute} is not a command")
        return command

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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


_OWN_PACKAGES = frozenset(
    {"attestor", "ledger", "protos", "simulator", "statements", "tlog", "verifier"}
)


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"stillwatch {importlib.metadata.version('stillwatch')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
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
