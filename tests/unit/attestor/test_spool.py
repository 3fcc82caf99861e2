"""The spool: nothing signed is lost, nothing is kept twice, a full disk is said."""

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from attestor.errors import SpoolError
from attestor.spool import Spool
from protos.stillwatch.statement.v1 import inventory_pb2
from statements.author import Author, Seen, Statement
from statements.signing import SigningKey
from tests.unit.statements.conftest import no_room

KEY, OTHER = SigningKey.generate(), SigningKey.generate()


def say(author: Author, times: int) -> tuple[list[tuple[Author, Statement]], Author]:
    said = []
    for number in range(times):
        message = inventory_pb2.Inventory(driver=str(number))
        statement, after = author.say(message, number, number, salt=bytes(16))
        said.append((author, statement))
        author = after
    return said, author


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool.sqlite")


def test_statements_come_back_in_order_byte_for_byte(spool: Spool) -> None:
    said, _ = say(Author.opening(KEY, bytes(16)), 5)
    others, _ = say(Author.opening(OTHER, bytes(16)), 2)
    spool.add(said[:3] + others)
    spool.add(said[3:])
    found = spool.unlogged(KEY.key_id, 10)
    assert [item.statement for item in found] == [statement for _, statement in said]
    assert [item.sequence for item in found] == [0, 1, 2, 3, 4]
    assert len(spool.unlogged(KEY.key_id, 2)) == 2
    assert spool.count() == (7, 0)


def test_what_was_committed_is_there_after_the_process_is_gone(spool: Spool) -> None:
    said, after = say(Author.opening(KEY, b"e" * 16), 3)
    spool.add(said)
    again = Spool(spool.path)
    assert [item.statement for item in again.unlogged(KEY.key_id, 9)] == [s for _, s in said]
    head = again.head(KEY.key_id)
    assert head is not None
    assert (head.epoch, head.sequence, head.id) == (b"e" * 16, 2, after.previous)
    assert again.head(OTHER.key_id) is None


def test_a_transaction_is_all_or_nothing(spool: Spool) -> None:
    said, _ = say(Author.opening(KEY, bytes(16)), 2)
    spool.add(said[:1])
    with pytest.raises(SpoolError) as caught:
        spool.add([said[1], said[0]])
    assert caught.value.reason == "SPOOL_FAILED"
    assert spool.count() == (1, 0)


def test_acknowledged_statements_stay_until_their_inclusion_was_verified(spool: Spool) -> None:
    said, _ = say(Author.opening(KEY, bytes(16)), 3)
    spool.add(said)
    items = spool.unlogged(KEY.key_id, 9)
    spool.acknowledge([(items[0].place, 7, b"r7"), (items[1].place, 9, b"r9")])
    assert spool.count() == (1, 2)
    assert [item.log_index for item in spool.unproven(9, 10)] == [7]
    assert spool.unproven(10, 10)[1].record == b"r9"
    spool.free([items[0].place])
    assert spool.count() == (1, 1)
    head = spool.head(KEY.key_id)
    assert head is not None
    assert head.sequence == 2


def test_rewinding_sends_again_from_the_sequence_wanted(spool: Spool) -> None:
    said, _ = say(Author.opening(KEY, bytes(16)), 4)
    spool.add(said)
    spool.acknowledge([(i.place, i.place, b"r") for i in spool.unlogged(KEY.key_id, 9)])
    assert spool.rewind(KEY.key_id, bytes(16), 2) == 2
    assert [item.sequence for item in spool.unlogged(KEY.key_id, 9)] == [2, 3]


def test_forsaking_an_epoch_drops_only_what_is_unlogged_of_that_author(spool: Spool) -> None:
    said, _ = say(Author.opening(KEY, b"a" * 16), 3)
    others, _ = say(Author.opening(OTHER, bytes(16)), 1)
    spool.add(said + others)
    first = spool.unlogged(KEY.key_id, 1)[0]
    spool.acknowledge([(first.place, 0, b"r")])
    fresh, _ = say(Author.opening(KEY, b"b" * 16), 1)
    spool.add(fresh, forsaking=[KEY.key_id])
    assert [item.epoch for item in spool.unlogged(KEY.key_id, 9)] == [b"b" * 16]
    assert spool.count() == (2, 1)


def test_the_checkpoint_seen_survives(spool: Spool) -> None:
    assert spool.seen(b"l" * 32) is None
    spool.remember(Seen(b"l" * 32, 5, b"r" * 32))
    spool.remember(Seen(b"l" * 32, 9, b"s" * 32))
    assert Spool(spool.path).seen(b"l" * 32) == Seen(b"l" * 32, 9, b"s" * 32)


def test_a_full_disk_is_said_and_loses_nothing_that_was_there(spool: Spool) -> None:
    said, _ = say(Author.opening(KEY, bytes(16)), 400)
    spool.add(said[:10])
    limit = spool._database.execute("PRAGMA page_count").fetchone()[0] + 4
    spool._database.execute(f"PRAGMA max_page_count={limit}")
    with pytest.raises(SpoolError) as caught:
        spool.add(said[10:])
    assert caught.value.reason == "SPOOL_FULL"
    assert "make room" in str(caught.value)
    assert spool.count() == (10, 0)
    spool._database.execute("PRAGMA max_page_count=1000000")
    spool.add(said[10:])
    assert spool.count() == (400, 0)


def test_a_disk_that_takes_no_more_is_said_and_loses_nothing_that_was_there(spool: Spool) -> None:
    said, _ = say(Author.opening(KEY, bytes(16)), 400)
    spool.add(said[:10])
    with no_room(60_000), pytest.raises(SpoolError, match="kept in memory") as caught:
        spool.add(said[10:])
    assert caught.value.reason in {"SPOOL_FULL", "SPOOL_FAILED"}
    assert spool.count() == (10, 0)
    spool.add(said[10:])
    assert [item.statement for item in spool.unlogged(KEY.key_id, 999)] == [s for _, s in said]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 256 KiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_file_system_without_room_is_said_as_full_until_there_is_some(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(120_000))
    spool = Spool(small_disk / "spool")
    said, _ = say(Author.opening(KEY, bytes(16)), 100)
    spool.add(said[:5])
    with pytest.raises(SpoolError, match="make room") as caught:
        spool.add(said[5:])
    assert caught.value.reason == "SPOOL_FULL"
    assert spool.count() == (5, 0)
    ballast.unlink()
    spool.add(said[5:])
    assert spool.count() == (100, 0)
    spool.close()


def test_a_spool_of_an_agent_that_was_killed_opens_on_a_full_disk(
    small_disk: Path, tmp_path: Path
) -> None:
    said, _ = say(Author.opening(KEY, bytes(16)), 20)
    spool = Spool(tmp_path / "spool")
    spool.add(said)
    for path in tmp_path.glob("spool*"):  # as a kill leaves them
        shutil.copy(path, small_disk)
    spool.close()
    with suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    again = Spool(small_disk / "spool")
    assert [item.statement for item in again.unlogged(KEY.key_id, 999)] == [s for _, s in said]
    again.close()


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_spool_cut_short_is_refused_and_says_what_to_do(spool: Spool, kept: float) -> None:
    said, _ = say(Author.opening(KEY, bytes(16)), 400)
    spool.add(said)
    spool.close()
    whole = spool.path.read_bytes()
    spool.path.write_bytes(whole[: int(len(whole) * kept) // 512 * 512])
    with pytest.raises(SpoolError, match="move it away") as caught:
        Spool(spool.path).unlogged(KEY.key_id, 999)
    assert caught.value.reason == "SPOOL_CORRUPT"


def test_what_is_no_number_of_a_database_leaves_the_spool_usable(spool: Spool) -> None:
    said, _ = say(Author.opening(KEY, bytes(16)), 2)
    spool.add(said)
    with pytest.raises(OverflowError):
        spool.acknowledge([(1, 2**63, b"r")])
    assert spool.count() == (2, 0)
    spool.acknowledge([(1, 0, b"r")])
    assert spool.count() == (1, 1)


def test_a_spool_that_was_closed_is_an_error_with_a_reason(spool: Spool) -> None:
    spool.close()
    with pytest.raises(SpoolError):
        spool.count()
    with pytest.raises(SpoolError):
        spool.free([1])


def test_a_file_that_is_no_spool_or_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be looked at " * 20)
    with pytest.raises(SpoolError):
        Spool(tmp_path / "text")
    database = sqlite3.connect(tmp_path / "future")
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(SpoolError) as caught:
        Spool(tmp_path / "future")
    assert caught.value.reason == "SPOOL_VERSION"
    with pytest.raises(SpoolError):
        Spool(tmp_path / "no" / "such" / "folder")
