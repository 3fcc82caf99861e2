"""The fast way through a log and the way one by one come to the same verdict, or the same refusal, byte for byte.

Whatever is changed in what a log says: a fast way that took what the slow one refuses would be the worst defect here.
"""

from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statements.body_bundle import FOLDER, decode_body_bundle
from statements.errors import BodyError
from statements.log_trust import LogTrust
from tests.unit.verifier import slowly
from tests.unit.verifier.logbook import POWER_ONLY, TRAINING, Logbook, Pause, play, served
from tlog.errors import TlogError
from tlog.merkle import leaf_hash, subtree_root
from tlog.tile import (
    Tile,
    aligned_path,
    bundle_path,
    bundles_of,
    decode_bundle,
    split_tile,
    tiles_of,
)
from verifier.errors import VerifierError
from verifier.evidence.gather import gather
from verifier.evidence.records import read_records
from verifier.mirror.prefix import LogPrefix, fetch_prefix
from verifier.report.document import encode_document, to_document
from verifier.rows import hashing, template
from verifier.ruleset import Ruleset
from verifier.verdict import conclude


@pytest.fixture(scope="module")
def busy() -> Pause:
    """A log with windows of several layouts: with and without power by the second, and at the wall only."""
    return play({"borealis": replace(TRAINING, slots=True), "cygnus": POWER_ONLY}, minutes=18)


class _Files:
    """A log's files in memory."""

    place = "memory"

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, path: str, limit: int) -> bytes | None:
        data = self.files.get(path)
        return None if data is None or len(data) > limit else data


def _verdict(book: Logbook, prefix: LogPrefix, period: tuple[int, int], ruleset: Ruleset) -> bytes:
    try:
        verdict = conclude(book.text.encode(), gather(book.pins, prefix), period, ruleset)
    except VerifierError as error:
        return f"{error.reason}: {error}".encode()
    return encode_document(to_document(verdict))


def _both_ways(book: Logbook, period: tuple[int, int], ruleset: Ruleset) -> bytes:
    """Return the verdict, once it was found to be the same from bundles at once and one by one."""
    with slowly.slowly():
        wanted = _verdict(book, book.prefix(), period, ruleset)
    source = _Files(dict(served(book.prefix())))
    prefix = fetch_prefix(source, LogTrust.of(book.pins, book.pins.ledgers[0]))
    assert _verdict(book, prefix, period, ruleset) == wanted
    return wanted


def test_no_verdict_depends_on_how_rows_are_hashed_and_read(busy: Pause, ruleset: Ruleset) -> None:
    found = set()
    for name, way in hashing.BACKENDS.items():
        with mock.patch.dict(hashing.BACKENDS, {name: way}, clear=True):
            assert hashing.backend() == name
            found.add(_verdict(busy.book, busy.book.prefix(), busy.in_force, ruleset))
    for name, reader in template.READERS.items():
        with mock.patch.dict(template.READERS, {name: reader}, clear=True):
            found.add(_verdict(busy.book, busy.book.prefix(), busy.in_force, ruleset))
    assert len(found) == 1


changes = st.lists(
    st.tuples(st.floats(0, 0.999), st.floats(0, 0.999), st.integers(1, 255), st.booleans()),
    min_size=1,
    max_size=4,
)


def _changed(book: Logbook, told: list[tuple[float, float, int, bool]]) -> Logbook:
    """Return a log of which bytes were changed before it was signed, each in some record or body."""
    changed = book.copy()
    for which, where, bits, in_record in told:
        held: list[bytes] | list[bytes | None] = changed.records if in_record else changed.bodies
        row = int(which * len(held))
        data = bytearray(held[row] or b"\0")
        data[int(where * len(data))] ^= bits
        held[row] = bytes(data)
    return changed


def test_an_honest_log_gives_one_verdict_both_ways(busy: Pause, ruleset: Ruleset) -> None:
    assert b'"parties"' in _both_ways(busy.book, busy.in_force, ruleset)


@settings(max_examples=40)
@given(told=changes)
def test_whatever_byte_is_changed_both_ways_come_to_the_same(
    busy: Pause, ruleset: Ruleset, told: list[tuple[float, float, int, bool]]
) -> None:
    _both_ways(_changed(busy.book, told), busy.in_force, ruleset)


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_whatever_byte_of_a_record_is_changed_it_is_read_or_refused_alike(
    busy: Pause, bit: int
) -> None:
    """Every byte of a record in turn, beside records that stay as they were."""
    leaf = busy.book.records[-40]
    leaves = list(busy.book.records)
    for at in range(len(leaf)):
        leaves += [leaf[:at] + bytes([leaf[at] ^ bit]) + leaf[at + 1 :], leaf]
    found, wanted = read_records(leaves), slowly.read_records(leaves)
    assert found.refused == wanted.refused
    assert len(found.refused) > 30
    assert tuple(found.ids) == tuple(wanted.ids)
    assert found.octets.tobytes() == wanted.octets.tobytes()
    for name in wanted.table.dtype.names or ():
        assert found.table[name].tobytes() == wanted.table[name].tobytes(), name
    for name in (
        "index",
        "chain",
        "first",
        "kind",
        "sequence",
        "seen_size",
        "start_ms",
        "end_ms",
        "logged_at_ms",
    ):
        assert getattr(found, name).tolist() == getattr(wanted, name).tolist(), name


@settings(max_examples=30)
@given(gone=st.sets(st.floats(0, 0.999), min_size=1, max_size=3), cut=st.integers(0, 400))
def test_whatever_is_missing_or_cut_both_ways_come_to_the_same(
    busy: Pause, ruleset: Ruleset, gone: set[float], cut: int
) -> None:
    book = busy.book.copy()
    for which in gone:
        row = int(which * len(book.records))
        if cut % 2:
            book.bodies[row] = (book.bodies[row] or b"")[:cut] if cut % 3 else None
        else:
            book.records[row] = book.records[row][:cut]
    _both_ways(book, busy.in_force, ruleset)


def _read_slowly(source: _Files, size: int, root: bytes) -> tuple[list[bytes], list[bytes | None]]:
    """Read a log's files one by one; refuse them for what is wrong first, as the fast way does."""
    entries = [
        one
        for index, width in bundles_of(size)
        for one in decode_bundle(source.files[bundle_path(index, width)], width)
    ]
    leaves = [leaf_hash(entry) for entry in entries]
    if subtree_root(leaves) != root:
        raise VerifierError("WRONG_ENTRIES", "")
    bodies = [
        one
        for index, width in bundles_of(size)
        for one in decode_body_bundle(source.files[aligned_path(FOLDER, index, width)], width)
    ]
    for tile in tiles_of(size):
        width = 256**tile.level
        first = tile.index * 256 * width
        wanted = [
            subtree_root(leaves[first + at * width : first + (at + 1) * width])
            for at in range(tile.width)
        ]
        if split_tile(Tile(tile.level, tile.index, tile.width), source.files[tile.path]) != wanted:
            raise VerifierError("WRONG_TILE", "")
    return entries, bodies


@settings(max_examples=150)
@given(which=st.floats(0, 0.999), where=st.floats(0, 0.999), bits=st.integers(1, 255))
def test_whatever_byte_of_a_served_file_is_changed_both_ways_take_or_refuse_it(
    busy: Pause, which: float, where: float, bits: int
) -> None:
    book, held = busy.book, busy.book.prefix()
    source = _Files(dict(served(held)))
    paths = sorted(path for path in source.files if path != "checkpoint")
    path = paths[int(which * len(paths))]
    data = bytearray(source.files[path])
    data[int(where * len(data))] ^= bits
    source.files[path] = bytes(data)
    wanted: object
    found: object
    try:
        wanted = _read_slowly(source, held.size, held.root)
    except (VerifierError, TlogError, BodyError) as error:
        wanted = error.reason
    try:
        prefix = fetch_prefix(source, LogTrust.of(book.pins, book.pins.ledgers[0]))
        found = list(prefix.entries), list(prefix.bodies)
    except VerifierError as error:
        found = error.reason
    assert found == wanted
