"""What an auditor's commands start from: the agreement, its digest as it was had from elsewhere, and a log."""

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
