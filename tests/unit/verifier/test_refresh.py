"""A mirror is brought up to date by what is new, each file believed by itself, and never backwards."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from protos.stillwatch.statement.v1 import summary_pb2
from statements.log_trust import LogTrust
from tests.unit.verifier.logbook import MINUTE, Logbook, served
from tlog.tile import Tile, aligned_path, bundle_path
from verifier.mirror.errors import InconsistentLogError, MirrorError
from verifier.mirror.moment import as_it_was
from verifier.mirror.prefix import fetch_prefix
from verifier.mirror.refresh import Refreshed, refresh
from verifier.mirror.shelf import NOTES, Shelf
from verifier.mirror.source import FolderSource


class Served:
    """A log's files, and what was asked of them; files may be swapped for others."""

    place = "served"

    def __init__(self, book: Logbook) -> None:
        self.files = dict(served(book.prefix()))
        self.asked: list[str] = []
        self.stop_after = 1 << 30

    def read(self, path: str, limit: int) -> bytes | None:
        self.asked.append(path)
        if len(self.asked) > self.stop_after:
            raise MirrorError("UNREACHABLE", "the cable was pulled")
        data = self.files.get(path)
        if data is not None and len(data) > limit:
            raise MirrorError("TOO_LARGE", path)
        return data


@pytest.fixture(scope="module")
def whole() -> Logbook:
    """A log of more than one bundle, so that there are full and partial tiles."""
    book = Logbook.begin()
    book.enrol("aurora", "aurora/0", chips=1)
    grow(book, 260)
    return book


@pytest.fixture
def book(whole: Logbook) -> Logbook:
    return whole.copy()


def grow(book: Logbook, count: int = 1) -> None:
    node = book.nodes["aurora/0"]
    for _ in range(count):
        said = book.sign(node, summary_pb2.WorkloadSummary(), book.now_ms, book.now_ms + MINUTE)
        book.log(said)


def trust(book: Logbook) -> LogTrust:
    return LogTrust.of(book.pins, book.pins.ledgers[0])


def mirror(
    source: Served | FolderSource, book: Logbook, folder: Path, *, everything: bool = False
) -> Refreshed:
    with Shelf.open(folder) as shelf:
        return refresh(source, shelf, trust(book), everything=everything)


def files(folder: Path) -> dict[str, bytes]:
    """Return what a mirror holds of the log."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in {"work", NOTES}
    }


def reason(action: Callable[[], object]) -> str:
    with pytest.raises(MirrorError) as caught:
        action()
    return caught.value.reason


# ------------------------------------------------------------------- what a mirror is


@pytest.mark.parametrize("growth", [(0,), (1, 1), (3, 300), (252, 1, 600)])
def test_a_mirror_is_the_log_and_nothing_else(
    book: Logbook, tmp_path: Path, growth: tuple[int, ...]
) -> None:
    for count in growth:
        grow(book, count)
        told = mirror(Served(book), book, tmp_path)
        assert files(tmp_path) == dict(served(book.prefix()))
        assert told.size == len(book.records)
    prefix = fetch_prefix(FolderSource(tmp_path), trust(book))
    assert tuple(prefix.entries) == tuple(book.records)


def test_tall_trees_are_mirrored(tmp_path: Path) -> None:
    """More than 65,536 leaves of one byte or so: a third level of tiles."""
    book = Logbook.begin()
    book.records += [bytes([at % 251]) for at in range(66_000)]
    book.bodies += [None] * 66_000
    mirror(Served(book), book, tmp_path)
    assert files(tmp_path) == dict(served(book.prefix()))


def test_a_mirror_of_an_empty_log_grows(book: Logbook, tmp_path: Path) -> None:
    empty = book.copy()
    empty.records, empty.bodies = [], []
    assert mirror(Served(empty), book, tmp_path).size == 0
    assert mirror(Served(book), book, tmp_path).before == 0
    assert files(tmp_path) == dict(served(book.prefix()))


def test_two_processes_do_not_change_one_mirror(book: Logbook, tmp_path: Path) -> None:
    with Shelf.open(tmp_path):
        assert reason(lambda: mirror(Served(book), book, tmp_path)) == "MIRROR_IN_USE"
    mirror(Served(book), book, tmp_path)


def test_a_mirror_that_cannot_be_written_is_told(book: Logbook, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert reason(lambda: mirror(Served(book), book, tmp_path / "file")) == "MIRROR_UNWRITABLE"


# ----------------------------------------------------------------------- only what is new


def test_a_log_that_did_not_grow_is_asked_for_its_checkpoint_alone(
    book: Logbook, tmp_path: Path
) -> None:
    mirror(Served(book), book, tmp_path)
    source = Served(book)
    told = mirror(source, book, tmp_path)
    assert source.asked == ["checkpoint"]
    assert (told.requests, told.size, told.before) == (1, len(book.records), len(book.records))


@pytest.mark.parametrize("growth", [1, 250, 2_000])
def test_only_new_files_are_asked_for_each_once(book: Logbook, tmp_path: Path, growth: int) -> None:
    mirror(Served(book), book, tmp_path)
    before = set(Served(book).files)
    grow(book, growth)
    source = Served(book)
    told = mirror(source, book, tmp_path)
    fresh = set(source.files) - before
    assert sorted(source.asked) == sorted({*fresh, "checkpoint"})
    assert told.fetched_bytes == sum(len(source.files[path]) for path in {*fresh, "checkpoint"})


def test_newer_cosignatures_of_the_same_tree_are_kept(book: Logbook, tmp_path: Path) -> None:
    mirror(Served(book), book, tmp_path)
    source = Served(book)
    source.files["checkpoint"] += "\N{EM DASH} witness.example AAAAAAAA\n".encode()
    told = mirror(source, book, tmp_path)
    assert files(tmp_path)["checkpoint"] == source.files["checkpoint"] == told.note
    assert told.requests == 1


# ------------------------------------------------------------------- after an interruption


def test_a_run_that_was_interrupted_goes_on_where_it_was(book: Logbook, tmp_path: Path) -> None:
    grow(book, 2_000)
    asked: list[str] = []
    runs = 0
    while "checkpoint" not in files(tmp_path):
        source = Served(book)
        source.stop_after = 14
        runs += 1
        with suppress(MirrorError):
            mirror(source, book, tmp_path)
        asked += source.asked
    assert files(tmp_path) == dict(served(book.prefix()))
    assert runs > 2
    assert len(asked) < len(source.files) + 8 * runs, "but what was under way"


def test_a_log_that_grew_meanwhile_leaves_no_parts_behind(book: Logbook, tmp_path: Path) -> None:
    mirror(Served(book), book, tmp_path)
    for _ in range(4):
        grow(book, 300)
        source = Served(book)
        source.stop_after = 6
        assert reason(lambda source=source: mirror(source, book, tmp_path)) == "UNREACHABLE"  # type: ignore[misc]
    grow(book, 3)
    mirror(Served(book), book, tmp_path)
    assert files(tmp_path) == dict(served(book.prefix()))
    assert not (tmp_path / "work/pending").exists()


def test_one_process_goes_on_after_runs_that_failed(book: Logbook, tmp_path: Path) -> None:
    with Shelf.open(tmp_path) as shelf:
        for count in (0, 300, 3, 200, 1):
            grow(book, count)
            source = Served(book)
            source.stop_after = 7
            with suppress(MirrorError):
                refresh(source, shelf, trust(book))
        refresh(Served(book), shelf, trust(book))
        grow(book, 5)
        refresh(Served(book), shelf, trust(book))
    assert files(tmp_path) == dict(served(book.prefix()))


@pytest.mark.parametrize("damage", [b"", b"\0" * 4096, None])
def test_what_lies_there_half_written_is_fetched_again(
    book: Logbook, tmp_path: Path, damage: bytes | None
) -> None:
    """After a power cut a file may have its name and not its bytes."""
    grow(book, 600)
    source = Served(book)
    source.stop_after = 9
    assert reason(lambda: mirror(source, book, tmp_path)) == "UNREACHABLE"
    for path, data in files(tmp_path).items():
        (tmp_path / path).write_bytes(data[: len(data) // 2] if damage is None else damage)
    mirror(Served(book), book, tmp_path)
    assert files(tmp_path) == dict(served(book.prefix()))


def test_a_checkpoint_that_was_seen_and_not_fetched_binds_the_log_too(
    book: Logbook, tmp_path: Path
) -> None:
    mirror(Served(book), book, tmp_path)
    other = book.copy()
    grow(other, 40)
    source = Served(other)
    source.stop_after = 3
    assert reason(lambda: mirror(source, book, tmp_path)) == "UNREACHABLE"
    assert (tmp_path / "work/pending").exists()
    grow(book, 20)
    assert reason(lambda: mirror(Served(book), book, tmp_path)) == "WENT_BACKWARDS"
    grow(book, 20)
    assert reason(lambda: mirror(Served(book), book, tmp_path)) == "FORKED"
    grow(book, 20)
    assert reason(lambda: mirror(Served(book), book, tmp_path)) == "FORKED"
    grow(other, 20)
    mirror(Served(other), book, tmp_path)
    assert files(tmp_path) == dict(served(other.prefix()))


# ------------------------------------------------------------------------ backwards, sideways


def test_a_log_that_goes_backwards_is_refused_with_both_notes(
    book: Logbook, tmp_path: Path
) -> None:
    early = Served(book)
    grow(book, 300)
    mirror(Served(book), book, tmp_path)
    held = files(tmp_path)
    with pytest.raises(InconsistentLogError) as caught:
        mirror(early, book, tmp_path)
    assert caught.value.reason == "WENT_BACKWARDS"
    assert (caught.value.held, caught.value.served) == (
        held["checkpoint"], early.files["checkpoint"],
    )  # fmt: skip
    assert files(tmp_path) == held
    assert not (tmp_path / NOTES).exists(), "an older checkpoint alone proves nothing"


def swap(book: Logbook) -> None:
    """Fork: the last two records change places."""
    book.records[-2:] = [book.records[-1], book.records[-2]]
    book.bodies[-2:] = [book.bodies[-1], book.bodies[-2]]


@pytest.mark.parametrize("grown", [0, 3, 700])
@pytest.mark.parametrize("shrunk", [False, True])
def test_a_log_that_forks_is_refused_and_both_notes_are_kept(
    book: Logbook, tmp_path: Path, grown: int, shrunk: bool
) -> None:
    other = book.copy()
    swap(other)
    grow(other if not shrunk else book, grown)
    mirror(Served(book), book, tmp_path)
    held = files(tmp_path)
    for _ in range(2):
        with pytest.raises(InconsistentLogError) as caught:
            mirror(Served(other), book, tmp_path)
        assert caught.value.reason == "FORKED"
    (kept,) = (tmp_path / NOTES).iterdir()
    assert (kept / "held").read_bytes() == held["checkpoint"] == caught.value.held
    assert (kept / "served").read_bytes() == caught.value.served
    assert str(kept) in str(caught.value)
    assert files(tmp_path) == held
    mirror(Served(book), book, tmp_path)


def test_nobody_is_accused_of_a_fork_by_a_mirror_that_is_damaged(
    book: Logbook, tmp_path: Path
) -> None:
    early = Served(book)
    grow(book, 300)
    mirror(Served(book), book, tmp_path)
    path = tmp_path / Tile(0, 1).path
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))
    assert reason(lambda: mirror(early, book, tmp_path)) == "MIRROR_DAMAGED"
    (tmp_path / "checkpoint").write_bytes(b"no checkpoint\n")
    assert reason(lambda: mirror(Served(book), book, tmp_path)) == "MIRROR_DAMAGED"


def test_a_checkpoint_that_is_not_the_logs_is_refused(book: Logbook, tmp_path: Path) -> None:
    mirror(Served(book), book, tmp_path)
    assert reason(lambda: mirror(Served(Logbook.begin()), book, tmp_path)) == "NOT_SIGNED"
    source = Served(book)
    del source.files["checkpoint"]
    assert reason(lambda: mirror(source, book, tmp_path)) == "NO_CHECKPOINT"


# ---------------------------------------------------------------------------- a hostile server


def every_file(book: Logbook) -> list[str]:
    return sorted(set(Served(book).files) - {"checkpoint"})


@pytest.mark.parametrize("seed", range(4))
def test_a_server_that_changes_any_file_is_found_out_and_nothing_of_it_is_kept(
    book: Logbook, tmp_path: Path, seed: int
) -> None:
    """One file is cut, lengthened, emptied, swapped for another, or has a bit flipped."""
    draw = random.Random(seed)
    grow(book, 300)
    true = dict(served(book.prefix()))
    changes: list[Callable[[bytes], bytes]] = [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data + data,
        lambda _: b"",
        lambda _: true[draw.choice(sorted(true))],
        lambda data: bytes(draw.randbytes(len(data))),
    ]
    for number, path in enumerate(every_file(book)):
        source = Served(book)
        data = bytearray(source.files[path])
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        change = draw.choice([*changes, lambda _, data=data: bytes(data)])  # type: ignore[misc]
        source.files[path] = change(true[path])
        folder = tmp_path / str(number)
        with suppress(MirrorError):
            mirror(source, book, folder)
            assert path.startswith("bodies/") or source.files[path].startswith(true[path])
        for held, data_held in files(folder).items():
            if not held.startswith("bodies/"):
                assert data_held == true[held]
        mirror(Served(book), book, folder, everything=True)
        assert files(folder) == true, path


def test_a_missing_entry_bundle_or_tile_is_an_error_and_missing_bodies_are_missing_evidence(
    book: Logbook, tmp_path: Path
) -> None:
    for number, gone in enumerate((bundle_path(0), Tile(0, 0).path, Tile(1, 0, 1).path)):
        broken, folder = Served(book), tmp_path / str(number)
        del broken.files[gone]
        with pytest.raises(MirrorError, match="the log is not whole"):
            mirror(broken, book, folder)
    source = Served(book)
    del source.files[aligned_path("bodies", 0)]
    assert mirror(source, book, tmp_path).lacking == 256
    assert list(fetch_prefix(FolderSource(tmp_path), trust(book)).bodies[:256]) == [None] * 256


def test_parts_that_became_full_meanwhile_are_taken_out_of_the_full_ones(
    book: Logbook, tmp_path: Path
) -> None:
    then = Served(book)
    grow(book, 512 - len(book.records))
    now = Served(book)
    now.files["checkpoint"] = then.files["checkpoint"]
    level_1 = {path: data for path, data in then.files.items() if path.startswith("tile/1/")}
    now.files |= level_1
    mirror(now, book, tmp_path)
    assert files(tmp_path) == then.files


def test_large_bodies_are_read_one_after_the_other(tmp_path: Path) -> None:
    book = Logbook.begin()
    book.enrol("aurora", "aurora/0", chips=1)
    node = book.nodes["aurora/0"]
    for _ in range(30):
        large = summary_pb2.WorkloadSummary(chip_features=book.draw(500_000))
        book.log(book.sign(node, large, book.now_ms, book.now_ms + MINUTE))
    mirror(Served(book), book, tmp_path)
    assert files(tmp_path) == dict(served(book.prefix()))


# -------------------------------------------------------------------------- bodies, and repair


def test_a_body_that_the_log_no_longer_serves_is_kept(book: Logbook, tmp_path: Path) -> None:
    mirror(Served(book), book, tmp_path)
    bodies = list(book.bodies)
    book.bodies[-1] = None
    book.bodies[-2] = b"not its body"
    grow(book, 5)
    mirror(Served(book), book, tmp_path)
    kept = fetch_prefix(FolderSource(tmp_path), trust(book)).bodies
    assert list(kept) == [*bodies, *book.bodies[-5:]]


def test_what_is_damaged_is_fetched_anew_and_what_is_lacking_asked_for_again(
    book: Logbook, tmp_path: Path
) -> None:
    lacking = book.copy()
    lacking.bodies[7] = None
    lacking.bodies[9] = b"another"
    assert mirror(Served(lacking), book, tmp_path).lacking == 2
    for path in (bundle_path(0), Tile(0, 0).path, Tile(1, 0, 1).path):
        data = bytearray((tmp_path / path).read_bytes())
        data[11] ^= 4
        (tmp_path / path).write_bytes(bytes(data))
    bad = tmp_path / "tile/0/001.p/200"
    bad.parent.mkdir(exist_ok=True)
    bad.write_bytes(b"stale")
    told = mirror(Served(book), book, tmp_path, everything=True)
    assert files(tmp_path) == dict(served(book.prefix()))
    assert (told.size, told.lacking) == (told.before, 0)


def test_checking_a_mirror_that_is_whole_fetches_nothing(book: Logbook, tmp_path: Path) -> None:
    grow(book, 2_000)
    mirror(Served(book), book, tmp_path)
    source = Served(book)
    mirror(source, book, tmp_path, everything=True)
    assert source.asked == ["checkpoint"]


# ------------------------------------------------------------------------------ as it was


def test_a_log_is_shown_as_it_was_at_a_size_or_a_checkpoint(book: Logbook, tmp_path: Path) -> None:
    then, note = book.prefix(), book.note()
    grow(book, 300)
    mirror(Served(book), book, tmp_path)
    prefix = fetch_prefix(FolderSource(tmp_path), trust(book))
    size = then.size
    by_note = as_it_was(prefix, note, trust(book), tmp_path)
    assert (by_note.note, by_note.root) == (note, then.root)
    assert list(by_note.entries) == list(then.entries)
    assert as_it_was(prefix, size, trust(book), tmp_path).note == prefix.note, "it covers them too"
    with Shelf.open(tmp_path) as shelf:
        shelf.keep_note(size, b"not a checkpoint")
        shelf.keep_note(size, note)
    assert as_it_was(prefix, size, trust(book), tmp_path).note == note
    too_long = prefix.size + 1
    assert reason(lambda: as_it_was(prefix, too_long, trust(book), tmp_path)) == "NO_SUCH_SIZE"
    assert reason(lambda: as_it_was(then, prefix.note, trust(book), tmp_path)) == "NO_SUCH_SIZE"
    other = Logbook.begin()
    assert reason(lambda: as_it_was(prefix, other.note(), trust(book), tmp_path)) == "NOT_SIGNED"


def test_a_checkpoint_of_another_history_proves_a_fork(book: Logbook, tmp_path: Path) -> None:
    other = book.copy()
    swap(other)
    grow(book, 10)
    prefix = book.prefix()
    for moment in (other.note(), len(other.records)):
        with Shelf.open(tmp_path) as shelf:
            shelf.keep_note(len(other.records), other.note())
        with pytest.raises(InconsistentLogError) as caught:
            as_it_was(prefix, moment, trust(book), tmp_path)
        assert (caught.value.held, caught.value.served) == (other.note(), prefix.note)


def ticking(book: Logbook) -> Iterator[int]:
    for _ in range(3):
        grow(book, 2)
        book.tick()
        yield 1


def test_ticks_among_the_new_records_are_counted(book: Logbook, tmp_path: Path) -> None:
    mirror(Served(book), book, tmp_path)
    for count in ticking(book):
        assert mirror(Served(book), book, tmp_path).ticks == count
    grow(book, 4)
    assert mirror(Served(book), book, tmp_path).ticks == 0
