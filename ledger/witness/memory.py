"""What a witness remembers: the logs that it knows, and the newest checkpoint that it cosigned of each.

One SQLite file, ``synchronous=FULL``: what was cosigned is durable before the cosignature leaves the machine, and
comparing with what is known and writing what is new are one transaction. After a sync that failed nothing is answered
any more (statements/sqlite_file.py says why): the process ends, and the next one has all that it finds written anew.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from ledger.errors import WitnessStoreError
from statements.sqlite_file import UNSYNCED, error_name, settle
from tlog.witness import UNKNOWN, Known

_SCHEMA: Final = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
CREATE TABLE IF NOT EXISTS logs (
    origin TEXT PRIMARY KEY, vkey TEXT NOT NULL,
    size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS splits (origin TEXT PRIMARY KEY, one BLOB NOT NULL, other BLOB NOT NULL) STRICT;
"""

UNSYNCED_MEMORY: Final = "UNSYNCED"
"""Reason of the error after which a memory answers nothing any more."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WitnessedLog:
    """A log that is witnessed: its key, what was cosigned of it last, and the log's note of that; empty before any."""

    vkey: str
    known: Known
    note: bytes


class WitnessMemory:
    """The memory in one file. Any thread may use it.

    Every method raises :class:`WitnessStoreError` when the storage fails; then nothing of the call took effect. After
    one with the reason :data:`UNSYNCED_MEMORY` nobody knows what is on the disk, and every call raises it again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._unsynced: WitnessStoreError | None = None
        self._base = self._run(
            lambda: sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        )
        self._run(lambda: self._base.executescript(_SCHEMA))
        self._run(lambda: settle(self._base, path))

    def add_log(self, origin: str, vkey: str) -> None:
        """Know a log from now on; raises :class:`WitnessStoreError` when it is known by another key."""
        held = self.log(origin)
        if held is not None and held.vkey != vkey:
            raise WitnessStoreError(
                "OTHER_KEY",
                f"{origin} is witnessed under another key: a log keeps its key for ever",
            )
        self._run(
            lambda: self._base.execute(
                "INSERT OR IGNORE INTO logs VALUES (?, ?, ?, ?, x'')",
                (origin, vkey, UNKNOWN.size, UNKNOWN.root),
            )
        )

    def log(self, origin: str) -> WitnessedLog | None:
        """Return what is known of a log, ``None`` of one that is not witnessed."""
        with self._lock:
            row = self._run(
                lambda: self._base.execute(
                    "SELECT vkey, size, root, note FROM logs WHERE origin = ?", (origin,)
                ).fetchone()
            )
        return None if row is None else WitnessedLog(row[0], Known(row[1], row[2]), row[3])

    def origins(self) -> tuple[str, ...]:
        """Return the origins of all logs that are witnessed."""
        with self._lock:
            rows = self._run(
                lambda: self._base.execute("SELECT origin FROM logs ORDER BY origin").fetchall()
            )
        return tuple(row[0] for row in rows)

    def advance(self, origin: str, known: Known, new: Known, note: bytes) -> bool:
        """Remember ``new`` of a log, which ``note`` says, if ``known`` is still what is known; return whether it was.

        Durable when this returns.
        """
        with self._lock:
            done = self._run(
                lambda: self._base.execute(
                    "UPDATE logs SET size = ?, root = ?, note = ? WHERE origin = ? AND size = ? AND root = ?",
                    (new.size, new.root, note, origin, known.size, known.root),
                )
            )
        return done.rowcount == 1

    def keep_split(self, origin: str, one: bytes, other: bytes) -> None:
        """Keep two notes of a log that name two trees of one size: the proof that it showed two histories.

        The first such pair is kept: it is proof enough.
        """
        with self._lock:
            self._run(
                lambda: self._base.execute(
                    "INSERT OR IGNORE INTO splits VALUES (?, ?, ?)", (origin, one, other)
                )
            )

    def split(self, origin: str) -> tuple[bytes, bytes] | None:
        """Return two notes of a log that contradict each other; ``None`` when none were seen."""
        with self._lock:
            row = self._run(
                lambda: self._base.execute(
                    "SELECT one, other FROM splits WHERE origin = ?", (origin,)
                ).fetchone()
            )
        return None if row is None else (row[0], row[1])

    def close(self) -> None:
        """Let go of the storage."""
        with self._lock, suppress(sqlite3.Error):
            self._base.close()

    def _run(self, action: Callable[[], T]) -> T:
        if self._unsynced is not None:
            raise self._unsynced
        try:
            return action()
        except sqlite3.Error as error:
            code = error_name(error)
            if code in UNSYNCED:
                self._unsynced = WitnessStoreError(
                    UNSYNCED_MEMORY,
                    f"a sync of the witness's memory {self._path} failed ({code}): what is on the disk is in doubt, "
                    "and nothing more is cosigned; repair the disk, then start the witness again, which finds out",
                )
                raise self._unsynced from error
            raise WitnessStoreError(
                "STORAGE",
                f"the witness's memory {self._path} failed ({code}: {error}): free space or repair the disk",
            ) from error
