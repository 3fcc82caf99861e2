"""The header of a statement: 302 bytes in one layout, read by slicing.

Each field of ``header.proto`` is always set and has a fixed length, so that a serialised header is a template with
fourteen slots. :func:`decode_header` accepts that layout and nothing else; a test holds it to protobuf's own.
"""

import struct
from typing import NamedTuple

from statements.errors import HeaderError

HEADER_LENGTH = 302

_FIELDS = (  # (field number, bytes of value, whether length-delimited)
    (1, 4, False),
    (2, 32, True),
    (3, 32, True),
    (4, 16, True),
    (5, 8, False),
    (6, 32, True),
    (7, 8, False),
    (8, 8, False),
    (9, 32, True),
    (10, 8, False),
    (11, 32, True),
    (12, 32, True),
    (13, 32, True),
    (14, 4, False),
)
_FIXED32, _FIXED64, _DELIMITED = 5, 1, 2


def _layout() -> tuple[struct.Struct, tuple[bytes, ...]]:
    """Return the layout as alternating prefix and value, and the prefixes."""
    form, prefixes = "<", []
    for number, length, delimited in _FIELDS:
        if delimited:
            prefixes.append(bytes([number << 3 | _DELIMITED, length]))
            form += f"2s{length}s"
        else:
            prefixes.append(bytes([number << 3 | (_FIXED32 if length == 4 else _FIXED64)]))
            form += "1sI" if length == 4 else "1sQ"
    return struct.Struct(form), tuple(prefixes)


_STRUCT, _PREFIXES = _layout()
TEMPLATE = tuple(
    (offset, prefix)
    for offset, prefix in zip(
        (0, 5, 39, 73, 91, 100, 134, 143, 152, 186, 195, 229, 263, 297), _PREFIXES, strict=True
    )
)
"""The constant bytes of every header, with their offsets."""


SPEAKER = slice(0, 91)
"""Where a header says what kind of statement it is, of which author, by which key, in which epoch."""
KIND = slice(0, 5)
"""Where its kind is; see :func:`encode_kind`."""
AUTHOR = slice(7, 39)
"""Where its author is."""
KEY_ID = slice(41, 73)
"""Where the digest of the key that signs is."""
SEQUENCE = slice(92, 100)
"""Where its sequence is, little-endian."""
PREVIOUS = slice(102, 134)
"""Where the id of the statement before it is."""


class Header(NamedTuple):
    """What is signed and logged. Digests and ids are 32 bytes, the epoch 16, times Unix milliseconds."""

    kind: int
    author: bytes
    key_id: bytes
    epoch: bytes
    sequence: int
    previous: bytes
    start_ms: int
    end_ms: int
    seen_log: bytes
    seen_size: int
    seen_root: bytes
    body_digest: bytes
    stored_digest: bytes
    disclosure: int


def encode_header(header: Header) -> bytes:
    """Return the 302 bytes of a header.

    Raises :class:`HeaderError` when a field does not fit its slot.
    """
    values: tuple[int | bytes, ...] = (
        header.kind,
        header.author,
        header.key_id,
        header.epoch,
        header.sequence,
        header.previous,
        header.start_ms,
        header.end_ms,
        header.seen_log,
        header.seen_size,
        header.seen_root,
        header.body_digest,
        header.stored_digest,
        header.disclosure,
    )
    for value, (number, length, delimited) in zip(values, _FIELDS, strict=True):
        if delimited and (isinstance(value, int) or len(value) != length):
            raise HeaderError("MALFORMED_HEADER", f"field {number} must have {length} bytes")
    parts: list[bytes | int] = []
    for prefix, value in zip(_PREFIXES, values, strict=True):
        parts += (prefix, value)
    try:
        return _STRUCT.pack(*parts)
    except struct.error as error:
        raise HeaderError("MALFORMED_HEADER", f"a number does not fit its field: {error}") from None


def encode_kind(kind: int) -> bytes:
    """Return the bytes with which a header of that kind begins."""
    return _PREFIXES[0] + kind.to_bytes(4, "little")


def decode_header(data: bytes) -> Header:
    """Return the header that 302 bytes hold.

    Raises :class:`HeaderError` for any other length or layout: missing, repeated, reordered or unknown fields.
    """
    if len(data) != HEADER_LENGTH:
        raise HeaderError(
            "MALFORMED_HEADER", f"a header has {HEADER_LENGTH} bytes, this has {len(data)}"
        )
    parts = _STRUCT.unpack(data)
    if parts[::2] != _PREFIXES:
        raise HeaderError("MALFORMED_HEADER", "the fields are not those of a version 1 header")
    return Header._make(parts[1::2])
