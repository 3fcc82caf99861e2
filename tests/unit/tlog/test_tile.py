import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlog.errors import TileError
from tlog.merkle import (
    Subtrees,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_hash,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)
from tlog.tile import (
    WIDTH,
    Tile,
    aligned_path,
    bundle_path,
    bundles_of,
    decode_bundle,
    encode_bundle,
    new_tiles,
    split_tile,
    subtrees_from_tiles,
    tiles_of,
)


def test_paths_are_those_of_the_specification() -> None:
    assert Tile(0, 0).path == "tile/0/000"
    assert Tile(2, 1_234_067).path == "tile/2/x001/x234/067"
    assert Tile(1, 1_000, 7).path == "tile/1/x001/000.p/7"
    assert bundle_path(999_999) == "tile/entries/x999/999"
    assert aligned_path("bodies", 3, 255) == "bodies/003.p/255"


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts() -> None:
    tiles = list(tiles_of(70_000))
    assert sum(tile.level == 0 and tile.width == WIDTH for tile in tiles) == 273
    assert [t for t in tiles if t.width < WIDTH] == [
        Tile(0, 273, 112),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]


def test_a_tree_of_256_has_a_full_tile_and_a_partial_one_above() -> None:
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []


sizes = st.integers(0, 140_000)


@given(sizes, sizes)
def test_new_tiles_are_those_that_a_smaller_tree_lacks(one: int, other: int) -> None:
    old, new = sorted((one, other))
    assert sorted(new_tiles(old, new)) == sorted(set(tiles_of(new)) - set(tiles_of(old)))


@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_bundles_cover_every_record_once(size: int, start: int) -> None:
    bundles = list(bundles_of(size, start))
    assert all(1 <= width <= WIDTH for _, width in bundles)
    if start < size:
        assert bundles[0][0] == start // WIDTH
        assert sum(width for _, width in bundles) == size - bundles[0][0] * WIDTH
    else:
        assert not bundles or start % WIDTH


@functools.cache
def leaves(size: int) -> tuple[bytes, ...]:
    return tuple(leaf_hash(b"%d" % index) for index in range(size))


def stored(size: int) -> dict[Tile, bytes]:
    """Make every tile of a tree from its leaves alone."""
    return {
        tile: b"".join(
            subtree_root(
                leaves(size)[
                    (tile.index * WIDTH + i) * WIDTH**tile.level : (tile.index * WIDTH + i + 1)
                    * WIDTH**tile.level
                ]
            )
            for i in range(tile.width)
        )
        for tile in tiles_of(size)
    }


@functools.cache
def reader(size: int) -> Subtrees:
    tiles = stored(size)
    return subtrees_from_tiles(size, tiles.__getitem__)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 1_000, 2_000])
def test_proofs_made_from_tiles_verify(size: int) -> None:
    root = subtree_root(leaves(size))
    assert root_hash(size, reader(size)) == root
    for index in {0, size // 3, size // 2, size - 1}:
        verify_inclusion(
            index, size, leaves(size)[index], inclusion_proof(index, size, reader(size)), root
        )
        old = index + 1
        verify_consistency(
            old,
            size,
            consistency_proof(old, size, reader(size)),
            subtree_root(leaves(size)[:old]),
            root,
        )


def test_a_tile_of_another_length_is_refused() -> None:
    for data in (b"", bytes(31), bytes(64)):
        with pytest.raises(TileError) as caught:
            split_tile(Tile(0, 0, 1), data)
        assert caught.value.reason == "TILE_LENGTH"


def test_a_subtree_beyond_the_tree_is_refused() -> None:
    with pytest.raises(TileError) as caught:
        reader(257)(1, 128)
    assert caught.value.reason == "NO_SUBTREE"


@given(st.lists(st.binary(max_size=300), max_size=40))
def test_a_bundle_reads_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=9), st.data())
def test_a_bundle_cut_short_is_refused(entries: list[bytes], data: st.DataObject) -> None:
    whole = encode_bundle(entries)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(TileError):
        decode_bundle(whole[:cut], len(entries))


def test_an_entry_too_long_for_its_length_is_refused() -> None:
    with pytest.raises(TileError):
        encode_bundle([bytes(65_536)])


@pytest.mark.parametrize("width", [0, 257])
def test_a_tile_has_1_to_256_hashes(width: int) -> None:
    with pytest.raises(TileError):
        bundle_path(0, width)
