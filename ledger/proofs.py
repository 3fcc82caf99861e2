"""Proofs out of what is published: the static files, and nothing else."""

from collections.abc import Sequence

from ledger.errors import ObjectError
from ledger.objects.interface import ObjectStore
from tlog.merkle import HASH_LENGTH, consistency_proof, inclusion_proof
from tlog.selection import selection_proof
from tlog.tile import HEIGHT, WIDTH, Tile, subtrees_from_tiles


class Prover:
    """Proves things about trees up to ``size``, the published one."""

    def __init__(self, objects: ObjectStore, size: int) -> None:
        self._objects = objects
        self._size = size

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the audit path of a record in the tree of ``size`` leaves.

        Raises :class:`ProofError` when there is none, and :class:`ObjectError` when a tile cannot be read.
        """
        return inclusion_proof(index, size, subtrees_from_tiles(size, self._tile))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the path from the tree of ``old`` leaves to that of ``new``; raises as :meth:`inclusion`."""
        return consistency_proof(old, new, subtrees_from_tiles(new, self._tile))

    def selection(self, indices: Sequence[int], size: int) -> list[bytes]:
        """Return the one proof of several records in the tree of ``size`` leaves; raises as :meth:`inclusion`."""
        return selection_proof(indices, size, subtrees_from_tiles(size, self._tile))

    def _tile(self, tile: Tile) -> bytes:
        """Return a tile of an older tree out of the form in which the published tree has it, or a later one."""
        in_level = self._size >> HEIGHT * tile.level
        now = Tile(tile.level, tile.index, min(WIDTH, in_level - tile.index * WIDTH))
        data = self._objects.get(now.path)
        if data is None and now.width < WIDTH:
            data = self._objects.get(Tile(tile.level, tile.index).path)
        if data is None:
            raise ObjectError("TILE_MISSING", f"{now.path} is missing: run fsck")
        return data[: tile.width * HASH_LENGTH]
