"""Records in columns: what headers say, read by slicing, without a message object a record.

Each leaf of a log has one layout of 380 bytes. A whole log is checked against the constant bytes of that layout at
once, and a leaf that differs is set aside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from statements.header import HEADER_LENGTH, TEMPLATE, Header, decode_header
from statements.kinds import PUBLIC, SEALABLE, Kind
from statements.record import RECORD_LENGTH, Record, encode_record
from statements.signing import SIGNATURE_LENGTH, pae
from verifier.instants import LAST_MS
from verifier.rows.digests import Digests
from verifier.rows.numbering import number_rows
from verifier.rows.rows import Rows
from verifier.rows.template import Template, read_rows

Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
Octets = NDArray[np.uint8]


_MOST: Final = 2**62
"""More records than a log can hold."""
_HEADER_AT: Final = 3
_HEADER_END: Final = _HEADER_AT + HEADER_LENGTH
_SIGNATURE_AT: Final = _HEADER_END + 2
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
_PLACE: Final = {
    name: (_HEADER_AT + offset, _HEADER_AT + offset + np.dtype(form).itemsize)
    for name, (offset, form) in _FIELDS.items()
}
_SPEAKER: Final = slice(_PLACE["author"][0], _PLACE["epoch"][1])
"""Author, key and epoch, which follow one another, and the constant bytes between them."""
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


_LAYOUT: Final = Template.of([(*_constants(), 0xFF)])


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """The records of a log, a row each, in log order.

    ``index`` is the place in the log; times are Unix milliseconds, those beyond any date as the last one; ``table`` has
    the header's fields by name as :data:`_FIELDS` lists them; ``ids`` are statement ids. ``chain`` numbers the (author,
    key, epoch) that a row belongs to, in order of first appearance. ``refused`` are the indices of leaves that are no
    record of this version, with why. ``first`` is the row at which each chain first appears, and ``octets`` the leaves
    themselves, [n, 380].
    """

    index: Int64
    ids: Digests = field(repr=False)
    chain: Int64
    first: Int64
    kind: Int64
    sequence: Int64
    start_ms: Int64
    end_ms: Int64
    seen_size: Int64
    logged_at_ms: Int64
    octets: Octets = field(repr=False)
    table: NDArray[np.void] = field(repr=False)
    refused: tuple[tuple[int, str], ...]

    def __len__(self) -> int:
        return len(self.index)

    def text(self, name: str, row: int) -> bytes:
        """Return a field of bytes: an author, a key id, an epoch or a digest."""
        start, end = _PLACE[name]
        return self.octets[row, start:end].tobytes()

    def header(self, row: int) -> Header:
        """Return a row's header."""
        return decode_header(self.header_bytes(row))

    def header_bytes(self, row: int) -> bytes:
        """Return a row's header as it was signed."""
        return self.octets[row, _HEADER_AT:_HEADER_END].tobytes()

    def signature(self, row: int) -> bytes:
        """Return a row's signature."""
        return self.octets[row, _SIGNATURE_AT : _SIGNATURE_AT + SIGNATURE_LENGTH].tobytes()


def read_records(entries: Sequence[bytes]) -> Records:
    """Return the records that a log's leaves hold."""
    rows = Rows.of(entries)
    fitting = rows.length == RECORD_LENGTH
    places = np.flatnonzero(fitting).astype(np.int64)
    refused = [
        (int(index), "its length is not that of a record") for index in np.flatnonzero(~fitting)
    ]
    rows = rows.take(places) if refused else rows
    good, (octets,) = read_rows(rows, _LAYOUT, [(0, RECORD_LENGTH)])
    table = octets.view(_DTYPE)[:, 0]
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
    bad = np.zeros(len(rows), dtype=np.bool_)
    for why, wrong in told.items():
        refused += [(int(places[row]), why) for row in np.flatnonzero(wrong & ~bad)]
        bad |= wrong
    if bad.any():
        table, octets, places, rows = table[~bad], octets[~bad], places[~bad], rows.take(~bad)
    chain, first = number_rows(octets[:, _SPEAKER])
    return Records(
        index=places,
        ids=Digests(rows.part(_HEADER_AT, _HEADER_END).digests(pae(b""))),
        chain=chain,
        first=first,
        kind=table["kind"].astype(np.int64),
        sequence=table["sequence"].astype(np.int64),
        start_ms=np.minimum(table["start"], LAST_MS).astype(np.int64),
        end_ms=np.minimum(table["end"], LAST_MS).astype(np.int64),
        seen_size=np.minimum(table["seen_size"], _MOST).astype(np.int64),
        logged_at_ms=table["logged_at"].astype(np.int64),
        octets=octets,
        table=table,
        refused=tuple(sorted(refused)),
    )
