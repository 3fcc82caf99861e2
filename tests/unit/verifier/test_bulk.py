"""The bulk way and the one-by-one way give the same columns, whatever is thrown at them."""

import hashlib
from dataclasses import fields, replace

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from protos.stillwatch.statement.v1 import summary_pb2
from statements.body import decode_body, encode_body
from statements.errors import BodyError
from statements.features import WIDTH, pack_rows
from verifier.accounts.columns import ColumnsBuilder, PowerSlots, Windows
from verifier.accounts.errors import ColumnsError
from verifier.evidence.bulk import Bodies, Piece, join, read_bulk
from verifier.evidence.layout import read_layout
from verifier.rows.rows import Rows

MINUTE = 60_000
SALT = bytes(16)
INVENTORIES = {name: hashlib.sha256(name.encode()).digest() for name in ("two", "one", "none")}
MODELS = {
    (node, INVENTORIES[name]): models
    for node in (0, 1)
    for name, models in (("two", (3, 3)), ("one", (1,)), ("none", ()))
}
ROSTERS = {key: at for at, key in enumerate(MODELS)}

Nested = dict[int, "Nested"]
"""Numbers of fields that are messages, each with its own."""

numbers = st.integers(0, 2**32 - 1)
counters = st.lists(st.integers(0, 2**64 - 1), max_size=3)
floats = st.floats(width=32)


@st.composite
def summaries(draw: st.DrawFn) -> summary_pb2.WorkloadSummary:
    name = draw(st.sampled_from([*INVENTORIES, "unknown"]))
    chips = draw(st.sampled_from([len(MODELS.get((0, INVENTORIES.get(name, b"")), ())), 2]))
    made = summary_pb2.WorkloadSummary(
        inventory=INVENTORIES.get(name, b"?" * 32),
        feature_set=draw(st.sampled_from([1, 1, 1, 2])),
        boot_id=draw(st.sampled_from([b"a" * 16, b"b" * 16, b"short"])),
        chip_features=pack_rows([[draw(floats)] * WIDTH] * chips),
    )
    for field in ("samples_expected", "samples_taken", "largest_gap_ms"):
        if draw(st.booleans()):
            setattr(made, field, draw(numbers))
    for field in ("energy_start_mj", "energy_end_mj", "energy_start_at", "energy_end_at"):
        if draw(st.booleans()):
            top = (
                2**64 - 1
                if field.endswith("mj")
                else draw(st.sampled_from([253_402_300_799_999, 2**60]))
            )
            count = draw(st.sampled_from([chips, chips, 0, 1]))
            getattr(made, field).extend(draw(st.integers(0, top)) for _ in range(count))
    if draw(st.booleans()):
        made.power.slot_ms = draw(st.sampled_from([30_000, 45_000, 60_000, 0, 90_000]))
        slots = draw(st.sampled_from([1, 2]))
        made.power.chips = draw(st.sampled_from([b"", b"\x01\x02" * slots * chips]))
        made.power.node = draw(st.sampled_from([b"", b"\x03\x04" * slots]))
    if draw(st.booleans()):
        made.node.SetInParent()
        if draw(st.booleans()):
            made.node.wall_energy_joules = draw(st.floats())
        if draw(st.booleans()):
            made.node.wall_covered_ms = draw(numbers)
            made.node.wall_resolution_watts = draw(floats)
        if draw(st.booleans()):
            made.node.ethernet_sent_bytes = draw(st.integers(0, 2**64 - 1))
    if draw(st.integers(0, 5)) == 0:
        made.failed_sources.append("nvml")
    return made


def _bodies(stored: list[bytes]) -> Bodies:
    count = len(stored)
    start = np.arange(count, dtype=np.int64) * MINUTE
    node = np.arange(count, dtype=np.int64) % 2
    return Bodies(Rows.of(stored), node, start, start + MINUTE, MODELS, ROSTERS)


def _one_by_one(
    stored: list[bytes], places: list[int], boots: dict[tuple[int, bytes], int]
) -> Piece:
    """Read bodies with the builder; those that it refuses are left out."""
    builder = ColumnsBuilder()
    taken: list[int] = []
    of_row: list[int] = []
    for at in places:
        try:
            summary = summary_pb2.WorkloadSummary.FromString(decode_body(stored[at]))
        except (BodyError, DecodeError):
            continue
        models = MODELS.get((at % 2, summary.inventory))
        if models is None:
            continue
        span = at * MINUTE, (at + 1) * MINUTE
        try:
            roster = ROSTERS[at % 2, summary.inventory]
            builder.add(at % 2, *span, summary, models, roster=roster)
        except ColumnsError:
            continue
        taken.append(at)
        of_row.append(boots.setdefault((at % 2, summary.boot_id), len(boots)))
    built, boot = builder.build(), np.array(of_row, dtype=np.int32)
    windows = Windows(
        replace(built.chips, boot=boot[built.chips.window]), replace(built.nodes, boot=boot)
    )
    return Piece(np.array(taken, dtype=np.int64), windows)


def _same(left: Windows, right: Windows) -> None:
    for side in ("chips", "nodes"):
        ours, theirs = getattr(left, side), getattr(right, side)
        for field in fields(ours):
            if field.name == "boot":
                continue
            a, b = getattr(ours, field.name), getattr(theirs, field.name)
            if isinstance(a, PowerSlots):
                assert len(a) == len(b)
                assert [np.shape(x) for x in a] == [np.shape(y) for y in b], field.name
                assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True)), field.name
            else:
                assert a.dtype == b.dtype, field.name
                assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), field.name
    ours, theirs = left.nodes.boot, right.nodes.boot
    assert np.array_equal(ours[:, None] == ours[None, :], theirs[:, None] == theirs[None, :])
    assert np.array_equal(left.chips.boot, left.nodes.boot[left.chips.window])


@given(st.lists(summaries(), min_size=1, max_size=12))
def test_both_ways_give_the_same_columns(said: list[summary_pb2.WorkloadSummary]) -> None:
    stored = [encode_body(one.SerializeToString(deterministic=True), SALT) for one in said]
    bodies = _bodies(stored)
    pieces, left = read_bulk(bodies, few=1)
    whole = _one_by_one(stored, list(range(len(stored))), {})
    rest = _one_by_one(stored, left.tolist(), bodies.boots)
    read = np.concatenate([rest.places, *(piece.places for piece in pieces)])
    assert len(left) + sum(len(piece.places) for piece in pieces) == len(stored)
    assert np.sort(read).tolist() == whole.places.tolist()
    _same(join([*pieces, rest]), whole.windows)


def _ordinary() -> list[bytes]:
    said = [
        summary_pb2.WorkloadSummary(
            inventory=INVENTORIES["two"],
            feature_set=1,
            samples_taken=100 + at,
            largest_gap_ms=1000,
            boot_id=b"a" * 16,
            chip_features=pack_rows([[1.0] * WIDTH] * 2),
            energy_start_mj=[1, 2],
            energy_start_at=[3, 4],
            power=summary_pb2.PowerSeries(
                slot_ms=30_000, chips=b"\x01\x02" * 4, node=b"\x01\x02" * 2
            ),
            node=summary_pb2.NodeCounters(wall_energy_joules=5.0, wall_covered_ms=60_000),
        )
        for at in range(50)
    ]
    return [encode_body(one.SerializeToString(deterministic=True), SALT) for one in said]


def test_ordinary_windows_are_all_read_in_bulk() -> None:
    pieces, left = read_bulk(_bodies(_ordinary()))
    assert len(left) == 0
    assert join(pieces).nodes.samples_taken.tolist() == [100 + at for at in range(50)]


def _changed(stored: list[bytes], row: int, at: int, bits: int) -> None:
    body = bytearray(stored[row])
    body[at % len(body)] ^= bits
    stored[row] = bytes(body)


def _agree(stored: list[bytes]) -> None:
    bodies = _bodies(stored)
    pieces, left = read_bulk(bodies)
    whole = _one_by_one(stored, list(range(len(stored))), {})
    rest = _one_by_one(stored, left.tolist(), bodies.boots)
    read = np.concatenate([rest.places, *(piece.places for piece in pieces)])
    assert np.sort(read).tolist() == whole.places.tolist()
    _same(join([*pieces, rest]), whole.windows)


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_whatever_byte_of_a_body_is_changed_both_ways_read_or_refuse_it(bits: int) -> None:
    """Every byte of a body in turn, each beside ordinary bodies of the same length."""
    ordinary = _ordinary()
    for first in range(0, len(ordinary[0]), 25):
        stored = list(ordinary)
        for at in range(first, min(first + 25, len(ordinary[0]))):
            _changed(stored, 2 * (at - first), at, bits)
        _agree(stored)


_F = {
    name: field.number
    for name, field in summary_pb2.WorkloadSummary.DESCRIPTOR.fields_by_name.items()
}
_NESTED: "Nested" = {2: {_F["power"]: {}, _F["node"]: {}}}


class _Spelling:
    """Writes a message again with one of its varints, be it a tag, a length or a number, in so many bytes."""

    def __init__(self, padded: int, size: int) -> None:
        self.left = padded
        self.size = size

    def varint(self, value: int) -> bytes:
        octets = bytearray()
        while value > 0x7F:
            octets.append(value & 0x7F | 0x80)
            value >>= 7
        octets.append(value)
        if self.left == 0:
            octets[-1] |= 0x80
            octets += b"\x80" * (self.size - len(octets) - 1) + b"\0"
        self.left -= 1
        return bytes(octets)

    def message(self, data: bytes, nested: "Nested") -> bytes:
        written, at = b"", 0
        while at < len(data):
            tag, at = _varint(data, at)
            written += self.varint(tag)
            if tag & 7 == 0:
                value, at = _varint(data, at)
                written += self.varint(value)
                continue
            length = {1: 8, 5: 4}.get(tag & 7, 0)
            if tag & 7 == 2:
                length, at = _varint(data, at)
            inner, at = data[at : at + length], at + length
            if tag >> 3 in nested:
                inner = self.message(inner, nested[tag >> 3])
            written += (self.varint(len(inner)) if tag & 7 == 2 else b"") + inner
        return written


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = data[at] & 0x7F, 7
    while data[at] & 0x80:
        at += 1
        value, shift = value | (data[at] & 0x7F) << shift, shift + 7
    return value, at + 1


@pytest.mark.parametrize("size", [2, 4, 5, 6, 10])
def test_whatever_is_written_in_more_bytes_than_it_takes_both_ways_read_or_refuse_it(
    size: int,
) -> None:
    """Parsers take a tag or length in up to five bytes, and refuse it in six."""
    ordinary = _ordinary()
    refused = 0
    for padded in range(1000):
        spellings = [_Spelling(padded, size) for _ in ordinary[:20]]
        stored = [
            spelling.message(body, _NESTED)
            for spelling, body in zip(spellings, ordinary, strict=False)
        ]
        if spellings[0].left >= 0:
            break
        _agree(stored)
        refused += len(_one_by_one(stored, list(range(20)), {}).places) == 0
    assert padded > 30
    assert (refused > 20) == (size > 5)


@given(
    st.lists(
        st.tuples(st.integers(0, 49), st.integers(0, 999), st.integers(1, 255)),
        min_size=1,
        max_size=40,
    )
)
def test_whatever_bytes_are_changed_both_ways_read_or_refuse_them(
    told: list[tuple[int, int, int]],
) -> None:
    stored = _ordinary()
    for change in told:
        _changed(stored, *change)
    _agree(stored)


@pytest.mark.parametrize(
    "content",
    [
        b"\x0a\x20" + b"i" * 32 + b"\x0a\x20" + b"j" * 32,  # a field twice: the last one counts
        b"\x10\x01\x0a\x20" + b"i" * 32,  # fields out of order
        b"\x0a\x21" + b"i" * 32,  # longer than the message
        b"\x08\x01",  # another wire type
        b"\xf8\x07\x01",  # an unknown field
        b"\x10\xff\xff\xff\xff\x1f",  # a number that does not fit
        b"\x10",  # cut short
        b"\x3b\x3c",  # a group
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_a_full_parse(content: bytes) -> None:
    body = b"\x0a\x10" + SALT + b"\x12" + bytes([len(content)]) + content
    assert read_layout(body) is None


def test_a_body_that_is_none_is_left_to_a_full_parse() -> None:
    for body in (b"", b"\x12\x00", b"\x0a\x0f" + bytes(15) + b"\x12\x00", b"\xff" * 40):
        assert read_layout(body) is None
