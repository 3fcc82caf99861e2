"""Rows of one layout are told from others, and their fields copied, alike in each way that is there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.rows import native, template
from verifier.rows.rows import Int64, Octets, Rows
from verifier.rows.template import Template, read_rows

WIDTH = 300


def fixed(places: dict[int, int], bits: int) -> tuple[Int64, Octets, int]:
    return (
        np.array(list(places), dtype=np.int64),
        np.array(list(places.values()), dtype=np.uint8),
        bits,
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rows[bytes], list[bytes], Template, list[tuple[int, int]]]:
    """Rows of which some have what a template fixes and others differ in one byte, in several buffers."""
    width = draw(st.integers(1, WIDTH))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    row = chance.bytes(width)
    places = chance.permutation(width)[: draw(st.integers(0, width))].tolist()
    some = draw(st.integers(0, len(places)))
    made = Template.of([
        fixed({at: row[at] for at in places[:some]}, 0xFF),
        fixed({at: row[at] for at in places[some:]}, 0x80),
    ])  # fmt: skip
    said = []
    for _ in range(draw(st.integers(0, 9))):
        changed = bytearray(row)
        if draw(st.booleans()):
            changed[draw(st.integers(0, width - 1))] ^= draw(st.integers(1, 255))
        said.append(bytes(changed))
    buffers = [b"", b"x", b"yz"]
    columns = np.zeros((3, len(said)), dtype=np.int64)
    for at, data in enumerate(said):
        to = draw(st.integers(0, 2))
        columns[:, at] = to, len(buffers[to]), width
        buffers[to] += data + b"-" * draw(st.integers(0, 2))
    fields = []
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, width))
        fields.append((start, draw(st.integers(start, width))))
    return Rows(tuple(buffers), *columns), said, made, fields


@given(cases())
def test_every_way_of_reading_says_and_copies_what_the_bytes_say(
    case: tuple[Rows[bytes], list[bytes], Template, list[tuple[int, int]]],
) -> None:
    rows, said, made, fields = case
    wanted = [
        all(
            (data[at] & bits) == value
            for at, value, bits in zip(
                made.places.tolist(), made.values.tolist(), made.bits.tolist(), strict=True
            )
        )
        for data in said
    ]
    for name, way in template.READERS.items():
        same, found = way(rows, made, fields)
        assert same.tolist() == wanted, name
        for (start, end), octets in zip(fields, found, strict=True):
            assert octets.shape == (len(said), end - start)
            assert [one.tobytes() for one in octets] == [data[start:end] for data in said], name


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("at", [0, 1, 7, 8, 63, 64, 65, 199])
def test_no_way_of_reading_overlooks_a_bit(at: int, bit: int) -> None:
    row = bytes(range(200))
    whole = Template.of([fixed(dict(enumerate(row)), 0xFF)])
    other = row[:at] + bytes([row[at] ^ 1 << bit]) + row[at + 1 :]
    for name, way in template.READERS.items():
        same, _ = way(Rows.of([row, other, row]), whole, [])
        assert same.tolist() == [True, False, True], name


def test_rows_of_several_lengths_and_fields_outside_them_are_refused() -> None:
    made = Template.of([fixed({3: 9}, 0xFF)])
    rows: Rows[bytes] = Rows.of([b"four", b"five"])
    with pytest.raises(ValueError, match="not one length"):
        read_rows(Rows.of([b"four", b"three"]), made, [])
    for places in ([(0, 5)], [(-1, 2)], [(3, 2)]):
        with pytest.raises(ValueError, match="outside the rows"):
            read_rows(rows, made, places)
    with pytest.raises(ValueError, match="outside the rows"):
        read_rows(rows, Template.of([fixed({4: 9}, 0xFF)]), [])


@pytest.mark.skipif("C" not in template.READERS, reason="the loops in C are not built here")
@pytest.mark.parametrize("place", [(0, 1, 4), (0, -1, 4), (1, 0, 4), (-1, 0, 4), (0, 2**62, 2**62)])
def test_the_loop_in_c_reads_no_row_outside_its_buffer(place: tuple[int, int, int]) -> None:
    loops = native.load()
    assert loops is not None
    with pytest.raises(ValueError, match="buffer"):
        loops.read_rows(
            [b"four"],
            [np.array([0, one], dtype=np.int64) for one in place],
            template=(np.zeros(0, np.uint8), np.zeros(0, np.uint8)),
            spans=np.zeros(0, np.int64),
            fields=np.zeros(0, np.int64),
            found=[],
            same=np.zeros(2, np.bool_),
        )
