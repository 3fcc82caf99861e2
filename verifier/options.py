"""What an auditor's commands start from: the agreement, its digest as it was had from elsewhere, and a log.

And over how many processes the work is shared out."""

from pathlib import Path

import click

agreement_option = click.option(
    "--agreement",
    "agreement_path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="The TOML file.",
)
agreement_digest_option = click.option(
    "--agreement-digest",
    metavar="sha256:HEX",
    help="The agreement's digest, as you had it from elsewhere: another file is refused.",
)
log_option = click.option(
    "--log", "place", required=True, metavar="URL_OR_DIR", help="Where the log is served."
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Share the work out over so many processes; the verdict is the same.",
)
