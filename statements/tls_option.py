"""The option of commands that speak to servers over TLS."""

from pathlib import Path

import click

from statements.tls import CA, CERTIFICATE, KEY, ClientTls


def _open(
    _context: click.Context, _parameter: click.Parameter, folder: Path | None
) -> ClientTls | None:
    return None if folder is None else ClientTls(folder)


tls_option = click.option(
    "--tls",
    "tls",
    type=click.Path(path_type=Path, file_okay=False),
    callback=_open,
    envvar="STILLWATCH_TLS",
    show_envvar=True,
    help=f"Folder of {CA}, {CERTIFICATE} and {KEY}; needed for any server that is not on this machine.",
)
