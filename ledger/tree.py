"""The right edge of the tree: what integration needs to remember, and nothing else. Pure.

Of each level the hashes of the tile that is not full yet are kept. Full tiles come out as they fill, after C2SP
tlog-tiles; the root follows RFC 6962, section 2.1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tlog.merkle import EMPTY_ROOT, subtree_root
from tlog.tile import HEIGHT, WIDTH, Tile


@dataclass(frozen=True, slots=True)
class Edge:
    """The edge of a tree of ``size`` leaves: ``levels[l]`` are the hashes of the last tile of level l, 0 to 255."""

    size: int = 0
    levels: tuple[tuple[bytes, ...], ...] = ()

    def extend(self, leaves: Sequence[bytes]) -> "tuple[Edge, dict[Tile, bytes]]":
        """Return the edge after more leaf hashes, and the tiles that they filled."""
        filled: dict[Tile, bytes] = {}
        levels: list[tuple[bytes, ...]] = []
        fresh = list(leaves)
        while fresh or len(levels) < len(self.levels):
            level = len(levels)
            row = [*(self.levels[level] if level < len(self.levels) else ()), *fresh]
            first = self.size >> HEIGHT * (level + 1)
            fresh = []
            for at in range(len(row) // WIDTH):
                hashes = row[at * WIDTH : (at + 1) * WIDTH]
                filled[Tile(level, first + at)] = b"".join(hashes)
                fresh.append(subtree_root(hashes))
            levels.append(tuple(row[len(fresh) * WIDTH :]))
        return Edge(self.size + len(leaves), tuple(levels)), filled

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        rest: tuple[bytes, ...] = ()
        for hashes in self.levels:
            row = (*hashes, *rest)
            rest = (subtree_root(row),) if row else ()
        return rest[0] if rest else EMPTY_ROOT

    def partial_tiles(self) -> Iterator[tuple[Tile, bytes]]:
        """Yield the tiles that are not full."""
        for level, hashes in enumerate(self.levels):
            if hashes:
                index = self.size >> HEIGHT * (level + 1)
                yield Tile(level, index, len(hashes)), b"".join(hashes)
