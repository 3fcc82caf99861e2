from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from protos.stillwatch.statement.v1 import summary_pb2
from statements.log_trust import LogTrust
from tests.unit.verifier.logbook import MINUTE, Logbook
from tlog.tile import Tile, aligned_path, bundle_path
from verifier.mirror.errors import MirrorError
from verifier.mirror.prefix import fetch_prefix, served_log
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

    with HttpSource("https://log.example/", httpx.MockTransport(answer)) as source:
        prefix = fetch_prefix(source, _trust(book))
    assert tuple(prefix.entries) == tuple(book.records)


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

    with HttpSource("https://log.example", httpx.MockTransport(flood)) as web:
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
        with HttpSource("https://log.example", httpx.MockTransport(answer)) as source:
            assert _reason(lambda: fetch_prefix(source, _trust(book))) == reason


def test_a_log_that_is_replaced_while_it_is_read_is_read_as_it_is_then(
    book: Logbook, tmp_path: Path
) -> None:
    """As a mirror that is brought up to date: what is not full goes when something longer is there."""
    folder = _served(book, tmp_path)
    grown = book.copy()
    for _ in range(5):
        _grow(grown)

    class Moving:
        place = "moving"
        moved = False

        def read(self, path: str, limit: int) -> bytes | None:
            data = folder.read(path, limit)
            if path == "checkpoint" and not self.moved:
                self.moved = True
                for part in list(tmp_path.rglob("*.p/*")):
                    part.unlink()
                grown.serve(tmp_path)
            return data

    prefix = fetch_prefix(Moving(), _trust(book))
    assert tuple(prefix.entries) == tuple(grown.records)
    assert tuple(prefix.bodies) == tuple(grown.bodies), "no body is taken for withheld"


@pytest.mark.parametrize("size", [1, 4, 255, 256, 257, 260])
def test_the_first_records_of_a_log_are_the_log_as_it_was(book: Logbook, size: int) -> None:
    then = book.copy()
    then.records, then.bodies = then.records[:size], then.bodies[:size]
    was, now = then.prefix(), book.prefix().first(size, b"a note")
    assert (was.root, was.size) == (now.root, now.size)
    assert (list(was.entries), list(was.bodies)) == (list(now.entries), list(now.bodies))
    assert [list(level) for level in was.levels] == [list(level) for level in now.levels]
    assert was.root_at(size // 2 + 1) == now.root_at(size // 2 + 1)
