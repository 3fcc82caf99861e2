from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from protos.stillwatch.statement.v1 import summary_pb2
from statements.log_trust import LogTrust
from tests.unit.verifier.logbook import MINUTE, Logbook, served
from tlog.tile import Tile, aligned_path, bundle_path
from verifier.mirror.errors import InconsistentLogError, MirrorError
from verifier.mirror.prefix import fetch_prefix, served_log
from verifier.mirror.shelf import keep
from verifier.mirror.source import FolderSource, HttpSource, open_source


@pytest.fixture
def book() -> Logbook:
    """A log of more than one bundle, so that there are full and partial tiles."""
    book = Logbook.begin()
    book.enrol("aurora", "aurora/0", chips=1)
    for _ in range(260):
        _grow(book)
    return book


def _grow(book: Logbook) -> None:
    node = book.nodes["aurora/0"]
    said = book.sign(node, summary_pb2.WorkloadSummary(), book.now_ms, book.now_ms + MINUTE)
    book.log(said)


def _trust(book: Logbook) -> LogTrust:
    return LogTrust.of(book.pins, book.pins.ledgers[0])


def _served(book: Logbook, folder: Path) -> FolderSource:
    book.serve(folder)
    return FolderSource(folder)


def _reason(action: Callable[[], object]) -> str:
    with pytest.raises(MirrorError) as caught:
        action()
    return caught.value.reason


def test_a_served_log_is_read_whole(book: Logbook, tmp_path: Path) -> None:
    prefix = fetch_prefix(_served(book, tmp_path), _trust(book))
    assert tuple(prefix.entries) == tuple(book.records)
    assert tuple(prefix.bodies) == tuple(book.bodies)
    assert prefix.root == book.prefix().root


def test_a_web_server_gives_the_same_as_a_folder(book: Logbook, tmp_path: Path) -> None:
    folder = _served(book, tmp_path)

    def answer(request: httpx.Request) -> httpx.Response:
        data = folder.read(request.url.path.lstrip("/"), 1 << 30)
        return httpx.Response(404) if data is None else httpx.Response(200, content=data)

    with HttpSource("http://log.example/", httpx.MockTransport(answer)) as source:
        prefix = fetch_prefix(source, _trust(book))
    assert tuple(prefix.entries) == tuple(book.records)


def test_a_mirror_is_a_log_that_can_be_read_offline(book: Logbook, tmp_path: Path) -> None:
    prefix = keep(
        fetch_prefix(_served(book, tmp_path / "log"), _trust(book)), tmp_path / "m", _trust(book)
    )
    again = fetch_prefix(FolderSource(tmp_path / "m"), _trust(book))
    assert again.root == prefix.root
    assert tuple(again.entries) == tuple(prefix.entries)
    assert tuple(again.bodies) == tuple(prefix.bodies)
    assert not list((tmp_path / "m").rglob("*.new"))


def test_a_mirror_follows_the_log_as_it_grows(book: Logbook, tmp_path: Path) -> None:
    trust = _trust(book)
    keep(fetch_prefix(_served(book, tmp_path / "log"), trust), tmp_path / "m", trust)
    for _ in range(300):
        _grow(book)
    keep(fetch_prefix(_served(book, tmp_path / "log"), trust), tmp_path / "m", trust)
    assert fetch_prefix(FolderSource(tmp_path / "m"), trust).size == len(book.records)


def test_a_mirror_keeps_no_part_of_what_has_grown(book: Logbook, tmp_path: Path) -> None:
    trust = _trust(book)
    for growth in (0, 3, 300):
        for _ in range(growth):
            _grow(book)
        keep(fetch_prefix(_served(book, tmp_path / "log"), trust), tmp_path / "m", trust)
        held = {
            str(path.relative_to(tmp_path / "m"))
            for path in (tmp_path / "m").rglob("*")
            if path.is_file()
        }
        assert held == {path for path, _ in served(book.prefix())}


@pytest.mark.parametrize("at", [0, 1, 255, 256, 263])
def test_a_flipped_bit_in_any_entry_is_refused(book: Logbook, tmp_path: Path, at: int) -> None:
    entry = bytearray(book.records[at])
    entry[40] ^= 1
    note = book.note()
    book.records[at] = bytes(entry)
    source = _served(book, tmp_path)
    (tmp_path / "checkpoint").write_bytes(note)
    assert _reason(lambda: fetch_prefix(source, _trust(book))) == "WRONG_ENTRIES"


def test_wrong_tiles_are_refused(book: Logbook, tmp_path: Path) -> None:
    source = _served(book, tmp_path)
    path = tmp_path / "tile/0/000"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    assert _reason(lambda: fetch_prefix(source, _trust(book))) == "WRONG_TILE"


def test_another_logs_checkpoint_is_refused(book: Logbook, tmp_path: Path) -> None:
    other = Logbook.begin(rehearsal=False)
    source = _served(other, tmp_path)
    assert _reason(lambda: fetch_prefix(source, _trust(book))) == "NOT_SIGNED"
    assert _reason(lambda: served_log(source, book.pins)) == "OTHER_LOG"


def test_a_checkpoint_signed_by_another_key_under_the_same_name_is_refused(
    book: Logbook, tmp_path: Path
) -> None:
    source = _served(Logbook.begin(), tmp_path)
    assert _reason(lambda: fetch_prefix(source, _trust(book))) == "NOT_SIGNED"


def test_truncated_bundles_are_refused(book: Logbook, tmp_path: Path) -> None:
    source = _served(book, tmp_path)
    for path in (bundle_path(0), aligned_path("bodies", 0)):
        whole = (tmp_path / path).read_bytes()
        (tmp_path / path).write_bytes(whole[:-1])
        assert _reason(lambda: fetch_prefix(source, _trust(book))) == "BUNDLE_CUT"
        (tmp_path / path).write_bytes(whole)


def test_a_bundle_of_another_width_is_refused(book: Logbook, tmp_path: Path) -> None:
    source = _served(book, tmp_path)
    whole = (tmp_path / bundle_path(0)).read_bytes()
    (tmp_path / bundle_path(0)).write_bytes(whole[:382])
    assert _reason(lambda: fetch_prefix(source, _trust(book))) == "BUNDLE_WIDTH"


def test_files_larger_than_any_may_be_are_refused(book: Logbook, tmp_path: Path) -> None:
    source = _served(book, tmp_path)
    (tmp_path / "checkpoint").write_bytes(b"x" * ((1 << 20) + 1))
    assert _reason(lambda: fetch_prefix(source, _trust(book))) == "TOO_LARGE"

    def flood(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"x" * ((1 << 20) + 1))

    with HttpSource("http://log.example", httpx.MockTransport(flood)) as web:
        assert _reason(lambda: fetch_prefix(web, _trust(book))) == "TOO_LARGE"


def test_a_missing_entry_bundle_is_an_error_and_a_missing_body_bundle_is_missing_evidence(
    book: Logbook, tmp_path: Path
) -> None:
    source = _served(book, tmp_path)
    (tmp_path / aligned_path("bodies", 0)).unlink()
    prefix = fetch_prefix(source, _trust(book))
    assert tuple(prefix.bodies[:256]) == (None,) * 256
    assert tuple(prefix.bodies[256:]) == tuple(book.bodies[256:])
    (tmp_path / bundle_path(0)).unlink()
    assert _reason(lambda: fetch_prefix(source, _trust(book))) == "MISSING_FILE"


def test_a_full_bundle_serves_for_the_part_that_it_was(book: Logbook, tmp_path: Path) -> None:
    note, size = book.note(), len(book.records)
    book.serve(tmp_path)
    for _ in range(512 - size):
        _grow(book)
    source = _served(book, tmp_path)
    (tmp_path / "checkpoint").write_bytes(note)
    for partial in (bundle_path(1, size - 256), Tile(0, 1, size - 256).path):
        (tmp_path / partial).unlink()
    assert tuple(fetch_prefix(source, _trust(book)).entries) == tuple(book.records[:size])


def test_no_log_and_no_server_are_told(tmp_path: Path, book: Logbook) -> None:
    assert _reason(lambda: open_source(str(tmp_path / "nowhere"))) == "NO_LOG"
    assert _reason(lambda: fetch_prefix(FolderSource(tmp_path), _trust(book))) == "NO_CHECKPOINT"

    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    for answer, reason in (
        (broken, "UNREACHABLE"),
        (lambda request: httpx.Response(503), "SERVER_REFUSED"),
        (lambda request: httpx.Response(302), "SERVER_REFUSED"),
    ):
        with HttpSource("http://log.example", httpx.MockTransport(answer)) as source:
            assert _reason(lambda: fetch_prefix(source, _trust(book))) == reason


def test_a_log_that_goes_backwards_is_refused_with_both_notes(
    book: Logbook, tmp_path: Path
) -> None:
    trust = _trust(book)
    early = book.prefix()
    _grow(book)
    late = book.prefix()
    keep(late, tmp_path, trust)
    with pytest.raises(InconsistentLogError) as caught:
        keep(early, tmp_path, trust)
    assert caught.value.reason == "WENT_BACKWARDS"
    assert (caught.value.held, caught.value.served) == (late.note, early.note)
    assert fetch_prefix(FolderSource(tmp_path), trust).size == late.size


@pytest.mark.parametrize("grown", [0, 3])
def test_a_log_that_forks_is_refused_with_both_notes(
    book: Logbook, tmp_path: Path, grown: int
) -> None:
    trust = _trust(book)
    held = book.prefix()
    keep(held, tmp_path, trust)
    book.records[-1], book.records[-2] = book.records[-2], book.records[-1]
    book.bodies[-1], book.bodies[-2] = book.bodies[-2], book.bodies[-1]
    for _ in range(grown):
        _grow(book)
    other = book.prefix()
    with pytest.raises(InconsistentLogError) as caught:
        keep(other, tmp_path, trust)
    assert caught.value.reason == "FORKED"
    assert (caught.value.held, caught.value.served) == (held.note, other.note)
    assert fetch_prefix(FolderSource(tmp_path), trust).note == held.note


def test_a_body_that_the_log_no_longer_serves_is_kept(book: Logbook, tmp_path: Path) -> None:
    trust = _trust(book)
    keep(book.prefix(), tmp_path, trust)
    whole = list(book.bodies)
    book.bodies[-1] = None
    book.bodies[-2] = b"not its body"
    assert tuple(keep(book.prefix(), tmp_path, trust).bodies) == tuple(whole)


def test_a_damaged_mirror_is_told_and_left_alone(book: Logbook, tmp_path: Path) -> None:
    trust = _trust(book)
    keep(book.prefix(), tmp_path, trust)
    (tmp_path / bundle_path(0)).write_bytes(b"")
    assert _reason(lambda: keep(book.prefix(), tmp_path, trust)) == "MIRROR_DAMAGED"
    assert (tmp_path / bundle_path(0)).read_bytes() == b""


def test_a_mirror_that_cannot_be_written_is_told(book: Logbook, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert (
        _reason(lambda: keep(book.prefix(), tmp_path / "file", _trust(book))) == "MIRROR_UNWRITABLE"
    )
