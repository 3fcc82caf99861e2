"""Groups of commands that are imported when they are run: each starts with what it needs, and no more."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

_OWN_PACKAGES: Final = frozenset(
    {"attestor", "ledger", "protos", "simulator", "statements", "tlog", "verifier"}
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: where it is, one line of help, and which extra of ``stillwatch`` brings what it imports, if any."""

    module: str
    attribute: str
    help: str
    extra: str | None = None


class LazyGroup(click.Group):
    """A group of ``entries``, by name, in the order in which help lists them."""

    def __init__(self, *, entries: Mapping[str, Entry], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands' names, in reading order."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; a missing extra is one line that says what to install."""
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        try:
            module = importlib.import_module(entry.module)
        except ModuleNotFoundError as error:
            raise self._explained(ctx, cmd_name, error) from None
        command = getattr(module, entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}:{entry.attribute} is not a command")
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a command, which may import more; a missing extra is told as by :meth:`get_command`."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise self._explained(ctx, ctx.invoked_subcommand or "", error) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self._entries.items()])

    def _explained(self, ctx: click.Context, name: str, error: ModuleNotFoundError) -> Exception:
        """Return what to say of a module that is not there: an error of our own stays as it is."""
        entry = self._entries.get(name)
        own = (error.name or "").partition(".")[0]
        if entry is None or entry.extra is None or own in _OWN_PACKAGES:
            return error
        return click.ClickException(
            f"`{ctx.command_path} {name}` needs {error.name}: pip install 'stillwatch[{entry.extra}]'"
        )
