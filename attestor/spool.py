"""The spool: signed statements on disk before they are first sent, until the log proved it has them.

One SQLite file serves any number of nodes. A statement is here before anybody else sees it; it is
freed once its inclusion in a verified checkpoint was verified. Commits are synced to disk. After a sync that failed the
file is opened afresh, and all that is found in it written anew (statements/sqlite_file.py says why).
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from attestor.errors import SpoolError
from statements.author import Author, Seen, Statement
from statements.sqlite_file import UNSYNCED, error_name, settle

VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE statement (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    author BLOB NOT NULL,
    epoch BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    id BLOB NOT NULL UNIQUE,
    header BLOB NOT NULL,
    signature BLOB NOT NULL,
    stored BLOB NOT NULL,
    log_index INTEGER,
    record BLOB,
    UNIQUE (author, epoch, sequence)
);
CREATE INDEX unlogged ON statement (author, place) WHERE log_index IS NULL;
CREATE INDEX unproven ON statement (log_index) WHERE log_index IS NOT NULL;
CREATE TABLE head (
    author BLOB PRIMARY KEY,
    epoch BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    id BLOB NOT NULL
);
CREATE TABLE seen (
    log BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A statement in the spool. ``place`` orders it; the log's index and record once acknowledged."""

    place: int
    author: bytes
    epoch: bytes
    sequence: int
    statement: Statement
    log_index: int | None = None
    record: bytes | None = None


@dataclass(frozen=True, slots=True)
class SpoolHead:
    """The newest statement that was spooled for an author, whether or not it is still here."""

    epoch: bytes
    sequence: int
    id: bytes


class Spool:
    """The spool at ``path``, made when it is not there. Usable from several threads.

    Every method raises SpoolError when the file cannot be used; what was committed before is safe.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._is_doubtful = False
        with suppress(OSError):  # then SQLite says what is wrong
            path.touch(mode=0o600)
        try:
            self._database = self._connect()
        except sqlite3.Error as error:
            raise SpoolError("SPOOL_FAILED", f"{path}: {error}") from error
        try:
            self._begin()
        except sqlite3.Error as error:
            self.close()
            raise self._failed(error) from error

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)

    def _begin(self) -> None:
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("PRAGMA busy_timeout=5000")
        try:
            settle(self._database, self.path)
        except sqlite3.Error as error:
            if (
                error_name(error) != "SQLITE_FULL"
            ):  # an agent starts on a full disk, and waits for room
                raise
        self._prepare()

    def _trusted(self) -> sqlite3.Connection:
        """Return the connection, a fresh one when the last was in doubt; the lock is held. Raises sqlite3.Error."""
        if self._is_doubtful:
            self._database.close()
            self._database = self._connect()
            self._begin()
            self._is_doubtful = False
        return self._database

    def _prepare(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version={VERSION};COMMIT;")
        elif version != VERSION:
            raise SpoolError(
                "SPOOL_VERSION",
                f"{self.path}: spool of version {version}; this agent reads version {VERSION}",
            )
        else:
            (found,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise self._corrupt(str(found))

    def secret(self, draw: Callable[[int], bytes]) -> bytes:
        """Return 32 bytes that only this spool holds, drawn when they are first asked for.

        What an author seals is opened with them again, should it have to be said anew.
        """
        with self._transaction() as database:
            database.execute("CREATE TABLE IF NOT EXISTS secret (value BLOB NOT NULL)")
            row = database.execute("SELECT value FROM secret").fetchone()
            if row is None:
                row = (draw(32),)
                database.execute("INSERT INTO secret VALUES (?)", row)
        for path in self.path.parent.glob(f"{self.path.name}*"):
            with suppress(OSError):
                path.chmod(0o600)
        return bytes(row[0])

    def _failed(self, error: sqlite3.Error) -> SpoolError:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        self._is_doubtful = self._is_doubtful or name in UNSYNCED
        if name == "SQLITE_FULL":
            return SpoolError(
                "SPOOL_FULL",
                f"{self.path}: the disk is full; make room: windows are kept in memory until then",
            )
        if name.startswith("SQLITE_IOERR"):
            return SpoolError(
                "SPOOL_FAILED",
                f"{self.path}: the disk does not take or give what it should ({name}); windows are kept in memory "
                "until it does",
            )
        if name in {"SQLITE_CORRUPT", "SQLITE_NOTADB"}:
            return self._corrupt(name)
        return SpoolError("SPOOL_FAILED", f"{self.path}: {name}: {error}")

    def _corrupt(self, why: str) -> SpoolError:
        return SpoolError(
            "SPOOL_CORRUPT",
            f"{self.path}: the file is damaged, or no spool ({why}): move it away and start the agent again, "
            "which then goes on after what the ledger has; what was not sent is lost",
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                database = self._trusted()
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._failed(error) from error
            finally:
                with suppress(sqlite3.Error):  # whatever was the matter has been raised
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")

    def add(
        self,
        said: Iterable[tuple[Author, Statement]],
        *,
        forsaking: Sequence[bytes] = (),
    ) -> None:
        """Commit statements, each with the author's state *before* it; all or none.

        The unlogged statements of the authors in ``forsaking`` are dropped first: their epoch cannot
        go on, and what they said is among ``said`` again.
        """
        with self._transaction() as database:
            for author in forsaking:
                database.execute(
                    "DELETE FROM statement WHERE author = ? AND log_index IS NULL", (author,)
                )
            for place, statement in said:
                row = (place.author, place.epoch, place.sequence, statement.id)
                database.execute(
                    "INSERT INTO statement (author, epoch, sequence, id, header, signature, stored)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*row, statement.header, statement.signature, statement.stored),
                )
                database.execute("INSERT OR REPLACE INTO head VALUES (?, ?, ?, ?)", row)

    def head(self, author: bytes) -> SpoolHead | None:
        """Return the newest statement spooled for an author; None for an author never heard of."""
        rows = self._query("SELECT epoch, sequence, id FROM head WHERE author = ?", (author,))
        return SpoolHead(*rows[0]) if rows else None

    def unlogged(self, author: bytes, limit: int) -> list[Spooled]:
        """Return an author's statements that no ledger has acknowledged, oldest first."""
        return [
            Spooled(place, author, epoch, sequence, Statement(header, signature, stored))
            for place, epoch, sequence, header, signature, stored in self._query(
                "SELECT place, epoch, sequence, header, signature, stored FROM statement"
                " WHERE author = ? AND log_index IS NULL ORDER BY place LIMIT ?",
                (author, limit),
            )
        ]

    def acknowledge(self, receipts: Iterable[tuple[int, int, bytes]]) -> None:
        """Note receipts: place in the spool, index in the log, and the record as logged."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE statement SET log_index = ?2, record = ?3 WHERE place = ?1", receipts
            )

    def rewind(self, author: bytes, epoch: bytes, sequence: int) -> int:
        """Mark an epoch's statements from a sequence on as unlogged; return how many there are."""
        with self._transaction() as database:
            return database.execute(
                "UPDATE statement SET log_index = NULL, record = NULL"
                " WHERE author = ? AND epoch = ? AND sequence >= ?",
                (author, epoch, sequence),
            ).rowcount

    def unproven(self, below: int, limit: int) -> list[Spooled]:
        """Return acknowledged statements with a log index below ``below``, oldest first."""
        return [
            Spooled(place, author, epoch, sequence, Statement(header, signature, stored), *log)
            for place, author, epoch, sequence, header, signature, stored, *log in self._query(
                "SELECT place, author, epoch, sequence, header, signature, stored, log_index,"
                " record FROM statement WHERE log_index < ? ORDER BY log_index LIMIT ?",
                (below, limit),
            )
        ]

    def free(self, places: Iterable[int]) -> None:
        """Forget statements whose inclusion was verified."""
        with self._transaction() as database:
            database.executemany(
                "DELETE FROM statement WHERE place = ?", ((place,) for place in places)
            )

    def count(self) -> tuple[int, int]:
        """Return how many statements are unlogged, and how many are acknowledged but unproven."""
        ((unlogged, unproven),) = self._query(
            "SELECT count(*) FILTER (WHERE log_index IS NULL),"
            " count(*) FILTER (WHERE log_index IS NOT NULL) FROM statement",
            (),
        )
        return unlogged, unproven

    def seen(self, log: bytes) -> Seen | None:
        """Return the newest checkpoint of a log (SHA-256 of its origin) that was verified here."""
        rows = self._query("SELECT log, size, root FROM seen WHERE log = ?", (log,))
        return Seen(*rows[0]) if rows else None

    def remember(self, seen: Seen) -> None:
        """Keep a checkpoint that was verified, so that a restart goes on from it."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (seen.log, seen.size, seen.root)
            )

    def _query(
        self, sql: str, parameters: tuple[bytes | int, ...]
    ) -> list[tuple[Any, ...]]:  # sqlite3 types its columns so
        with self._lock:
            try:
                return self._trusted().execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()
