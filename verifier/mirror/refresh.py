"""Bringing a mirror up to date: what is new is fetched, each file is believed by itself, and nothing goes backwards.

1. The checkpoint is signed by the key that the agreement pins, and cosigned as it asks; it is not of an older tree
   than the mirror has seen signed.
2. The tiles that are not full have its root, and every other tile that is needed leads there.
3. Every older checkpoint is of a tree that this one extends: its root follows from the new tiles.
4. Each bundle of entries has the hashes of its tile; bodies have the digests that the entries give.
5. When all of it is on the disk, the checkpoint is.

A file that lies there already, as when the last run was killed, is believed on the same terms as one that was fetched.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Final

from statements.log_trust import LogTrust
from tlog.checkpoint import Checkpoint
from tlog.errors import ProofError, TileError, TlogError
from tlog.merkle import HASH_LENGTH, consistency_proof, root_hash, verify_consistency
from tlog.tile import (
    HEIGHT,
    WIDTH,
    Tile,
    bundles_of,
    subtrees_from_tiles,
)
from verifier.mirror.errors import InconsistentLogError, MirrorError
from verifier.mirror.fetch import Fetched, Fetching
from verifier.mirror.files import (
    TILE_LIMIT,
    Files,
    partial_files,
    read_aligned,
    read_note,
)
from verifier.mirror.shelf import Shelf
from verifier.mirror.source import Source
from verifier.mirror.tree import SignedTree

PARALLEL: Final = 4
"""Bundles that are fetched at once: a server far away takes its time for each."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a run did: sizes before and after, ticks among the new records, and what it asked its source for.

    ``note`` is the signed checkpoint up to which the mirror is whole. ``lacking`` are the bodies that the mirror does
    not hold as their headers name them, of all records that were looked at.
    """

    note: bytes
    before: int
    size: int
    ticks: int
    lacking: int
    requests: int
    fetched_bytes: int


@dataclass(frozen=True, slots=True)
class _Signed:
    note: bytes
    tree: Checkpoint


def refresh(
    source: Source, shelf: Shelf, trust: LogTrust, *, everything: bool = False
) -> Refreshed:
    """Bring a mirror up to the log's newest checkpoint, in the steps of this module.

    With ``everything``, what the mirror holds is checked too: what is damaged is fetched anew, and bodies that it lacks
    are asked for again. Raises :class:`InconsistentLogError` when the log signed something else before, and
    :class:`MirrorError` when it cannot be read, is not what was signed, or the mirror cannot be written.
    """
    return _Run(source, shelf, trust).run(everything=everything)


class _Counted:
    """A source, and what was asked of it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._counting = Lock()
        self.requests = 0
        self.fetched_bytes = 0

    @property
    def place(self) -> str:
        return self._source.place

    def read(self, path: str, limit: int) -> bytes | None:
        data = self._source.read(path, limit)
        with self._counting:
            self.requests += 1
            self.fetched_bytes += len(data or b"")
        return data


class _Run:
    """The moving parts of one run."""

    def __init__(self, source: Source, shelf: Shelf, trust: LogTrust) -> None:
        self.source = _Counted(source)
        self.shelf = shelf
        self.trust = trust
        self.before = 0
        self.fetching: Fetching
        self.early: dict[Tile, bytes] | None = {}

    def run(self, *, everything: bool) -> Refreshed:
        held, pending = self._held(), self._pending()
        # 1. The checkpoint.
        new = self._served()
        older = [one for one in (held, pending) if one is not None]
        for one in older:
            self._verify_not_older(one, new, one is held)
        self.before = 0 if held is None else held.tree.size
        if held is not None and new.tree.size == self.before and not everything:
            self._finish(new, held, pending)
            return self._told(new, Fetched())
        # 2. Tiles.
        tree = SignedTree(new.tree, self.source.place, self._candidates, self._keep_tile)
        # 3. Consistency.
        for one in older:
            if 0 < one.tree.size < new.tree.size and tree.root_at(one.tree.size) != one.tree.root:
                raise self._forked(one, new)
        if pending is not None and pending.note != new.note:
            self._forget(pending, held, new)
        self.shelf.begin(new.note)
        early, self.early = {**tree.edge, **(self.early or {})}, None
        for tile, data in early.items():
            self._keep_tile(tile, data)
        # 4. Bundles.
        self.fetching = Fetching(self.source, self.shelf, self.before)
        fetched = self._fetch(tree, 0 if everything else self.before)
        # 5. The checkpoint, last.
        self._finish(new, held, None)
        if everything:
            self.shelf.remove_parts_but(set(partial_files(new.tree.size)))
        return self._told(new, fetched)

    def _told(self, new: _Signed, fetched: Fetched) -> Refreshed:
        return Refreshed(
            note=new.note,
            before=self.before,
            size=new.tree.size,
            ticks=fetched.ticks,
            lacking=fetched.lacking,
            requests=self.source.requests,
            fetched_bytes=self.source.fetched_bytes,
        )

    # ------------------------------------------------------------- checkpoints

    def _held(self) -> _Signed | None:
        note = self.shelf.checkpoint
        if note is None:
            return None
        try:
            return _Signed(note, self.trust.believe(note).checkpoint)
        except TlogError as error:
            raise MirrorError(
                "MIRROR_DAMAGED",
                f"the mirror's checkpoint is not what was once checked ({error}) [{error.reason}]: move "
                f"{self.shelf.folder} away, and keep it",
            ) from None

    def _pending(self) -> _Signed | None:
        """Return what was signed and not fetched whole; one that does not verify was never anything."""
        note = self.shelf.pending
        try:
            return None if note is None else _Signed(note, self.trust.believe(note).checkpoint)
        except TlogError:
            return None

    def _served(self) -> _Signed:
        note = read_note(self.source)
        try:
            return _Signed(note, self.trust.believe(note).checkpoint)
        except TlogError as error:
            place = self.source.place
            raise MirrorError(error.reason, f"{place}/checkpoint: {error}") from None

    def _verify_not_older(self, seen: _Signed, new: _Signed, is_held: bool) -> None:
        """Refuse a checkpoint that is of an older tree than one that was seen, or of another of that size."""
        if new.tree.size == seen.tree.size and new.tree.root != seen.tree.root:
            raise self._forked(seen, new)
        if new.tree.size >= seen.tree.size:
            return
        if is_held and self._root_before(seen.tree, new.tree.size) != new.tree.root:
            raise self._forked(seen, new)
        raise InconsistentLogError(
            "WENT_BACKWARDS",
            f"{new.tree.origin} serves {new.tree.size} records where it once signed {seen.tree.size}: audit the "
            "mirror, and ask the ledger for the rest",
            seen.note,
            new.note,
        )

    def _root_before(self, tree: Checkpoint, size: int) -> bytes:
        """Return the root that the mirror's tree had at a smaller size, proven by its tiles."""
        if size == 0:
            return root_hash(0, lambda _level, _index: b"")

        def tile(wanted: Tile) -> bytes:
            return _tile(self.shelf, wanted) or b""

        subtree = subtrees_from_tiles(tree.size, tile)
        try:
            root = root_hash(size, subtree)
            proof = consistency_proof(size, tree.size, subtree)
            verify_consistency(size, tree.size, proof, root, tree.root)
        except (TileError, ProofError) as error:
            raise MirrorError(
                "MIRROR_DAMAGED",
                f"the mirror's tiles are not what was once checked ({error}) [{error.reason}]: move "
                f"{self.shelf.folder} away, and keep it",
            ) from None
        return root

    def _forked(self, seen: _Signed, new: _Signed) -> InconsistentLogError:
        place = self.shelf.keep_fork(seen.note, new.note)
        return InconsistentLogError(
            "FORKED",
            f"{new.tree.origin} signed two histories: of size {seen.tree.size} (held) and {new.tree.size} (served), "
            f"and neither extends the other; both checkpoints are kept in {place}",
            seen.note,
            new.note,
        )

    def _forget(self, pending: _Signed, held: _Signed | None, new: _Signed) -> None:
        """Remove what an unfinished run left of a tree that nobody needs any more."""
        needed = set(partial_files(new.tree.size))
        if held is not None:
            needed |= set(partial_files(held.tree.size))
        self.shelf.remove(path for path in partial_files(pending.tree.size) if path not in needed)

    def _finish(self, new: _Signed, held: _Signed | None, pending: _Signed | None) -> None:
        if held is None or new.note != held.note or pending is not None:
            self.shelf.commit(new.note)
        if held is not None:
            needed = set(partial_files(new.tree.size))
            self.shelf.remove(path for path in partial_files(held.tree.size) if path not in needed)

    # ------------------------------------------------------------------- files

    def _candidates(self, tile: Tile) -> Iterator[bytes | None]:
        """Yield the mirror's own tile, then the source's."""
        yield self.shelf.read(tile.path, TILE_LIMIT)
        yield _tile(self.source, tile)

    def _keep_tile(self, tile: Tile, data: bytes) -> None:
        """Put a tile into the mirror, once it is certain that its tree extends the mirror's."""
        if self.early is not None:
            self.early[tile] = data
            return
        end = (tile.index * WIDTH + tile.width) << (HEIGHT * tile.level)
        if end > self.before:
            self.shelf.store(tile.path, data)
        elif self.shelf.read(tile.path, TILE_LIMIT) != data:
            self.shelf.mend(tile.path, data)

    def _fetch(self, tree: SignedTree, start: int) -> Fetched:
        """Fetch the bundles from record ``start`` on, several at once."""
        fetched = Fetched()
        edge = tree.edge
        under_way: deque[Future[Fetched]] = deque()
        pool = ThreadPoolExecutor(PARALLEL, "fetch")
        try:
            for index, width in bundles_of(tree.checkpoint.size, start):
                tile = Tile(0, index, width)
                wanted = tree.hash_of(tile) if width == WIDTH else b""
                known = edge.get(tile, b"")
                under_way.append(pool.submit(self._one, tree, tile, wanted, known, start))
                if len(under_way) >= 2 * PARALLEL:
                    fetched += under_way.popleft().result()
            for one in under_way:
                fetched += one.result()
        finally:
            pool.shutdown(cancel_futures=True)
        return fetched

    def _one(
        self, tree: SignedTree, tile: Tile, wanted: bytes, known: bytes, start: int
    ) -> Fetched:
        """Fetch what belongs to one tile of leaves, the tile first unless its hashes are known."""
        if not known:
            known = tree.believe(tile, wanted, self._candidates(tile))
            self._keep_tile(tile, known)
        return self.fetching.fetch(tile, known, start)


def _tile(files: Files, tile: Tile) -> bytes | None:
    """Return a tile's bytes; of a full one that it has become, its own."""
    data = read_aligned(files, f"tile/{tile.level}", tile.index, tile.width, TILE_LIMIT)
    return None if data is None else data[: tile.width * HASH_LENGTH]
