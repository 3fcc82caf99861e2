"""Rows are the byte strings that they stand for, wherever those lie."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.rows.digests import Digests
from verifier.rows.numbering import number_rows
from verifier.rows.rows import ABSENT, Rows

strings = st.lists(st.none() | st.binary(max_size=20), max_size=12)


def _scattered(said: Sequence[bytes | None], chance: int) -> Rows[bytes | None]:
    """Lay strings into a few buffers with other bytes between them, in a random order."""
    random = np.random.default_rng(chance)
    buffers = [b"", b"x", b""]
    columns = np.zeros((3, len(said)), dtype=np.int64)
    for at in random.permutation(len(said)).tolist():
        one, to = said[at], int(random.integers(3))
        buffers[to] += random.bytes(int(random.integers(3)))
        columns[:, at] = to, len(buffers[to]), ABSENT if one is None else len(one)
        buffers[to] += one or b""
    return Rows(tuple(buffers), *columns)


@given(strings, st.integers(0, 2**32 - 1))
def test_rows_are_the_strings_that_they_stand_for(said: list[bytes | None], chance: int) -> None:
    for rows in (_scattered(said, chance), Rows.of(said)):
        assert list(rows) == said == [rows[at] for at in range(len(said))]
        assert Rows.of(rows) is rows
        assert list(rows[1:4]) == said[1:4]
        assert list(rows.take(rows.held)) == [one for one in said if one is not None]
        more: Rows[bytes | None] = Rows.of([b"more"])
        assert list(Rows.joined([rows, rows[2:], more])) == [*said, *said[2:], b"more"]


@given(st.lists(st.binary(max_size=20), max_size=12), st.integers(0, 2**32 - 1))
def test_rows_have_the_digests_of_their_strings(said: list[bytes], chance: int) -> None:
    rows = _scattered(said, chance)
    wanted = [hashlib.sha256(b"prefix" + one).digest() for one in said]
    digests = Digests(rows.digests(b"prefix"))
    assert list(digests) == wanted
    assert list(digests[1:5]) == wanted[1:5]
    assert [one.tobytes() for one in digests.octets] == wanted


@given(st.integers(0, 9), st.integers(1, 40), st.integers(0, 2**32 - 1), st.data())
def test_rows_of_one_length_are_a_matrix(
    width: int, count: int, chance: int, data: st.DataObject
) -> None:
    said = data.draw(
        st.lists(st.binary(min_size=width, max_size=width), min_size=count, max_size=count)
    )
    spread = sorted(data.draw(st.sets(st.integers(0, 3 * count), min_size=count, max_size=count)))
    gaps = np.diff([0, *spread])
    tight = b"".join(b"-" * int(gap) + one for gap, one in zip(gaps, said, strict=True))
    start = np.cumsum(gaps) + width * np.arange(count)
    beside: Rows[bytes | None] = Rows(
        (tight,), np.zeros(count, np.int64), start, np.full(count, width)
    )
    for rows in (_scattered(said, chance), Rows.of(said), beside):
        assert list(rows) == said
        first, last = sorted((chance % (width + 1), chance // 7 % (width + 1)))
        assert [one.tobytes() for one in rows.columns(first, last)] == [
            one[first:last] for one in said
        ]
        assert list(rows.part(first, last)) == [one[first:last] for one in said]
        whole = np.zeros((count, width), dtype=np.uint8)
        for at, block in rows.blocks():
            whole[at] = block
        assert [row.tobytes() for row in whole] == said


def test_rows_of_several_lengths_are_no_matrix() -> None:
    for said in ([b"a", b"bb"], [b"a", None], [None]):
        with pytest.raises(ValueError, match="not one length"):
            list(Rows.of(said).blocks())
    for span in ((2, 4), (2, 1), (-1, 2)):
        with pytest.raises(ValueError, match="has no bytes"):
            Rows.of([b"abc"]).columns(*span)
    with pytest.raises(ValueError, match="fewer than 2"):
        Rows.of([b"a", b"bb"]).part(0, 2)
    with pytest.raises(ValueError, match="absent"):
        Rows.of([b"a", None]).all_held()


@pytest.mark.parametrize(
    ("buffer", "start", "length"),
    [(0, 0, 5), (0, 5, 0), (0, -1, 1), (0, 0, -2), (0, 2**62, 2**62), (1, 0, 0), (-1, 0, 0)],
)
def test_a_row_outside_its_buffer_is_refused(buffer: int, start: int, length: int) -> None:
    columns = [np.array([0, value], dtype=np.int64) for value in (buffer, start, length)]
    with pytest.raises(ValueError, match=r"lies in no buffer|does not lie in its buffer"):
        Rows((b"four",), *columns)


@given(
    st.lists(
        st.binary(min_size=11, max_size=11).map(lambda one: one[:1] * 10 + one[1:2]), max_size=30
    )
)
def test_rows_are_numbered_in_the_order_in_which_they_appear(said: list[bytes]) -> None:
    octets = np.frombuffer(b"".join(said), np.uint8).reshape(len(said), 11)
    numbers, first = number_rows(octets)
    known: dict[bytes, int] = {}
    assert numbers.tolist() == [known.setdefault(one, len(known)) for one in said]
    assert first.tolist() == [said.index(one) for one in known]


@pytest.mark.parametrize("bits", [16, 40])
def test_rows_are_numbered_alike_though_parts_of_what_they_are_mixed_to_are_the_same(
    monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    monkeypatch.setattr("verifier.rows.numbering._FACTORS", np.array([1 << bits], dtype=np.uint64))
    said = np.random.default_rng(1).integers(0, 9, (200, 1), dtype=np.uint8)
    known: dict[int, int] = {}
    numbers, _ = number_rows(said)
    assert numbers.tolist() == [known.setdefault(one, len(known)) for one in said[:, 0].tolist()]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.binary(min_size=2, max_size=2)), max_size=20),
    st.booleans(),
)
def test_what_is_the_same_in_a_group_is_numbered_as_without_it(
    said: list[tuple[int, bytes]], alike: bool
) -> None:
    own = [bytes([which, 7]) if alike else one for which, one in said]
    octets = np.frombuffer(b"".join(own), np.uint8).reshape(len(said), 2)
    group = np.array([which for which, _ in said], dtype=np.int64)
    for found, wanted in zip(number_rows(octets, group), number_rows(octets), strict=True):
        assert found.tolist() == wanted.tolist()


def test_rows_that_were_made_to_be_mixed_up_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.rows.numbering._FACTORS", np.zeros(1, dtype=np.uint64))
    numbers, first = number_rows(np.array([[1], [2], [1], [3]], dtype=np.uint8))
    assert (numbers.tolist(), first.tolist()) == ([0, 1, 0, 2], [0, 1, 3])
