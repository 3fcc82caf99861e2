"""A signed tree, read top-down out of tiles that may be anybody's.

The tiles that are not full lead to the signed root all together; each full one leads to a hash of a tile above it. So
whatever is believed here follows from the checkpoint, one tile at a time, and no tile has to be there before it is
needed.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tlog.checkpoint import Checkpoint
from tlog.merkle import HASH_LENGTH, root_hash, subtree_root
from tlog.tile import HEIGHT, WIDTH, Tile, subtrees_from_tiles
from verifier.mirror.errors import MirrorError
from verifier.mirror.files import edge_of

Candidates = Callable[[Tile], Iterable[bytes | None]]
"""Returns a tile's bytes from one place after the other, ``None`` where there is none."""


class SignedTree:
    """The hashes of one checkpoint's tree; what is believed is handed to ``keep``. Not for several threads.

    Raises :class:`MirrorError` when the tiles that are not full do not lead to the root.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        place: str,
        candidates: Candidates,
        keep: Callable[[Tile, bytes], None],
    ) -> None:
        self.checkpoint = checkpoint
        self._place = place
        self._candidates = candidates
        self._keep = keep
        self._edge: Final = self._read_edge()
        self._recent: dict[int, tuple[int, bytes]] = {}

    @property
    def edge(self) -> dict[Tile, bytes]:
        """The tiles that are not full."""
        return dict(self._edge)

    def root_at(self, size: int) -> bytes:
        """Return the root that the tree had at a size of at most its own.

        Raises :class:`MirrorError` when a tile that it takes is missing or wrong.
        """
        return root_hash(size, self._subtree)

    def hash_of(self, tile: Tile) -> bytes:
        """Return the hash of a full tile, out of the tile above it."""
        above = self._hashes(tile.level + 1, tile.index // WIDTH)
        at = tile.index % WIDTH * HASH_LENGTH
        return above[at : at + HASH_LENGTH]

    def _hashes(self, level: int, index: int) -> bytes:
        """Return a tile's hashes, as many as the tree has."""
        held = (self.checkpoint.size >> (HEIGHT * level)) - index * WIDTH
        if held < WIDTH:
            return self._edge[Tile(level, index, held)]
        kept_index, kept = self._recent.get(level, (-1, b""))
        if kept_index == index:
            return kept
        tile = Tile(level, index)
        data = self.believe(tile, self.hash_of(tile), self._candidates(tile))
        self._keep(tile, data)
        self._recent[level] = (index, data)
        return data

    def believe(self, tile: Tile, wanted: bytes, candidates: Iterable[bytes | None]) -> bytes:
        """Return the bytes of a full tile that have the hash wanted; raises :class:`MirrorError` when none have."""
        wrong = False
        for data in candidates:
            if data is None:
                continue
            if len(data) == WIDTH * HASH_LENGTH and subtree_root(split(data)) == wanted:
                return data
            wrong = True
        raise self._refused(tile, wrong=wrong)

    def _read_edge(self) -> dict[Tile, bytes]:
        """Return the tiles that are not full: as they come first and, if those are wrong, as they come last."""
        edge: dict[Tile, bytes] = {}
        others: dict[Tile, bytes] = {}
        rest = {tile: self._whole(tile) for tile in edge_of(self.checkpoint.size)}
        for tile, candidates in rest.items():
            edge[tile] = next(candidates)
        if self._has_root(edge):
            return edge
        for tile, candidates in rest.items():
            others[tile] = next(candidates, edge[tile])
        if self._has_root(others):
            return others
        raise MirrorError(
            "WRONG_TILE",
            f"the tiles at {self._place} do not have the root of the checkpoint of size {self.checkpoint.size}: "
            "what is served is not what was signed",
        )

    def _whole(self, tile: Tile) -> Iterator[bytes]:
        """Yield a tile's bytes from each place where it has as many as it should; at least once, or raise."""
        lengths = []
        for data in self._candidates(tile):
            if data is not None:
                lengths.append(len(data))
                if len(data) == tile.width * HASH_LENGTH:
                    yield data
        if tile.width * HASH_LENGTH not in lengths:
            raise self._refused(tile, wrong=bool(lengths))

    def _has_root(self, edge: dict[Tile, bytes]) -> bool:
        subtree = subtrees_from_tiles(self.checkpoint.size, edge.__getitem__)
        return root_hash(self.checkpoint.size, subtree) == self.checkpoint.root

    def _subtree(self, level: int, index: int) -> bytes:
        tile_level, height = divmod(level, HEIGHT)
        tile_index, offset = divmod(index << height, WIDTH)
        hashes = split(self._hashes(tile_level, tile_index))
        return subtree_root(hashes[offset : offset + (1 << height)])

    def _refused(self, tile: Tile, *, wrong: bool) -> MirrorError:
        if wrong:
            return MirrorError(
                "WRONG_TILE", f"{self._place}/{tile.path} does not hold the hashes that were signed"
            )
        return MirrorError(
            "MISSING_FILE", f"{self._place}/{tile.path} is missing: the log is not whole"
        )


def split(data: bytes) -> list[bytes]:
    """Return the hashes that are laid end to end."""
    return [data[at : at + HASH_LENGTH] for at in range(0, len(data), HASH_LENGTH)]
