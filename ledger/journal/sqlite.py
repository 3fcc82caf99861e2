"""A journal in one SQLite file: write-ahead log, ``synchronous=FULL``, one row a group.

A group is one blob of records and one of bodies: rows of their own would cost several times as much. Bodies are laid
out as a body bundle.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from ledger.errors import ForkError, JournalError
from ledger.journal.interface import Entry
from statements.body_bundle import decode_body_bundle, encode_body_bundle
from statements.record import RECORD_LENGTH

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS groups (
    first INTEGER PRIMARY KEY, count INTEGER NOT NULL, records BLOB NOT NULL, bodies BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS signed (id INTEGER PRIMARY KEY CHECK (id = 0), note BLOB NOT NULL) STRICT;
"""
_PAGE: Final = 16_384
_CHECKPOINT_PAGES: Final = 4_096
_GROUP: Final = """
SELECT first, count, {columns} FROM groups
WHERE first = (SELECT max(first) FROM groups WHERE first <= ?)
"""

T = TypeVar("T")


class SqliteJournal:
    """The journal in ``folder/journal.sqlite``; see :class:`ledger.journal.interface.Journal`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.sqlite"
        self._writer = self._connect()
        self._writing = threading.Lock()
        self._run(
            lambda: self._writer.executescript(
                f"PRAGMA page_size={_PAGE};PRAGMA journal_mode=WAL;{_SCHEMA}"
            )
        )
        self._run(
            lambda: self._writer.executescript(
                f"PRAGMA synchronous=FULL;PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES};"
            )
        )
        self._reader = self._connect()
        self._reading = threading.Lock()

    def size(self) -> int:
        """See :class:`Journal`."""
        row = self._select("SELECT first + count FROM groups ORDER BY first DESC LIMIT 1", ())
        return 0 if row is None else int(row[0])

    def append(self, first: int, entries: Sequence[Entry]) -> None:
        """See :class:`Journal`."""
        row = (
            first,
            len(entries),
            b"".join([record for record, _ in entries]),
            encode_body_bundle([body for _, body in entries]),
        )

        def write() -> None:
            found = self._writer.execute(
                "SELECT first + count FROM groups ORDER BY first DESC LIMIT 1"
            ).fetchone()
            size = 0 if found is None else int(found[0])
            if size != first:
                raise ForkError(
                    "JOURNAL_MOVED",
                    f"{self._path} holds {size} records where {first} were expected: another ledger writes to it",
                )
            self._writer.execute("INSERT INTO groups VALUES (?, ?, ?, ?)", row)

        self._transact(write)

    def read(self, start: int, end: int) -> Iterator[Entry]:
        """See :class:`Journal`."""
        for first, count, records, bodies in self._groups("records, bodies", start, end):
            stored = decode_body_bundle(bodies, count)
            for at in range(max(start - first, 0), min(end - first, count)):
                yield records[at * RECORD_LENGTH : (at + 1) * RECORD_LENGTH], stored[at]

    def records(self, start: int, end: int) -> Iterator[bytes]:
        """See :class:`Journal`."""
        for first, count, records, _ in self._groups("records, x''", start, end):
            for at in range(max(start - first, 0), min(end - first, count)):
                yield records[at * RECORD_LENGTH : (at + 1) * RECORD_LENGTH]

    def signed(self) -> bytes | None:
        """See :class:`Journal`."""
        row = self._select("SELECT note FROM signed", ())
        return None if row is None else bytes(row[0])

    def sign(self, expected: bytes | None, note: bytes) -> None:
        """See :class:`Journal`."""

        def swap() -> None:
            if expected is None:
                done = self._writer.execute("INSERT OR IGNORE INTO signed VALUES (0, ?)", (note,))
            else:
                done = self._writer.execute(
                    "UPDATE signed SET note = ? WHERE note = ?", (note, expected)
                )
            if done.rowcount != 1:
                raise ForkError(
                    "SIGNED_ELSEWHERE",
                    f"{self._path} holds another last checkpoint than this ledger signed: another ledger signs for "
                    "this log; stop one of them",
                )

        self._transact(swap)

    def close(self) -> None:
        """See :class:`Journal`."""
        with self._writing, self._reading:
            self._writer.close()
            self._reader.close()

    def _connect(self) -> sqlite3.Connection:
        return self._run(
            lambda: sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=10
            )
        )

    def _groups(
        self, columns: str, start: int, end: int
    ) -> Iterator[tuple[int, int, bytes, bytes]]:
        query = _GROUP.format(columns=columns)
        at = start
        while at < end:
            row = self._select(query, (at,))
            if row is None or row[0] + row[1] <= at:
                return
            if len(row[2]) != row[1] * RECORD_LENGTH:
                raise JournalError(
                    "JOURNAL_DAMAGED", f"{self._path}: the group at {row[0]} has the wrong length"
                )
            yield row
            at = row[0] + row[1]

    def _select(self, query: str, values: tuple[int, ...]) -> tuple[int, int, bytes, bytes] | None:
        with self._reading:
            row: tuple[int, int, bytes, bytes] | None = self._run(
                lambda: self._reader.execute(query, values).fetchone()
            )
            return row

    def _transact(self, write: Callable[[], None]) -> None:
        with self._writing:
            try:
                self._run(lambda: self._writer.execute("BEGIN IMMEDIATE"))
                self._run(write)
                self._run(lambda: self._writer.execute("COMMIT"))
            finally:
                if self._writer.in_transaction:
                    self._run(lambda: self._writer.execute("ROLLBACK"))

    def _run(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", type(error).__name__)
            raise JournalError(
                "STORAGE",
                f"the journal {self._path} failed ({code}: {error}): free space or repair the disk, then try again",
            ) from error
