"""``stillwatch agent convert``: recordings from one form into the other."""

import os
from pathlib import Path

import click

from attestor.output import show
from attestor.recording import CSV, PARQUET, convert
from statements.options import output_option


class RecordingName(click.Path):
    """The path of a recording to be written, whose name says its form."""

    name = "recording"

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Return the path; a name that says no form is a usage error."""
        if not Path(value).name.endswith((CSV, PARQUET)):
            self.fail(f"a recording's name ends in {CSV} or {PARQUET}", param, ctx)
        return Path(value)


@click.command("convert")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("target", metavar="OUT", type=RecordingName())
@output_option
def convert_command(source: Path, target: Path, output: str) -> None:
    """Write the recording IN to OUT, as Parquet or as gzip of CSV, by its name. Nothing is lost.

    \b
    Example:
      stillwatch agent convert night.csv.gz night.parquet
    """
    rows = convert(source, target)
    show(
        output,
        {
            "recording": str(target),
            "rows": rows,
            "bytes": target.stat().st_size,
            "bytes_before": source.stat().st_size,
        },
    )
