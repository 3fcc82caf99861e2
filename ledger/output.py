"""What this package's commands share: how they print, and what their processes write down."""

import json
import logging
import sys
from collections.abc import Mapping, Sequence

import click
import structlog

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the result.",
)
clock_option = click.option(
    "--rehearsal-clock", "clock_text", help="REAL_MS:CLOCK_MS:RATE; rehearsals only."
)


def show(output: str, result: Mapping[str, object], lines: Sequence[str]) -> None:
    """Print a result on stdout: ``lines`` for people, ``result`` for programs."""
    click.echo(json.dumps(result, indent=2) if output == "json" else "\n".join(lines))


def log_as_json() -> None:
    """Have structured logs written to stderr, an object a line."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
