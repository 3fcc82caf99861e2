"""A bundle is split at once into what the one-by-one decoders make of it, or refused for their reasons."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statements.body import BODY_LIMIT
from statements.body_bundle import decode_body_bundle, encode_body_bundle
from statements.errors import BodyError
from tlog.errors import TileError
from tlog.tile import decode_bundle, encode_bundle
from verifier.mirror.bundles import Places, body_places, entry_places
from verifier.rows.rows import Rows

lengths = st.sampled_from([0, 1, 3, 3, 3])


def _sized(draw: st.DrawFn) -> list[bytes]:
    return [bytes([at]) * draw(lengths) for at in range(draw(st.integers(0, 12)))]


@st.composite
def bundles(draw: st.DrawFn, encode: Callable[[Sequence[bytes]], bytes]) -> tuple[bytes, int]:
    """Return a bundle, maybe cut or with bytes changed, and the width that it may have."""
    said = _sized(draw)
    data = bytearray(encode(said))
    for at in draw(st.lists(st.integers(0, max(0, len(data) - 1)), max_size=3)):
        if data:
            data[at] = draw(st.sampled_from([0, 1, 2, 3, 255]))
    data = data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data
    return bytes(data), draw(st.sampled_from([len(said), len(said), 0, len(said) + 1, 256]))


def _same(
    data: bytes,
    width: int,
    split: Callable[[bytes, int], Places],
    decode: Callable[[bytes, int], Sequence[bytes | None]],
) -> None:
    def place(data: bytes, width: int) -> list[bytes | None]:
        return list(Rows[bytes | None].lying([(data, split(data, width))]))

    assert _told(place, data, width) == _told(decode, data, width)


def _told(
    read: Callable[[bytes, int], Sequence[bytes | None]], data: bytes, width: int
) -> list[bytes | None] | tuple[str, str]:
    try:
        return list(read(data, width))
    except (TileError, BodyError) as error:
        return error.reason, str(error)


@given(bundles(encode_bundle))
def test_entries_are_found_where_the_decoder_finds_them(bundle: tuple[bytes, int]) -> None:
    _same(*bundle, entry_places, decode_bundle)


@given(bundles(encode_body_bundle), st.sets(st.integers(0, 11)))
def test_bodies_are_found_where_the_decoder_finds_them(
    bundle: tuple[bytes, int], gone: set[int]
) -> None:
    data, width = bundle
    _same(data, width, body_places, decode_body_bundle)
    try:
        bodies = decode_body_bundle(data, width)
    except BodyError:
        return
    held = [None if at in gone else body for at, body in enumerate(bodies)]
    _same(encode_body_bundle(held), width, body_places, decode_body_bundle)


@pytest.mark.parametrize("length", [BODY_LIMIT, BODY_LIMIT + 1, 2**32 - 2])
def test_a_body_of_the_most_bytes_is_found_and_none_of_more(length: int) -> None:
    data = length.to_bytes(4, "big") + bytes(BODY_LIMIT + 1 if length > BODY_LIMIT else length)
    _same(data, 1, body_places, decode_body_bundle)


def test_neighbours_of_many_lengths_are_found_one_by_one() -> None:
    said = [bytes(at % 7) for at in range(256)]
    _same(encode_bundle(said), 256, entry_places, decode_bundle)
    _same(
        encode_body_bundle([*said[:9], None, None, *said[11:]]),
        256,
        body_places,
        decode_body_bundle,
    )
