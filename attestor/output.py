"""How commands print results: text for people, JSON for programs; on stdout, nothing else there."""

import json
from collections.abc import Mapping

import click

from attestor.preview import Json, as_text

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the result.",
)


def show(output: str, result: Mapping[str, Json]) -> None:
    """Print a result on stdout, as ``output`` ("text" or "json") asks."""
    click.echo(json.dumps(result, indent=2) if output == "json" else as_text(result))
