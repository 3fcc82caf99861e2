"""Every object store there is, by the name that a ledger's settings use."""

from collections.abc import Callable
from pathlib import Path

from ledger.errors import SetupError
from ledger.objects.directory import DirectoryStore
from ledger.objects.interface import ObjectStore

STORES: dict[str, Callable[[Path], ObjectStore]] = {"directory": DirectoryStore}


def open_store(name: str, folder: Path) -> ObjectStore:
    """Open the object store of that name in a ledger's folder."""
    if name not in STORES:
        raise SetupError(
            "UNKNOWN_STORE", f"no object store is called {name!r}; there are {', '.join(STORES)}"
        )
    return STORES[name](folder)
