"""Offline bundles: some records of a log in one file, with all that it takes to verify them (docs/bundle-format.md).

A bundle is a tar archive that has one spelling: eight files in one order, no owner, mode or time to choose, nothing
compressed. What is not byte for byte what :func:`encode_offline_bundle` writes is refused, so that there is
nothing to inflate, no path to follow and no file to hide.
"""

import itertools
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from statements.body import BODY_LIMIT
from statements.errors import OfflineBundleError
from statements.record import RECORD_LENGTH
from tlog.merkle import HASH_LENGTH
from tlog.note import NOTE_LIMIT

BUNDLE_LIMIT: Final = 1 << 29
"""Most bytes of a bundle."""
RECORDS_LIMIT: Final = 1_000_000
"""Most records of a bundle."""

_NOT_HELD: Final = 2**32 - 1
_DEEPEST: Final = 64
"""More levels than any tree has."""
_BLOCK: Final = 512
_END: Final = bytes(2 * _BLOCK)
_SIZE: Final = re.compile(rb"([0-7]{11})\0")
_MAGIC: Final = "stillwatch-bundle/v1"
_SELECTION: Final = re.compile(
    r"(all)|range (0|[1-9][0-9]{0,18}) (0|[1-9][0-9]{0,18})|author ([0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Everything:
    """All records of the tree."""

    def __str__(self) -> str:
        return "all"


@dataclass(frozen=True, slots=True)
class RangeOf:
    """The records from ``first`` to ``last``, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"range {self.first} {self.last}"


@dataclass(frozen=True, slots=True)
class SaidBy:
    """The records of one author, by its digest."""

    author: bytes

    def __str__(self) -> str:
        return f"author {self.author.hex()}"


Selection: TypeAlias = Everything | RangeOf | SaidBy
"""What whoever made a bundle chose. Records that show the keys of the chosen ones are there beside them."""


@dataclass(frozen=True, slots=True)
class OfflineBundle:
    """Some records of a log. Nothing is verified by its being one of these.

    ``agreement`` are the bytes that pin whom to believe, ``note`` the signed and cosigned checkpoint. ``indices`` are
    ascending; ``records`` are the leaves there, 380 bytes each, and ``bodies`` their stored bodies, ``None`` where one
    was not held. ``hashes`` prove all leaves at once (:mod:`tlog.selection`).
    """

    selection: Selection
    agreement: bytes = field(repr=False)
    note: bytes = field(repr=False)
    indices: tuple[int, ...] = field(repr=False)
    records: tuple[bytes, ...] = field(repr=False)
    bodies: tuple[bytes | None, ...] = field(repr=False)
    hashes: tuple[bytes, ...] = field(repr=False)


_LIMITS: Final[Mapping[str, int]] = {
    "selection": 128,
    "agreement.toml": BODY_LIMIT,
    "checkpoint": NOTE_LIMIT,
    "indices": 8 * RECORDS_LIMIT,
    "records": RECORD_LENGTH * RECORDS_LIMIT,
    "hashes": BUNDLE_LIMIT,
    "lengths": 4 * RECORDS_LIMIT,
    "bodies": BUNDLE_LIMIT,
}
"""The files of a bundle, in order, and the most bytes of each."""


def encode_offline_bundle(bundle: OfflineBundle) -> bytes:
    """Return a bundle's bytes: the same for the same bundle, always.

    Raises :class:`OfflineBundleError` when it would be larger than anybody reads.
    """
    count = len(bundle.indices)
    if count > RECORDS_LIMIT:
        raise _too_large(f"{count} records; at most {RECORDS_LIMIT} fit")
    if not count == len(bundle.records) == len(bundle.bodies) or any(
        len(record) != RECORD_LENGTH for record in bundle.records
    ):
        raise OfflineBundleError("BAD_RECORDS", f"a record has {RECORD_LENGTH} bytes, and a body")
    lengths = [_NOT_HELD if body is None else len(body) for body in bundle.bodies]
    files = (
        f"{_MAGIC}\nselection {bundle.selection}\n".encode(),
        bundle.agreement,
        bundle.note,
        struct.pack(f">{count}Q", *bundle.indices),
        b"".join(bundle.records),
        b"".join(bundle.hashes),
        struct.pack(f">{count}I", *lengths),
        b"".join(body for body in bundle.bodies if body is not None),
    )
    parts: list[bytes] = []
    for (name, limit), data in zip(_LIMITS.items(), files, strict=True):
        if len(data) > limit:
            raise _too_large(f"{name} of {len(data)} bytes; at most {limit} fit")
        parts += (_header(name, len(data)), data, bytes(-len(data) % _BLOCK))
    whole = b"".join((*parts, _END))
    if len(whole) > BUNDLE_LIMIT:
        raise _too_large(f"{len(whole)} bytes; at most {BUNDLE_LIMIT} are read")
    return whole


def decode_offline_bundle(data: bytes) -> OfflineBundle:
    """Return the bundle that bytes spell, not verified; raises :class:`OfflineBundleError` for anything else."""
    if len(data) > BUNDLE_LIMIT:
        raise _too_large(f"{len(data)} bytes; at most {BUNDLE_LIMIT} are read")
    files = _split(data)
    indices = _read_indices(files["indices"])
    if len(files["records"]) != RECORD_LENGTH * len(indices):
        raise OfflineBundleError("BAD_RECORDS", "records does not hold one record for each index")
    hashes = files["hashes"]
    if len(hashes) % HASH_LENGTH or len(hashes) > HASH_LENGTH * _DEEPEST * len(indices):
        raise OfflineBundleError(
            "BAD_HASHES", f"hashes are {HASH_LENGTH} bytes, and a few a record"
        )
    return OfflineBundle(
        selection=_read_selection(files["selection"]),
        agreement=files["agreement.toml"],
        note=files["checkpoint"],
        indices=indices,
        records=tuple(_pieces(files["records"], RECORD_LENGTH)),
        bodies=tuple(_read_bodies(files["lengths"], files["bodies"], len(indices))),
        hashes=tuple(_pieces(hashes, HASH_LENGTH)),
    )


def _pieces(data: bytes, length: int) -> Iterator[bytes]:
    return (data[at : at + length] for at in range(0, len(data), length))


def _read_bodies(lengths: bytes, bodies: bytes, count: int) -> Iterator[bytes | None]:
    if len(lengths) != 4 * count:
        raise OfflineBundleError("BAD_BODIES", "lengths does not hold one length for each index")
    read = struct.unpack(f">{count}I", lengths)
    held = [length for length in read if length != _NOT_HELD]
    if max(held, default=0) > BODY_LIMIT:
        raise OfflineBundleError("BAD_BODIES", f"a body has at most {BODY_LIMIT} bytes")
    if sum(held) != len(bodies):
        raise OfflineBundleError("BAD_BODIES", f"bodies holds {len(bodies)} bytes, not {sum(held)}")
    at = 0
    for length in read:
        if length == _NOT_HELD:
            yield None
            continue
        yield bodies[at : at + length]
        at += length


def _split(data: bytes) -> dict[str, bytes]:
    """Return the files of an archive, by name, when it is spelt as :func:`encode_offline_bundle` does."""
    files: dict[str, bytes] = {}
    at = 0
    for number, (name, limit) in enumerate(_LIMITS.items(), 1):
        header = data[at : at + _BLOCK]
        found = _SIZE.fullmatch(header[124:136])
        size = -1 if found is None else int(found[1], 8)
        if size < 0 or header != _header(name, size):
            reason = "BAD_MEMBER" if files else "NOT_A_BUNDLE"
            raise OfflineBundleError(
                reason, f"file {number} of the archive is not {name!r} as a bundle has it"
            )
        if size > limit:
            raise OfflineBundleError(
                "MEMBER_TOO_LARGE", f"{name} claims {size} bytes; at most {limit} are read"
            )
        start, at = at + _BLOCK, at + _BLOCK + size
        files[name] = data[start:at]
        padding = data[at : at + -size % _BLOCK]
        if len(files[name]) != size or len(padding) != -size % _BLOCK:
            raise OfflineBundleError("BUNDLE_CUT", f"the archive is cut short in {name}")
        if any(padding):
            raise OfflineBundleError("BAD_MEMBER", f"something is hidden behind {name}")
        at += len(padding)
    rest = len(data) - at
    if rest < len(_END):
        raise OfflineBundleError("BUNDLE_CUT", "the archive is cut short at its end")
    if rest > len(_END) or any(data[at:]):
        raise OfflineBundleError("TRAILING_BYTES", f"{rest} bytes follow the eight files")
    return files


def _read_selection(data: bytes) -> Selection:
    try:
        magic, line, end = data.decode("ascii").split("\n")
    except ValueError:
        magic, line, end = "", "", ""
    found = _SELECTION.fullmatch(line.removeprefix("selection "))
    if magic != _MAGIC or end or not line.startswith("selection ") or found is None:
        raise OfflineBundleError(
            "BAD_SELECTION", f"the file selection does not say {_MAGIC} and what was selected"
        )
    if found[1]:
        return Everything()
    if found[4]:
        return SaidBy(bytes.fromhex(found[4]))
    chosen = RangeOf(int(found[2]), int(found[3]))
    if chosen.first > chosen.last:
        raise OfflineBundleError("BAD_SELECTION", f"the {chosen} ends before it begins")
    return chosen


def _read_indices(data: bytes) -> tuple[int, ...]:
    if len(data) % 8 or not data:
        raise OfflineBundleError("BAD_INDICES", "indices holds at least one number of 8 bytes")
    indices = struct.unpack(f">{len(data) // 8}Q", data)
    if any(one >= other for one, other in itertools.pairwise(indices)):
        raise OfflineBundleError("BAD_INDICES", "the indices do not ascend, each once")
    return indices


def _header(name: str, size: int) -> bytes:
    """Return the ustar header of a file (POSIX.1-1988): mode 0644, no owner, no time."""
    fields = struct.pack(
        "<100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x",
        name.encode(),
        b"0000644",
        b"0000000",
        b"0000000",
        f"{size:011o}".encode(),
        b"00000000000",
        b" " * 8,
        b"0",
        b"",
        b"ustar\00000",
        b"",
        b"",
        b"0000000",
        b"0000000",
        b"",
    )
    return fields[:148] + f"{sum(fields):06o}\0 ".encode() + fields[156:]


def _too_large(what: str) -> OfflineBundleError:
    return OfflineBundleError("BUNDLE_TOO_LARGE", f"a bundle of {what}: select fewer records")
