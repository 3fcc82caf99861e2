"""``stillwatch ledger``: run and check a transparency log."""

import click

from statements.lazy_group import Entry, LazyGroup

_FOLDER = "ledger.folder_cli"


@click.group(
    cls=LazyGroup,
    entries={
        "init": Entry(_FOLDER, "init", "Make a ledger, in two steps."),
        "serve": Entry("ledger.serve_cli", "serve_command", "Serve a log until stopped."),
        "checkpoint": Entry(
            _FOLDER, "checkpoint", "Print the newest checkpoint that a folder serves."
        ),
        "prove": Entry(_FOLDER, "prove", "Prove that a record is in the newest checkpoint's tree."),
        "export": Entry(
            _FOLDER, "export_command", "Write records into one file that verifies offline."
        ),
        "fsck": Entry(_FOLDER, "fsck", "Rebuild a log from its files, and say what is wrong."),
    },
)
def ledger() -> None:
    """Run and check a transparency log.

    \b
    Example:
      stillwatch ledger init log --origin log.example/pause
      stillwatch ledger init log --agreement agreement.toml
      stillwatch ledger serve log
      stillwatch ledger fsck log
    """
