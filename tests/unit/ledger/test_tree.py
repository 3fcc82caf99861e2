"""The right edge of the tree, held to the tree itself."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ledger.tree import Edge
from tlog.merkle import EMPTY_ROOT, leaf_hash, root_hash, subtree_root
from tlog.tile import WIDTH, Tile, tiles_of

LEAVES = [leaf_hash(str(number).encode()) for number in range(70_000)]


def grown(steps: Sequence[int]) -> tuple[Edge, dict[Tile, bytes]]:
    edge, tiles = Edge(), dict[Tile, bytes]()
    for step in steps:
        edge, filled = edge.extend(LEAVES[edge.size : edge.size + step])
        assert not tiles.keys() & filled.keys(), "a full tile is written once"
        tiles |= filled
    return edge, tiles | dict(edge.partial_tiles())


def test_the_empty_edge_has_the_empty_root_and_no_tiles() -> None:
    assert Edge().root == EMPTY_ROOT
    assert list(Edge().partial_tiles()) == []
    assert Edge().extend([]) == (Edge(), {})


@given(steps=st.lists(st.integers(0, 700), max_size=6))
def test_any_steps_give_the_root_and_the_tiles_of_the_whole_tree(steps: list[int]) -> None:
    edge, tiles = grown(steps)
    size = sum(steps)
    assert edge.size == size
    assert edge.root == subtree_root(LEAVES[:size])
    assert set(tiles) == set(tiles_of(size))
    for tile, data in tiles.items():
        if tile.level == 0:
            assert data == b"".join(LEAVES[tile.index * WIDTH :][: tile.width])


def test_three_levels_of_tiles_are_those_of_the_tree() -> None:
    edge, tiles = grown([65_535, 1, 3_000])
    size = 68_536
    assert edge.root == subtree_root(LEAVES[:size])
    assert set(tiles) == set(tiles_of(size))
    assert tiles[Tile(2, 0, 1)] == subtree_root(LEAVES[:65_536])

    def subtree(level: int, index: int) -> bytes:
        return subtree_root(LEAVES[index << level : (index + 1) << level])

    assert edge.root == root_hash(size, subtree)
