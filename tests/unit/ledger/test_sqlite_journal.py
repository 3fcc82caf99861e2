"""The journal in one SQLite file, on a real disk."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import ForkError, JournalError, SetupError
from ledger.journal.interface import Entry
from ledger.journal.registry import open_journal
from ledger.journal.sqlite import SqliteJournal
from tests.unit.ledger.cast import entries


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(tmp_path)
    yield opened
    opened.close()


def leaves(some: list[Entry]) -> list[tuple[bytes, bool]]:
    return [(record, body is not None) for record, body in some]


def test_an_empty_journal_holds_and_signed_nothing(journal: SqliteJournal) -> None:
    assert journal.size() == 0
    assert list(journal.read(0, 10)) == []
    assert list(journal.leaves(0, 10)) == []
    assert journal.signed() is None


def test_what_was_appended_is_there_after_it_was_opened_again(tmp_path: Path) -> None:
    first, second = entries(5), entries(3, seed=8)
    journal = SqliteJournal(tmp_path)
    journal.append(0, first)
    journal.append(5, second)
    journal.sign(None, b"note")
    journal.close()
    again = SqliteJournal(tmp_path)
    assert again.size() == 8
    assert list(again.read(0, 8)) == first + second
    assert again.signed() == b"note"
    again.close()


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    start=st.integers(0, 50),
    end=st.integers(0, 50),
)
def test_any_span_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], start: int, end: int
) -> None:
    journal = SqliteJournal(tmp_path_factory.mktemp("journal"))
    everything = entries(sum(sizes), size=37)
    at = 0
    for size in sizes:
        journal.append(at, everything[at : at + size])
        at += size
    assert list(journal.read(start, end)) == everything[start:end]
    assert list(journal.leaves(start, end)) == leaves(everything[start:end])
    journal.close()


def test_an_empty_body_is_held_and_differs_from_none(journal: SqliteJournal) -> None:
    (record, _), (other, _) = entries(2)
    journal.append(0, [(record, b""), (other, None)])
    assert [body for _, body in journal.read(0, 2)] == [b"", None]
    assert [held for _, held in journal.leaves(0, 2)] == [True, False]


def test_one_body_is_read_without_the_others_of_its_group(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    some = entries(4, size=1_000_000)
    journal.append(0, some)
    seen: list[int] = []
    real = journal._part

    def part(column: str, first: int, begin: int, length: int) -> bytes:
        seen.append(length)
        return real(column, first, begin, length)

    journal._part = part  # type: ignore[method-assign]
    assert list(journal.read(2, 3)) == some[2:3]
    assert sum(seen) == 380 + 1_000_000


def test_a_group_that_does_not_follow_is_a_fork_and_changes_nothing(
    journal: SqliteJournal,
) -> None:
    journal.append(0, entries(3))
    for first in (0, 2, 4):
        with pytest.raises(ForkError) as refused:
            journal.append(first, entries(1, seed=9))
        assert refused.value.reason == "JOURNAL_MOVED"
    assert journal.size() == 3
    journal.append(3, entries(1, seed=9))


def test_two_ledgers_on_one_journal_cannot_both_write(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    other = SqliteJournal(tmp_path)
    journal.append(0, entries(2))
    with pytest.raises(ForkError):
        other.append(0, entries(2, seed=9))
    other.close()


def test_two_ledgers_on_one_journal_cannot_both_sign(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    other = SqliteJournal(tmp_path)
    journal.sign(None, b"one")
    for expected in (None, b"never signed"):
        with pytest.raises(ForkError) as refused:
            other.sign(expected, b"two")
        assert refused.value.reason == "SIGNED_ELSEWHERE"
    assert journal.signed() == b"one"
    other.sign(b"one", b"two")
    with pytest.raises(ForkError):
        journal.sign(b"one", b"three")
    other.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE groups SET records = substr(records, 2)",
        "UPDATE groups SET lengths = substr(lengths, 5)",
        "UPDATE groups SET bodies = substr(bodies, 2)",
        "UPDATE groups SET count = 2",
    ],
)
def test_a_group_of_wrong_lengths_is_damage_and_not_data(
    journal: SqliteJournal, tmp_path: Path, damage: str
) -> None:
    journal.append(0, entries(3))
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute(damage)
    connection.close()
    for read in (journal.read, journal.leaves):
        with pytest.raises(JournalError, match="bring a copy back") as failed:
            list(read(0, 3))
        assert failed.value.reason == "JOURNAL_DAMAGED"


def test_a_file_that_is_no_database_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"not a database, far too short to be one" * 100)
    with pytest.raises(JournalError, match="repair the disk") as failed:
        SqliteJournal(tmp_path)
    assert failed.value.reason == "STORAGE"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(JournalError) as failed:
        SqliteJournal(tmp_path / "missing")
    assert failed.value.reason == "STORAGE"


def test_a_closed_journal_fails_and_does_not_lie(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path)
    journal.close()
    for call in (journal.size, journal.signed, lambda: journal.append(0, entries(1))):
        with pytest.raises(JournalError):
            call()


def test_a_write_that_another_process_locks_out_fails_and_can_be_tried_again(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    journal._writer.execute("PRAGMA busy_timeout=50")
    other = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError) as failed:
        journal.append(0, entries(1))
    assert failed.value.reason == "STORAGE"
    assert journal.size() == 0
    other.execute("ROLLBACK")
    other.close()
    journal.append(0, entries(1))
    assert journal.size() == 1


def test_everything_is_synced_before_a_commit_returns(journal: SqliteJournal) -> None:
    assert journal._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._writer.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"


def test_others_read_while_one_appends(journal: SqliteJournal) -> None:
    everything = entries(600, size=300)
    stop = threading.Event()
    wrong: list[int] = []

    def read() -> None:
        while not stop.is_set():
            size = journal.size()
            if list(journal.read(0, size)) != everything[:size]:
                wrong.append(size)

    readers = [threading.Thread(target=read, daemon=True) for _ in range(2)]
    for reader in readers:
        reader.start()
    for at in range(0, 600, 20):
        journal.append(at, everything[at : at + 20])
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_a_journal_is_found_by_its_name(tmp_path: Path) -> None:
    open_journal("sqlite", tmp_path).close()
    with pytest.raises(SetupError, match="there are sqlite") as refused:
        open_journal("postgres", tmp_path)
    assert refused.value.reason == "UNKNOWN_JOURNAL"
