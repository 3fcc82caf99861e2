"""Every journal there is, by the name that a ledger's settings use."""

from collections.abc import Callable
from pathlib import Path

from ledger.errors import SetupError
from ledger.journal.interface import Journal
from ledger.journal.sqlite import SqliteJournal

JOURNALS: dict[str, Callable[[Path], Journal]] = {"sqlite": SqliteJournal}


def open_journal(name: str, path: Path) -> Journal:
    """Open the journal of that name in a ledger's private folder."""
    if name not in JOURNALS:
        raise SetupError(
            "UNKNOWN_JOURNAL", f"no journal is called {name!r}; there are {', '.join(JOURNALS)}"
        )
    return JOURNALS[name](path)
