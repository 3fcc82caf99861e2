"""A prefix of a log: every record up to a signed checkpoint, and the bodies that were served.

Nothing of a served log is believed but what follows from the checkpoint's signature:

1. the checkpoint is signed by the key that the agreement pins for that origin, and cosigned as it asks;
2. every entry bundle is whole;
3. the root over the hashes of the entries is the checkpoint's;
4. the hash tiles as served are those of the entries.

Bodies are not the log's word: each is checked against its record's header when it is used, and one that is not served
is missing evidence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from statements.body import BODY_LIMIT
from statements.body_bundle import FOLDER
from statements.errors import BodyError, PinsError
from statements.log_trust import LogTrust
from statements.pins import Pins
from tlog.checkpoint import parse_checkpoint
from tlog.errors import TlogError
from tlog.merkle import HASH_LENGTH, root_hash
from tlog.note import NOTE_LIMIT, parse_note
from tlog.tile import (
    ENTRY_LIMIT,
    HEIGHT,
    WIDTH,
    Tile,
    aligned_path,
    bundle_path,
    bundles_of,
    tiles_of,
)
from verifier.mirror.bundles import Places, body_places, entry_places
from verifier.mirror.errors import MirrorError
from verifier.mirror.source import Source
from verifier.rows.digests import Digests
from verifier.rows.hashing import hash_rows
from verifier.rows.rows import ABSENT, Rows

_BUNDLE_LIMIT = WIDTH * (ENTRY_LIMIT + 2)
_BODIES_LIMIT = WIDTH * (BODY_LIMIT + 4)
_TILE_LIMIT = WIDTH * HASH_LENGTH


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

    def tile(self, tile: Tile) -> bytes:
        """Return the bytes of a hash tile, computed from the entries."""
        start = tile.index * WIDTH * HASH_LENGTH
        return self.levels[tile.level * HEIGHT].data[start : start + tile.width * HASH_LENGTH]


def served_log(source: Source, pins: Pins) -> LogTrust:
    """Return by what the log that a source claims to serve is believed; nothing is verified yet.

    Raises :class:`MirrorError` when it serves no checkpoint, or one of a log that the agreement does not list.
    """
    note = _read_note(source)
    try:
        return LogTrust.of(pins, pins.ledger(parse_checkpoint(parse_note(note)).origin))
    except PinsError as error:
        raise MirrorError("OTHER_LOG", f"{source.place}/checkpoint: {error}") from None
    except TlogError as error:
        raise MirrorError(error.reason, f"{source.place}/checkpoint: {error}") from None


def _read_note(source: Source) -> bytes:
    note = source.read("checkpoint", NOTE_LIMIT)
    if note is None:
        raise MirrorError("NO_CHECKPOINT", f"{source.place} serves no checkpoint: is it a log?")
    return note


def fetch_prefix(source: Source, trust: LogTrust) -> LogPrefix:
    """Read a whole log and verify it, in the steps of this module.

    Raises :class:`MirrorError` with a reason that says what is wrong with which file.
    """
    # 1. The checkpoint.
    note = _read_note(source)
    try:
        checkpoint = trust.believe(note).checkpoint
    except TlogError as error:
        raise MirrorError(error.reason, f"{source.place}/checkpoint: {error}") from None
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


def build_levels(entries: Sequence[bytes]) -> tuple[Digests, ...]:
    """Return the hashes of all complete subtrees over those leaves, level by level (RFC 6962, section 2.1)."""
    levels = [Digests(Rows.of(entries).digests(b"\x00"))]
    while len(levels[-1]) > 1:
        pairs = len(levels[-1]) // 2
        pair = np.full(pairs, 2 * HASH_LENGTH, dtype=np.int64)
        levels.append(Digests(hash_rows(levels[-1].data, np.cumsum(pair) - pair, pair, b"\x01")))
    return tuple(levels)


def _read_aligned(source: Source, folder: str, index: int, width: int, limit: int) -> bytes | None:
    """Return a bundle or tile of some width, or else the full one of which it has become a part."""
    data = source.read(aligned_path(folder, index, width), limit)
    if data is None and width < WIDTH:
        return source.read(aligned_path(folder, index), limit)
    return data


def _read_entries(source: Source, index: int, width: int) -> tuple[bytes, Places]:
    path = bundle_path(index, width)
    data = _read_aligned(source, "tile/entries", index, width, _BUNDLE_LIMIT)
    if data is None:
        raise MirrorError("MISSING_FILE", f"{source.place}/{path} is missing: the log is not whole")
    return data, _split(entry_places, data, width, f"{source.place}/{path}")


def _read_bodies(source: Source, index: int, width: int) -> tuple[bytes, Places]:
    data = _read_aligned(source, FOLDER, index, width, _BODIES_LIMIT)
    if data is None:
        return b"", (np.zeros(width, np.int64), np.full(width, ABSENT, np.int64))
    path = aligned_path(FOLDER, index, width)
    return data, _split(body_places, data, width, f"{source.place}/{path}")


def _split(places: Callable[[bytes, int], Places], data: bytes, width: int, where: str) -> Places:
    """Return where the first ``width`` strings of a bundle lie: it has as many, or is the full one."""
    for held in (width, WIDTH):
        try:
            start, length = places(data, held)
        except (TlogError, BodyError) as error:
            if error.reason == "BUNDLE_WIDTH" and held < WIDTH:
                continue  # the full bundle was served
            raise MirrorError(error.reason, f"{where}: {error}") from None
        return start[:width], length[:width]
    raise AssertionError("unreachable")  # pragma: no cover


def _verify_tile(source: Source, prefix: LogPrefix, tile: Tile) -> None:
    served = _read_aligned(source, f"tile/{tile.level}", tile.index, tile.width, _TILE_LIMIT)
    if served is None:
        raise MirrorError(
            "MISSING_FILE", f"{source.place}/{tile.path} is missing: the log is not whole"
        )
    if served[: tile.width * HASH_LENGTH] != prefix.tile(tile) or len(served) % HASH_LENGTH:
        raise MirrorError(
            "WRONG_TILE", f"{source.place}/{tile.path} does not hold the hashes of the entries"
        )
