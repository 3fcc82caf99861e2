"""Options of commands that say something of keys in a log: which ledger, under which agreement, and which key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from statements.options import clock_option, output_option
from statements.tls_option import tls_option

FC = TypeVar("FC", bound=Callable[..., Any])
_DIGEST_LENGTH = 32


def log_options(command: FC) -> FC:
    """Give a command ``ledger``, ``tls``, ``agreement_path``, ``origin``, ``clock_text`` and ``output``."""
    for option in reversed(
        (
            click.option("--ledger", required=True, help="HOST:PORT of the ledger."),
            tls_option,
            click.option(
                "--agreement",
                "agreement_path",
                type=click.Path(path_type=Path, dir_okay=False),
                required=True,
            ),
            click.option("--origin", help="Which of the agreement's logs, when it lists several."),
            clock_option,
            output_option,
        )
    ):
        command = option(command)
    return command


def digest_option(name: str, help_text: str) -> Callable[[FC], FC]:
    """Return a required option that names a key by its digest."""
    return click.option(name, callback=_digest, required=True, metavar="DIGEST", help=help_text)


def _digest(_context: click.Context, _parameter: click.Parameter, text: str) -> bytes:
    try:
        digest = bytes.fromhex(text.removeprefix("sha256:"))
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST_LENGTH:
        raise click.BadParameter("a key is named by 64 hexadecimal digits")
    return digest
