"""Fetching what belongs to one tile of leaves: the tile, the entries that it hashes, and their bodies.

Entries have the hashes of their tile, or are not kept. Bodies are not the log's word: one that has the digest which its
entry gives is kept for good, and what is served in its place is kept as evidence of what was served.

Several tiles are fetched at once. Bundles of bodies may be large: beyond a size, one at a time is held in memory.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np

from statements.body_bundle import FOLDER, encode_body_bundle
from statements.errors import StatementError
from statements.header import Header, decode_header
from statements.kinds import Kind
from statements.record import decode_record
from tlog.merkle import HASH_LENGTH
from tlog.tile import WIDTH, Tile, aligned_path, bundle_path
from verifier.mirror.bundles import Places, body_places, entry_places, first_places
from verifier.mirror.errors import MirrorError
from verifier.mirror.files import BODIES_LIMIT, BUNDLE_LIMIT, ENTRIES, read_aligned
from verifier.mirror.shelf import Shelf
from verifier.mirror.source import Source
from verifier.rows.rows import ABSENT, Bools, Rows

SMALL: Final = 16 << 20
"""Bytes of a bundle of bodies that each thread may hold at once; larger ones are held one after the other."""


@dataclass(frozen=True, slots=True, eq=False)
class _Bodies:
    """A bundle of bodies, where they lie in it, and which have the digests of their entries."""

    data: bytes
    places: Places
    good: Bools

    def __len__(self) -> int:
        return len(self.good)

    def body(self, at: int) -> bytes | None:
        """Return one."""
        start, length = int(self.places[0][at]), int(self.places[1][at])
        return None if length == ABSENT else self.data[start : start + length]

    @property
    def bundle(self) -> bytes:
        """The bundle of just these, of which the data may hold more."""
        start, length = self.places
        return self.data[: int(start[-1] + max(0, length[-1]))]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came: ticks among the new records, and bodies that the mirror lacks of all that were looked at."""

    ticks: int = 0
    lacking: int = 0

    def __add__(self, other: "Fetched") -> "Fetched":
        return Fetched(self.ticks + other.ticks, self.lacking + other.lacking)


class Fetching:
    """Fetches into a mirror; ``before`` is how many records it held. Several threads may call it."""

    def __init__(self, source: Source, shelf: Shelf, before: int) -> None:
        self._source = source
        self._shelf = shelf
        self._before = before
        self._large = Lock()

    def fetch(self, tile: Tile, hashes: bytes, start: int) -> Fetched:
        """Fetch the entries with those hashes, and their bodies; new are the records from ``start`` on.

        What the mirror has already is not fetched. Raises :class:`MirrorError`.
        """
        data, places = self._entries(tile, hashes)
        headers = [_header(data[at : at + size]) for at, size in _spans(places)]
        digests = b"".join(
            bytes(HASH_LENGTH) if header is None else header.stored_digest for header in headers
        )
        try:
            lacking = self._bodies(tile, digests, SMALL)
        except MirrorError as error:
            if error.reason != "TOO_LARGE":
                raise
            with self._large:
                lacking = self._bodies(tile, digests, BODIES_LIMIT)
        new = headers[max(0, start - tile.index * WIDTH) :]
        ticks = sum(header is not None and header.kind == int(Kind.TICK) for header in new)
        return Fetched(ticks, lacking)

    def _covers(self, tile: Tile) -> bool:
        """Return whether the mirror's checkpoint covers a tile of leaves: what is right of it is there to stay."""
        return tile.index * WIDTH + tile.width <= self._before

    def _keep(self, tile: Tile, path: str, data: bytes) -> None:
        if self._covers(tile):
            self._shelf.mend(path, data)
        else:
            self._shelf.store(path, data)

    def _entries(self, tile: Tile, hashes: bytes) -> tuple[bytes, Places]:
        path = bundle_path(tile.index, tile.width)
        held = self._shelf.read(path, BUNDLE_LIMIT)
        if held is not None:
            try:
                places = _verified(held, tile, hashes, path)
            except MirrorError:
                pass  # it is damaged, or was not whole: it is fetched
            else:
                if not self._covers(tile):
                    self._shelf.store(path, held)
                return held, places
        data = read_aligned(self._source, ENTRIES, tile.index, tile.width, BUNDLE_LIMIT)
        where = f"{self._source.place}/{path}"
        if data is None:
            raise MirrorError("MISSING_FILE", f"{where} is missing: the log is not whole")
        places = _verified(data, tile, hashes, where)
        data = data[: int(places[0][-1] + places[1][-1])]
        self._keep(tile, path, data)
        return data, places

    def _bodies(self, tile: Tile, digests: bytes, limit: int) -> int:
        """Fetch bodies; one that the mirror has and the source does not serve as it should stays.

        Returns how many of them the mirror lacks then.
        """
        path = aligned_path(FOLDER, tile.index, tile.width)
        held = self._held(tile, digests, limit)
        if held is not None and len(held) == tile.width and held.good.all():
            if not self._covers(tile):
                self._shelf.store(path, held.bundle)
            return 0
        served = self._served(tile, digests, limit)
        kept = np.zeros(tile.width, dtype=np.bool_)
        if held is not None:
            kept[: len(held)] = held.good & ~served.good[: len(held)]
        if held is None or not kept.any():
            self._keep(tile, path, served.bundle)
        else:
            bodies = [(held if stays else served).body(at) for at, stays in enumerate(kept)]
            self._keep(tile, path, encode_body_bundle(bodies))
        return int((~(kept | served.good)).sum())

    def _held(self, tile: Tile, digests: bytes, limit: int) -> _Bodies | None:
        """Return the first bodies that the mirror has: of the bundle itself, or of the part that it was before."""
        before = min(tile.width, self._before - tile.index * WIDTH)
        for width in dict.fromkeys((tile.width, before)):
            path = aligned_path(FOLDER, tile.index, width) if width > 0 else ""
            if path and limit < self._shelf.length(path) <= BODIES_LIMIT:
                raise MirrorError("TOO_LARGE", f"{path} has more than {limit} bytes")
            data = self._shelf.read(path, limit) if path else None
            if data is not None:
                try:
                    return _judged(data, width, digests, path)
                except MirrorError:
                    continue  # it is damaged, or was not whole: it is fetched
        return None

    def _served(self, tile: Tile, digests: bytes, limit: int) -> _Bodies:
        data = read_aligned(self._source, FOLDER, tile.index, tile.width, limit)
        if data is None:
            data = encode_body_bundle([None] * tile.width)
        path = aligned_path(FOLDER, tile.index, tile.width)
        return _judged(data, tile.width, digests, f"{self._source.place}/{path}")


def _verified(data: bytes, tile: Tile, hashes: bytes, where: str) -> Places:
    """Return where entries lie in a bundle, or in the full one that it has become, once they have their hashes."""
    places = first_places(entry_places, data, tile.width, where)
    if Rows[bytes].lying([(data, places)]).digests(b"\x00") != hashes:
        raise MirrorError("WRONG_ENTRIES", f"{where} does not hold the entries that were signed")
    return places


def _judged(data: bytes, width: int, digests: bytes, where: str) -> _Bodies:
    places = first_places(body_places, data, width, where)
    rows = Rows[bytes | None].lying([(data, places)])
    there = rows.held
    found = np.frombuffer(rows.take(there).digests(), np.uint8)
    wanted = np.frombuffer(digests, np.uint8).reshape(-1, HASH_LENGTH)[:width]
    good = np.zeros(width, dtype=np.bool_)
    good[there] = (found.reshape(-1, HASH_LENGTH) == wanted[there]).all(axis=1)
    return _Bodies(data, places, good)


def _spans(places: Places) -> list[tuple[int, int]]:
    return list(zip(places[0].tolist(), places[1].tolist(), strict=True))


def _header(entry: bytes) -> Header | None:
    """Return an entry's header; ``None`` for one that is no record."""
    try:
        return decode_header(decode_record(entry).header)
    except StatementError:
        return None
