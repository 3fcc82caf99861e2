"""Records in columns: what headers say, read by slicing, without a message object a record.

Each leaf of a log has one layout of 380 bytes. A whole log is checked against the constant bytes of that layout at
once, and a leaf that differs is set aside.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from statements.header import HEADER_LENGTH, TEMPLATE, Header, decode_header
from statements.kinds import PUBLIC, SEALABLE, Kind
from statements.record import RECORD_LENGTH, Record, decode_record, encode_record
from statements.signing import SIGNATURE_LENGTH, pae
from verifier.instants import LAST_MS

Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
Octets = NDArray[np.uint8]


_MOST: Final = 2**62
"""More records than a log can hold."""
_HEADER_AT: Final = 3
_SIGNATURE_AT: Final = _HEADER_AT + HEADER_LENGTH + 2
_FIELDS: Final = {  # name: (offset in the header, format); docs/protocol.md, header.proto
    "kind": (1, "<u4"),
    "author": (7, "V32"),
    "key_id": (41, "V32"),
    "epoch": (75, "V16"),
    "sequence": (92, "<u8"),
    "previous": (102, "V32"),
    "start": (135, "<u8"),
    "end": (144, "<u8"),
    "seen_log": (154, "V32"),
    "seen_size": (187, "<u8"),
    "seen_root": (197, "V32"),
    "body_digest": (231, "V32"),
    "stored_digest": (265, "V32"),
    "disclosure": (298, "<u4"),
}
_DTYPE: Final = np.dtype(
    {
        "names": [*_FIELDS, "logged_at"],
        "formats": [form for _, form in _FIELDS.values()] + ["<u8"],
        "offsets": [_HEADER_AT + offset for offset, _ in _FIELDS.values()] + [RECORD_LENGTH - 8],
        "itemsize": RECORD_LENGTH,
    }
)


def _constants() -> tuple[Int64, Octets]:
    """Return the positions and values of the bytes that all records share: those that no field can change."""
    low = encode_record(Record(bytes(HEADER_LENGTH), bytes(SIGNATURE_LENGTH), 0))
    high = encode_record(Record(b"\xff" * HEADER_LENGTH, b"\xff" * SIGNATURE_LENGTH, 2**64 - 1))
    values = {at: byte for at, byte in enumerate(low) if byte == high[at]}
    for offset, prefix in TEMPLATE:
        values |= {_HEADER_AT + offset + at: byte for at, byte in enumerate(prefix)}
    return np.array(list(values), dtype=np.int64), np.array(list(values.values()), dtype=np.uint8)


_PLACES, _VALUES = _constants()


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """The records of a log, a row each, in log order.

    ``index`` is the place in the log; times are Unix milliseconds, those beyond any date as the last one; ``table`` has
    the header's fields by name as :data:`_FIELDS` lists them; ``ids`` are statement ids. ``chain`` numbers the (author,
    key, epoch) that a row belongs to, in order of first appearance. ``refused`` are the indices of leaves that are no
    record of this version, with why.
    """

    index: Int64
    ids: tuple[bytes, ...] = field(repr=False)
    chain: Int64
    kind: Int64
    sequence: Int64
    start_ms: Int64
    end_ms: Int64
    seen_size: Int64
    logged_at_ms: Int64
    leaves: tuple[bytes, ...] = field(repr=False)
    table: NDArray[np.void] = field(repr=False)
    refused: tuple[tuple[int, str], ...]

    def __len__(self) -> int:
        return len(self.index)

    def text(self, name: str, row: int) -> bytes:
        """Return a field of bytes: an author, a key id, an epoch or a digest."""
        return bytes(self.table[name][row].tobytes())

    def header(self, row: int) -> Header:
        """Return a row's header."""
        return decode_header(decode_record(self.leaves[row]).header)

    def signature(self, row: int) -> bytes:
        """Return a row's signature."""
        return decode_record(self.leaves[row]).signature


def read_records(entries: Sequence[bytes]) -> Records:
    """Return the records that a log's leaves hold."""
    lengths = np.fromiter(map(len, entries), dtype=np.int64, count=len(entries))
    fitting = lengths == RECORD_LENGTH
    places = np.flatnonzero(fitting).astype(np.int64)
    refused = [
        (int(index), "its length is not that of a record") for index in np.flatnonzero(~fitting)
    ]
    kept = [entries[index] for index in places.tolist()] if refused else list(entries)
    joined = b"".join(kept)
    octets = np.frombuffer(joined, np.uint8).reshape(len(kept), RECORD_LENGTH)
    table = np.frombuffer(joined, _DTYPE)
    good = (octets[:, _PLACES] == _VALUES).all(axis=1)
    told = {"its fields are not those of a record": ~good}
    known = np.zeros(max(Kind) + 1, dtype=np.bool_)
    known[[int(kind) for kind in Kind]] = True
    told["its kind is not known"] = ~known[np.minimum(table["kind"], max(Kind))] | (
        table["kind"] > max(Kind)
    )
    told["its period ends before it starts"] = table["end"] < table["start"]
    told["its body is of an unknown disclosure class"] = (table["disclosure"] < PUBLIC) | (
        (table["disclosure"] != PUBLIC) & ~np.isin(table["kind"], [int(kind) for kind in SEALABLE])
    )
    told["its numbers are beyond what a log can hold"] = (table["sequence"] > _MOST) | (
        table["logged_at"] > _MOST
    )
    bad = np.zeros(len(kept), dtype=np.bool_)
    for why, rows in told.items():
        refused += [(int(places[row]), why) for row in np.flatnonzero(rows & ~bad)]
        bad |= rows
    if bad.any():
        table, places = table[~bad], places[~bad]
        kept = [entry for entry, wrong in zip(kept, bad.tolist(), strict=True) if not wrong]
    return Records(
        index=places,
        ids=_ids(kept),
        chain=_chains(table),
        kind=table["kind"].astype(np.int64),
        sequence=table["sequence"].astype(np.int64),
        start_ms=np.minimum(table["start"], LAST_MS).astype(np.int64),
        end_ms=np.minimum(table["end"], LAST_MS).astype(np.int64),
        seen_size=np.minimum(table["seen_size"], _MOST).astype(np.int64),
        logged_at_ms=table["logged_at"].astype(np.int64),
        leaves=tuple(kept),
        table=table,
        refused=tuple(sorted(refused)),
    )


def _ids(entries: Sequence[bytes]) -> tuple[bytes, ...]:
    sha256, prefix, end = hashlib.sha256, pae(b""), _HEADER_AT + HEADER_LENGTH
    return tuple([sha256(prefix + entry[_HEADER_AT:end]).digest() for entry in entries])


def _chains(table: NDArray[np.void]) -> Int64:
    """Return the number of each row's (author, key, epoch)."""
    width = 32 + 32 + 16
    whole = np.empty((len(table), width), dtype=np.uint8)
    whole[:, :32] = np.ascontiguousarray(table["author"]).view(np.uint8).reshape(-1, 32)
    whole[:, 32:64] = np.ascontiguousarray(table["key_id"]).view(np.uint8).reshape(-1, 32)
    whole[:, 64:] = np.ascontiguousarray(table["epoch"]).view(np.uint8).reshape(-1, 16)
    data = whole.tobytes()
    numbers: dict[bytes, int] = {}
    return np.array(
        [
            numbers.setdefault(data[at : at + width], len(numbers))
            for at in range(0, len(data), width)
        ],
        dtype=np.int64,
    )
