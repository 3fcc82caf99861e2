"""SQLite files that are not believed beyond what is on the disk.

When the disk does not take what it was given, Linux tells of it once, at the next sync; then the pages count as clean,
are read from memory as if nothing had happened, and are lost with the power. So a commit whose sync failed may be found
by whoever opens the file next, and still not be on the disk; to sync again does not help: nothing is left to write.
After such a failure (:data:`UNSYNCED`) a connection is not used any more, and on a fresh one :func:`settle` writes anew
whatever it found.
"""

import sqlite3
from pathlib import Path
from typing import Final

from statements.keys import sync_folder

UNSYNCED: Final = frozenset({"SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC"})
"""What SQLite calls a sync that failed."""


def error_name(error: sqlite3.Error) -> str:
    """Return what SQLite calls an error."""
    return getattr(error, "sqlite_errorname", type(error).__name__)


def settle(connection: sqlite3.Connection, path: Path) -> None:
    """Have everything that a file in WAL mode with ``synchronous=FULL`` holds on the disk, names included.

    What the write-ahead log holds is written to the database and synced: pages that an earlier failure left clean and
    unwritten are written after all. SQLite itself overlooks a sync of the folder that fails. Raises
    :class:`sqlite3.Error`.
    """
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError(f"another process holds {path}")
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise sqlite3.OperationalError(
            f"the folder of {path} is not synced: {error.strerror}"
        ) from error
