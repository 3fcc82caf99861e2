"""The record: the leaf of the log, in one layout of 380 bytes."""

import struct
from typing import NamedTuple

from statements.errors import RecordError
from statements.header import HEADER_LENGTH
from statements.signing import SIGNATURE_LENGTH

_HEADER_PREFIX = bytes([0x0A, HEADER_LENGTH & 0x7F | 0x80, HEADER_LENGTH >> 7])
_SIGNATURE_PREFIX = bytes([0x12, SIGNATURE_LENGTH])
_TIME_PREFIX = b"\x19"
_STRUCT = struct.Struct(f"<3s{HEADER_LENGTH}s2s{SIGNATURE_LENGTH}s1sQ")
RECORD_LENGTH = _STRUCT.size


class Record(NamedTuple):
    """A logged statement: header bytes, 64-byte signature, and the ledger's hint of when (Unix ms)."""

    header: bytes
    signature: bytes
    logged_at_ms: int


def encode_record(record: Record) -> bytes:
    """Return the leaf of a record whose header and signature have their lengths."""
    if len(record.header) != HEADER_LENGTH or len(record.signature) != SIGNATURE_LENGTH:
        raise RecordError("MALFORMED_RECORD", "the header or signature has the wrong length")
    return _STRUCT.pack(
        _HEADER_PREFIX,
        record.header,
        _SIGNATURE_PREFIX,
        record.signature,
        _TIME_PREFIX,
        record.logged_at_ms,
    )


def join_record(header: bytes, signature: bytes, logged_at: bytes) -> bytes:
    """Return the leaf of a header and a signature whose lengths were verified; the time as :func:`encode_time` has it.

    For those who log many at one time.
    """
    return b"".join((_HEADER_PREFIX, header, _SIGNATURE_PREFIX, signature, logged_at))


def encode_time(logged_at_ms: int) -> bytes:
    """Return the last bytes of a record."""
    return _TIME_PREFIX + logged_at_ms.to_bytes(8, "little")


def decode_record(data: bytes) -> Record:
    """Return the record that a leaf holds.

    Raises :class:`RecordError` for any other length or layout.
    """
    if len(data) != RECORD_LENGTH:
        raise RecordError(
            "MALFORMED_RECORD", f"a record has {RECORD_LENGTH} bytes, this has {len(data)}"
        )
    before_header, header, before_signature, signature, before_time, time = _STRUCT.unpack(data)
    if (before_header, before_signature, before_time) != (
        _HEADER_PREFIX,
        _SIGNATURE_PREFIX,
        _TIME_PREFIX,
    ):
        raise RecordError("MALFORMED_RECORD", "the fields are not those of a record")
    return Record(header, signature, time)
