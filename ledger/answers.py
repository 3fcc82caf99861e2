"""AppendResponse, written by hand: receipts have one layout, and building messages for them cost five times as much.

A test holds these bytes to protobuf's own.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final

from ledger.refusal import Refusal
from ledger.sequencer import Outcome
from protos.stillwatch.ledger.v1 import ledger_pb2
from statements.record import RECORD_LENGTH

_RESULT, _RECEIPT, _INDEX, _RECORD = b"\x0a", b"\x1a", b"\x08", b"\x12"
_HELD: Final = b"\x18\x01"


def encode_response(outcomes: Sequence[Outcome]) -> bytes:
    """Return the bytes of the AppendResponse that says what became of each statement."""
    parts: list[bytes] = []
    for one in outcomes:
        if isinstance(one, Refusal):
            parts.append(_refused(one))
        else:
            place = (
                _LOW[one.index & 0x7F] + _high(one.index >> 7)
                if one.index > 0x7F
                else _varint(one.index)
            )
            held = _HELD if one.body_held else b""
            parts += (_head(len(place), len(held)), place, _RECORD_HEAD, one.record, held)
    return b"".join(parts)


def _refused(one: Refusal) -> bytes:
    result = ledger_pb2.AppendResult(
        reason=one.code, message=one.message, wanted_sequence=one.wanted_sequence
    )
    return ledger_pb2.AppendResponse(results=[result]).SerializeToString()


@cache
def _head(place: int, held: int) -> bytes:
    """Return what comes before a receipt's index, for an index of so many bytes."""
    receipt = len(_INDEX) + place + len(_RECORD_HEAD) + RECORD_LENGTH + held
    result = len(_RECEIPT) + len(_varint(receipt)) + receipt
    return b"".join((_RESULT, _varint(result), _RECEIPT, _varint(receipt), _INDEX))


@lru_cache(4)
def _high(value: int) -> bytes:
    """Return how an index ends of which this is all but the lowest group: one for 128 indices."""
    return _varint(value)


def _varint(value: int) -> bytes:
    """Return a number in base 128, least significant group first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


_LOW: Final = tuple(bytes((0x80 | low,)) for low in range(0x80))
"""How an index begins that has more than one group."""
_RECORD_HEAD: Final = _RECORD + _varint(RECORD_LENGTH)
