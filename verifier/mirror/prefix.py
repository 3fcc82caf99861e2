"""A prefix of a log: every record up to a signed checkpoint, and the bodies that were served.

Nothing of a served log is believed but what follows from the checkpoint's signature:

1. the checkpoint is signed by the key that the agreement pins for that origin, and cosigned as it asks;
2. every entry bundle is whole;
3. the root over the hashes of the entries is the checkpoint's;
4. the hash tiles as served are those of the entries.

Bodies are not the log's word: each is checked against its record's header when it is used, and one that is not served
is missing evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from statements.body_bundle import FOLDER
from statements.errors import PinsError
from statements.log_trust import LogTrust
from statements.pins import Pins
from tlog.checkpoint import parse_checkpoint
from tlog.errors import TlogError
from tlog.merkle import HASH_LENGTH, root_hash
from tlog.note import parse_note
from tlog.tile import (
    HEIGHT,
    WIDTH,
    Tile,
    aligned_path,
    bundle_path,
    bundles_of,
    tiles_of,
)
from verifier.mirror.bundles import Places, body_places, entry_places, first_places
from verifier.mirror.errors import MirrorError
from verifier.mirror.files import (
    BODIES_LIMIT,
    BUNDLE_LIMIT,
    ENTRIES,
    TILE_LIMIT,
    partial_files,
    read_aligned,
    read_note,
)
from verifier.mirror.source import Source
from verifier.rows.digests import Digests
from verifier.rows.hashing import hash_rows
from verifier.rows.rows import ABSENT, Rows

_MOST_TRIES = 5
"""Times that a log which moves on while it is read is begun again."""


@dataclass(frozen=True, slots=True, eq=False)
class LogPrefix:
    """Every record of a log up to a size, verified against a signed checkpoint.

    ``note`` is the signed checkpoint; ``entries`` are the log's leaves; ``bodies`` the stored bodies, ``None`` where
    none was served, each still to be checked against its header; ``levels[l][i]`` is the hash of complete subtree
    (l, i) of RFC 6962.
    """

    origin: str
    size: int
    root: bytes
    note: bytes
    entries: Sequence[bytes] = field(repr=False)
    bodies: Sequence[bytes | None] = field(repr=False)
    levels: tuple[Digests, ...] = field(repr=False)

    def subtree(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree."""
        return self.levels[level][index]

    def root_at(self, size: int) -> bytes:
        """Return the root that the log had at a size of at most its own."""
        return root_hash(size, self.subtree)

    def first(self, size: int, note: bytes) -> "LogPrefix":
        """Return the log as it was at a size of at most its own; ``note`` is a signed checkpoint that covers it."""
        levels = [level[: size >> height] for height, level in enumerate(self.levels)]
        return LogPrefix(
            self.origin,
            size,
            self.root_at(size),
            note,
            self.entries[:size],
            self.bodies[:size],
            tuple(level for height, level in enumerate(levels) if level or not height),
        )

    def tile(self, tile: Tile) -> bytes:
        """Return the bytes of a hash tile, computed from the entries."""
        start = tile.index * WIDTH * HASH_LENGTH
        return self.levels[tile.level * HEIGHT].data[start : start + tile.width * HASH_LENGTH]


def served_log(source: Source, pins: Pins) -> LogTrust:
    """Return by what the log that a source claims to serve is believed; nothing is verified yet.

    Raises :class:`MirrorError` when it serves no checkpoint, or one of a log that the agreement does not list.
    """
    note = read_note(source)
    try:
        return LogTrust.of(pins, pins.ledger(parse_checkpoint(parse_note(note)).origin))
    except PinsError as error:
        raise MirrorError("OTHER_LOG", f"{source.place}/checkpoint: {error}") from None
    except TlogError as error:
        raise MirrorError(error.reason, f"{source.place}/checkpoint: {error}") from None


def fetch_prefix(source: Source, trust: LogTrust) -> LogPrefix:
    """Read a whole log and verify it, in the steps of this module.

    One that is written meanwhile, as a mirror that is being brought up to date, is read as it was or as it is then.
    Raises :class:`MirrorError` with a reason that says what is wrong with which file.
    """
    note = read_note(source)
    for _ in range(_MOST_TRIES - 1):
        try:
            return _fetch_at(note, source, trust)
        except MirrorError as error:
            newer = read_note(source)
            if error.reason != "MISSING_FILE" or newer == note:
                raise
            note = newer
    return _fetch_at(note, source, trust)


def _fetch_at(note: bytes, source: Source, trust: LogTrust) -> LogPrefix:
    # 1. The checkpoint.
    try:
        checkpoint = trust.believe(note).checkpoint
    except TlogError as error:
        raise MirrorError(error.reason, f"{source.place}/checkpoint: {error}") from None
    source = _EdgeFirst(source, checkpoint.size, note)
    # 2. The entries.
    bundles = list(bundles_of(checkpoint.size))
    entries: Rows[bytes] = Rows.lying(_read_entries(source, *bundle) for bundle in bundles)
    # 3. The root.
    levels = build_levels(entries)
    computed = root_hash(checkpoint.size, lambda level, index: levels[level][index])
    if computed != checkpoint.root:
        raise MirrorError(
            "WRONG_ENTRIES",
            f"the entries at {source.place} do not have the root of the checkpoint of size {checkpoint.size}: "
            "what is served is not what was signed",
        )
    bodies: Rows[bytes | None] = Rows.lying(_read_bodies(source, *bundle) for bundle in bundles)
    prefix = LogPrefix(
        checkpoint.origin,
        checkpoint.size,
        checkpoint.root,
        note,
        entries,
        bodies,
        levels,
    )
    # 4. The tiles.
    for tile in tiles_of(checkpoint.size):
        _verify_tile(source, prefix, tile)
    return prefix


class _EdgeFirst:
    """A source whose files that are not full were read before all others: where the log moves on, they go.

    One that is gone already, while the checkpoint is another, is not taken for one that was never served.
    """

    def __init__(self, source: Source, size: int, note: bytes) -> None:
        self._source = source
        self._edge: dict[str, bytes] = {}
        for path in partial_files(size):
            limit = BODIES_LIMIT if path.startswith(FOLDER) else BUNDLE_LIMIT
            data = source.read(path, limit)
            if data is None:
                data = source.read(path.partition(".p/")[0], limit)
            if data is not None:
                self._edge[path] = data
            elif read_note(source) != note:
                raise MirrorError(
                    "MISSING_FILE", f"{source.place}/{path} is gone: the log moves on"
                )

    @property
    def place(self) -> str:
        return self._source.place

    def read(self, path: str, limit: int) -> bytes | None:
        data = self._edge.pop(path, None)
        return self._source.read(path, limit) if data is None else data


def build_levels(entries: Sequence[bytes]) -> tuple[Digests, ...]:
    """Return the hashes of all complete subtrees over those leaves, level by level (RFC 6962, section 2.1)."""
    levels = [Digests(Rows.of(entries).digests(b"\x00"))]
    while len(levels[-1]) > 1:
        pairs = len(levels[-1]) // 2
        whole, pair = np.zeros(pairs, np.int64), np.full(pairs, 2 * HASH_LENGTH, np.int64)
        start = np.arange(pairs) * (2 * HASH_LENGTH)
        levels.append(Digests(hash_rows((levels[-1].data,), whole, start, pair, b"\x01")))
    return tuple(levels)


def _read_entries(source: Source, index: int, width: int) -> tuple[bytes, Places]:
    path = bundle_path(index, width)
    data = read_aligned(source, ENTRIES, index, width, BUNDLE_LIMIT)
    if data is None:
        raise MirrorError("MISSING_FILE", f"{source.place}/{path} is missing: the log is not whole")
    return data, first_places(entry_places, data, width, f"{source.place}/{path}")


def _read_bodies(source: Source, index: int, width: int) -> tuple[bytes, Places]:
    data = read_aligned(source, FOLDER, index, width, BODIES_LIMIT)
    if data is None:
        return b"", (np.zeros(width, np.int64), np.full(width, ABSENT, np.int64))
    path = aligned_path(FOLDER, index, width)
    return data, first_places(body_places, data, width, f"{source.place}/{path}")


def _verify_tile(source: Source, prefix: LogPrefix, tile: Tile) -> None:
    served = read_aligned(source, f"tile/{tile.level}", tile.index, tile.width, TILE_LIMIT)
    if served is None:
        raise MirrorError(
            "MISSING_FILE", f"{source.place}/{tile.path} is missing: the log is not whole"
        )
    if served[: tile.width * HASH_LENGTH] != prefix.tile(tile) or len(served) % HASH_LENGTH:
        raise MirrorError(
            "WRONG_TILE", f"{source.place}/{tile.path} does not hold the hashes of the entries"
        )
