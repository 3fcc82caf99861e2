"""A journal in one SQLite file: write-ahead log, ``synchronous=FULL``, one row a group.

A group is a blob of records, one of their bodies' lengths (big-endian uint32 each, 2^32-1 for a body that is not held),
and one of the bodies, end to end: rows of their own would cost several times as much. Of records and bodies only the
part that is asked for is read.

After a sync that failed nothing is written through this journal any more (:class:`UnsyncedError`); whoever opens it
next has all that it finds written anew before it is believed. Why is said in statements/sqlite_file.py.
"""

import sqlite3
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from ledger.errors import ForkError, JournalError, UnsyncedError
from ledger.journal.interface import Entry, Leaf
from statements.record import RECORD_LENGTH
from statements.sqlite_file import UNSYNCED, error_name, settle

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS groups (
    first INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    records BLOB NOT NULL,
    lengths BLOB NOT NULL,
    bodies BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS signed (id INTEGER PRIMARY KEY CHECK (id = 0), note BLOB NOT NULL) STRICT;
"""
_PAGE: Final = 16_384
_CHECKPOINT_PAGES: Final = 4_096
_SIZE: Final = "SELECT first + count FROM groups ORDER BY first DESC LIMIT 1"
_GROUP: Final = """
SELECT first, count, length(records), lengths, length(bodies) FROM groups
WHERE first = (SELECT max(first) FROM groups WHERE first <= ?)
"""
_NOT_HELD: Final = 2**32 - 1

T = TypeVar("T")
_Group = tuple[int, bytes, tuple[int, ...], int]
"""A part of a group: the index of the group's first record; records; the lengths of their bodies; where those begin."""


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
        self._run(lambda: settle(self._writer, self._path))
        self._reader = self._connect()
        self._reading = threading.Lock()
        self._unsynced: UnsyncedError | None = None

    def size(self) -> int:
        """See :class:`Journal`."""
        with self._reading:
            row = self._run(lambda: self._reader.execute(_SIZE).fetchone())
        return 0 if row is None else int(row[0])

    def append(self, first: int, entries: Sequence[Entry]) -> None:
        """See :class:`Journal`."""
        bodies = [body for _, body in entries]
        row = (
            first,
            len(entries),
            b"".join([record for record, _ in entries]),
            _pack([_NOT_HELD if body is None else len(body) for body in bodies]),
            b"".join([body for body in bodies if body is not None]),
        )

        def write() -> None:
            found = self._writer.execute(_SIZE).fetchone()
            size = 0 if found is None else int(found[0])
            if size != first:
                raise ForkError(
                    "JOURNAL_MOVED",
                    f"{self._path} holds {size} records where {first} were expected: another ledger writes to it; "
                    "stop one of them",
                )
            self._writer.execute("INSERT INTO groups VALUES (?, ?, ?, ?, ?)", row)

        self._transact(write)

    def read(self, start: int, end: int) -> Iterator[Entry]:
        """See :class:`Journal`."""
        for first, records, lengths, begin in self._groups(start, end):
            bodies = self._part("bodies", first, begin, _total(lengths))
            at = 0
            for place, length in enumerate(lengths):
                to = at + _held(length)
                yield _record(records, place), None if length == _NOT_HELD else bodies[at:to]
                at = to

    def leaves(self, start: int, end: int) -> Iterator[Leaf]:
        """See :class:`Journal`."""
        for _, records, lengths, _ in self._groups(start, end):
            for place, length in enumerate(lengths):
                yield _record(records, place), length != _NOT_HELD

    def signed(self) -> bytes | None:
        """See :class:`Journal`."""
        with self._reading:
            row = self._run(lambda: self._reader.execute("SELECT note FROM signed").fetchone())
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

    def _groups(self, start: int, end: int) -> Iterator[_Group]:
        """Yield the parts of groups that hold records [start, end)."""
        at = start
        while at < end:
            with self._reading:
                row = self._run(lambda: self._reader.execute(_GROUP, (at,)).fetchone())  # noqa: B023
            if row is None or row[0] + row[1] <= at:
                return
            first, count, records, packed, bodies = row
            if records != count * RECORD_LENGTH or len(packed) != count * 4:
                raise self._damaged(first)
            lengths = struct.unpack(f">{count}I", packed)
            if _total(lengths) != bodies:
                raise self._damaged(first)
            some = range(at - first, min(end - first, count))
            part = self._part(
                "records", first, some.start * RECORD_LENGTH, len(some) * RECORD_LENGTH
            )
            begin = _total(lengths[: some.start])
            yield first, part, lengths[some.start : some.stop], begin
            at = first + count

    def _part(self, column: str, first: int, begin: int, length: int) -> bytes:
        """Return a part of one of a group's blobs."""

        def read() -> bytes:
            with self._reader.blobopen("groups", column, first, readonly=True) as blob:
                blob.seek(begin)
                return blob.read(length)

        with self._reading:
            return self._run(read) if length else b""

    def _transact(self, write: Callable[[], None]) -> None:
        with self._writing:
            if self._unsynced is not None:
                raise self._unsynced
            self._run(self._roll_back)
            self._run(lambda: self._writer.execute("BEGIN IMMEDIATE"))
            try:
                self._run(write)
                self._run(lambda: self._writer.execute("COMMIT"))
            except UnsyncedError as error:
                self._unsynced = error
                raise
            finally:
                self._run(self._roll_back)

    def _roll_back(self) -> None:
        """Leave no transaction open that failed half-way."""
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _damaged(self, first: int) -> JournalError:
        return JournalError(
            "JOURNAL_DAMAGED",
            f"{self._path}: the group at {first} has wrong lengths: bring a copy back, or a mirror's records",
        )

    def _run(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except sqlite3.Error as error:
            code = error_name(error)
            if code in UNSYNCED:
                raise UnsyncedError(
                    "UNSYNCED",
                    f"a sync of the journal {self._path} failed ({code}): what is on the disk is in doubt, and nothing "
                    "more is written; repair the disk, then start the ledger again, which finds out",
                ) from error
            raise JournalError(
                "STORAGE",
                f"the journal {self._path} failed ({code}: {error}): free space or repair the disk, then try again",
            ) from error


def _pack(lengths: Sequence[int]) -> bytes:
    return struct.pack(f">{len(lengths)}I", *lengths)


def _held(length: int) -> int:
    """Return how many bytes a length stands for."""
    return 0 if length == _NOT_HELD else length


def _total(lengths: Sequence[int]) -> int:
    """Return how many bytes lengths stand for together."""
    return sum(lengths) - lengths.count(_NOT_HELD) * _NOT_HELD


def _record(records: bytes, place: int) -> bytes:
    return records[place * RECORD_LENGTH : (place + 1) * RECORD_LENGTH]
