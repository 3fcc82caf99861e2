"""Bodies that somebody else hands over: what the log itself does not serve, out of a party's mirror, or a copy of one.

Nothing of the other place is believed. A body from there is taken where the log's record names its digest, and the log
serves none that has it. So a party whose bodies a log keeps back hands its mirror to the auditors, and is judged by
what it said.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby

import numpy as np

from statements.body_bundle import FOLDER, encode_body_bundle
from tlog.checkpoint import parse_checkpoint
from tlog.errors import TlogError
from tlog.note import NOTE_LIMIT, parse_note
from tlog.tile import WIDTH, aligned_path
from verifier.evidence.records import read_records
from verifier.mirror.bundles import body_places, first_places
from verifier.mirror.files import BODIES_LIMIT
from verifier.mirror.prefix import LogPrefix
from verifier.mirror.shelf import Shelf
from verifier.mirror.source import Source
from verifier.rows.rows import ABSENT, Int64, Rows


def with_handed(prefix: LogPrefix, source: Source, shelf: Shelf | None = None) -> LogPrefix:
    """Return a log with the bodies that it lacks and another place has; a mirror in ``shelf`` keeps them.

    Raises :class:`MirrorError` when the other place cannot be read, or serves what is no bundle of bodies.
    """
    bodies: Rows[bytes | None] = Rows.of(prefix.bodies)
    lacking = _lacking(prefix, bodies)
    size = _size(source)
    found: dict[int, bytes] = {}
    for bundle, indices in groupby(sorted(lacking), lambda index: index // WIDTH):
        wanted = {index: lacking[index] for index in indices}
        here = {
            index: body
            for index, body in _held(source, bundle, min(WIDTH, prefix.size - bundle * WIDTH), size)
            if hashlib.sha256(body).digest() == wanted.get(index)
        }
        if here and shelf is not None:
            _keep(shelf, prefix, bodies, bundle, here)
        found |= here
    if not found:
        return prefix
    places: Int64 = np.array(list(found), dtype=np.int64)
    return replace(prefix, bodies=bodies.with_strings(places, list(found.values())))


def _lacking(prefix: LogPrefix, bodies: Rows[bytes | None]) -> dict[int, bytes]:
    """Return the stored digests of the records whose bodies are missing, or are not theirs, by index."""
    records = read_records(prefix.entries)
    named = np.ascontiguousarray(records.table["stored_digest"])
    stored = bodies.take(records.index)
    good = stored.held
    served = np.frombuffer(stored.take(good).digests(), dtype=named.dtype)
    good[good] = served == named[good]
    rows = np.flatnonzero(~good).tolist()
    return {int(records.index[row]): named[row].tobytes() for row in rows}


def _size(source: Source) -> int:
    """Return the size of the tree that a place claims to hold, 0 where it says none: it names files, and no more."""
    note = source.read("checkpoint", NOTE_LIMIT)
    try:
        return 0 if note is None else parse_checkpoint(parse_note(note)).size
    except TlogError:
        return 0


def _held(source: Source, bundle: int, width: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield the bodies that a place has of a bundle, with their indices: of one form of it that is there."""
    own = min(WIDTH, size - bundle * WIDTH)
    for wide in dict.fromkeys(one for one in (width, own, WIDTH) if one > 0):
        path = aligned_path(FOLDER, bundle, wide)
        data = source.read(path, BODIES_LIMIT)
        if data is None:
            continue
        starts, lengths = first_places(body_places, data, wide, f"{source.place}/{path}")
        for at, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            if length != ABSENT:
                yield bundle * WIDTH + at, data[start : start + length]
        return


def _keep(
    shelf: Shelf,
    prefix: LogPrefix,
    bodies: Rows[bytes | None],
    bundle: int,
    found: Mapping[int, bytes],
) -> None:
    """Put what was found into a mirror's own bundle, beside what it has."""
    indices = range(bundle * WIDTH, min(prefix.size, (bundle + 1) * WIDTH))
    whole = [found.get(index, bodies[index]) for index in indices]
    shelf.mend(aligned_path(FOLDER, bundle, len(whole)), encode_body_bundle(whole))
