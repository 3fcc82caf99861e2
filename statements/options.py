"""Options that commands of every package have, so that each is spelt and explained in one way."""

import click

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
