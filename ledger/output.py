"""What this package's commands share: how they print, and what their processes write down."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ledger.errors import ExportError, SetupError

folder_argument = click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False)
)
serving_tls_option = click.option(
    "--tls",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of cert.pem, key.pem and so on; needed to be reached from other machines.",
)


def show(output: str, result: Mapping[str, object], lines: Sequence[str]) -> None:
    """Print a result on stdout: ``lines`` for people, ``result`` for programs."""
    click.echo(json.dumps(result, indent=2) if output == "json" else "\n".join(lines))


def write_file(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all; raises :class:`ExportError`."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ExportError("UNWRITABLE", f"cannot write {path}: {error.strerror}") from error


def tell_ready(path: Path | None, places: Mapping[str, str]) -> None:
    """Write where a process serves into the file that was asked for, if one was; raises :class:`SetupError`."""
    if path is None:
        return
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_text(json.dumps(places) + "\n")
        fresh.replace(path)
    except OSError as error:
        raise SetupError("UNWRITABLE", f"cannot write {path}: {error.strerror}") from error
