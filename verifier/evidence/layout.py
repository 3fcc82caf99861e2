"""The layout of serialised summaries: where in the bytes of a body each field stands.

Bodies of one node and length nearly always have one layout: the same tags and lengths at the same places. A layout is
read from one body and then checked against many at once; a body that differs in any tag, length or in how long a number
is written has another layout. Wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from numpy.typing import NDArray

from protos.stillwatch.statement.v1 import header_pb2, summary_pb2
from statements.body import SALT_LENGTH
from verifier.evidence.records import Bools, Int64, Octets
from verifier.rows.rows import Rows
from verifier.rows.template import Place, Template, read_rows

_T = TypeVar("_T", bound=np.generic)
Path = tuple[int, ...]
"""Field numbers, outermost first, within the summary."""

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_POWER: Final = summary_pb2.WorkloadSummary.DESCRIPTOR.fields_by_name["power"].number
_NODE: Final = summary_pb2.WorkloadSummary.DESCRIPTOR.fields_by_name["node"].number
_SALT: Final = header_pb2.Body.DESCRIPTOR.fields_by_name["salt"].number
_CONTENT: Final = header_pb2.Body.DESCRIPTOR.fields_by_name["content"].number
_MOST_VARINT: Final = {FieldDescriptor.TYPE_UINT32: 4, FieldDescriptor.TYPE_UINT64: 10}
"""Bytes of a varint that is read here: a uint32 of five may overflow, and is left to a full parse."""
_WIRE: Final = {
    FieldDescriptor.TYPE_UINT32: _VARINT,
    FieldDescriptor.TYPE_UINT64: _VARINT,
    FieldDescriptor.TYPE_FIXED64: _FIXED64,
    FieldDescriptor.TYPE_DOUBLE: _FIXED64,
    FieldDescriptor.TYPE_FLOAT: _FIXED32,
    FieldDescriptor.TYPE_BYTES: _DELIMITED,
}


def _wires(message: Descriptor, also: Mapping[int, int]) -> Mapping[int, tuple[int, int]]:
    """Return wire type and most varint bytes of each field that can be read in place.

    Packed numbers are bytes on the wire. Texts and repeated messages are left out: only a full parse validates them.
    """
    found = {number: (wire, 0) for number, wire in also.items()}
    for one in message.fields:
        if one.type in _WIRE:
            wire = _DELIMITED if one.is_repeated else _WIRE[one.type]
            found[one.number] = (wire, _MOST_VARINT.get(one.type, 0))
    return found


_BODY: Final = _wires(header_pb2.Body.DESCRIPTOR, {})
_SUMMARY: Final = _wires(
    summary_pb2.WorkloadSummary.DESCRIPTOR, {_POWER: _DELIMITED, _NODE: _DELIMITED}
)
_NESTED: Final = {
    _POWER: _wires(summary_pb2.PowerSeries.DESCRIPTOR, {}),
    _NODE: _wires(summary_pb2.NodeCounters.DESCRIPTOR, {}),
}


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where the fields of a summary stand in a stored body of some length.

    ``fixed`` are the places of tags and lengths with their ``values``; ``varints`` the places of numbers written in a
    varying number of bytes, whose continuation bits are ``continues``.
    """

    fields: Mapping[Path, Place]
    fixed: Int64
    values: Octets
    varints: Int64
    continues: Octets

    def read(self, stored: Rows[bytes], paths: Collection[Path]) -> "tuple[Bools, Fields]":
        """Return which stored bodies, all of its length, have this layout, and some of the fields of all of them.

        What is read of a body that does not have the layout means nothing.
        """
        template = Template.of(
            [(self.fixed, self.values, 0xFF), (self.varints, self.continues, 0x80)]
        )
        wanted = [path for path in self.fields if path in paths]
        same, found = read_rows(stored, template, [self.fields[path] for path in wanted])
        return same, Fields(self, stored, dict(zip(wanted, found, strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """Fields of stored bodies, [n], that have one layout; ``octets`` are theirs, [n, length] each."""

    layout: Layout
    stored: Rows[bytes]
    octets: Mapping[Path, Octets]

    def some(self, wanted: Bools) -> "Fields":
        """Return the fields of some of the bodies."""
        if wanted.all():
            return self
        octets = {path: found[wanted] for path, found in self.octets.items()}
        return Fields(self.layout, self.stored.take(wanted), octets)

    def place(self, path: Path) -> Place:
        """Return where a field stands in each body; it has no bytes where it is absent."""
        return self.layout.fields.get(path, (0, 0))

    def number(self, path: Path) -> Int64 | None:
        """Return a varint of each body; ``None`` where the field is absent."""
        found = self.octets.get(path)
        if found is None:
            return None
        total = np.zeros(len(found), dtype=np.int64)
        for shift, octets in enumerate(found.T):
            total |= (octets & 0x7F).astype(np.int64) << (7 * shift)
        return total

    def column(self, path: Path, dtype: np.dtype[_T]) -> NDArray[_T] | None:
        """Return a field of bytes of each body as numbers, [n, count]; ``None`` where it is absent."""
        found = self.octets.get(path)
        return None if found is None else found.view(dtype)


def read_layout(body: bytes) -> Layout | None:
    """Return the layout of a stored body of a summary; ``None`` where only a full parse can tell."""
    try:
        return _read(body)
    except _UnreadableError:
        return None


class _UnreadableError(Exception):
    """Not a layout that is read here."""


def _read(body: bytes) -> Layout:
    fields: dict[Path, Place] = {}
    walk = _Walk(body)
    outer = dict(walk.fields(_BODY, (0, len(body))))
    if set(outer) != {_SALT, _CONTENT} or outer[_SALT][1] - outer[_SALT][0] != SALT_LENGTH:
        raise _UnreadableError
    for number, place in walk.fields(_SUMMARY, outer[_CONTENT]):
        fields[(number,)] = place
        if number in _NESTED:
            for inner, inner_place in walk.fields(_NESTED[number], place):
                fields[number, inner] = inner_place
    data = np.frombuffer(body, dtype=np.uint8)
    fixed = np.array(walk.fixed, dtype=np.int64)
    varints = np.array(walk.varints, dtype=np.int64)
    continues: Octets = np.bitwise_and(data[varints], np.uint8(0x80))
    return Layout(fields, fixed, data[fixed], varints, continues)


class _Walk:
    """One body, and the places that a walk over its fields has found."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.fixed: list[int] = []
        self.varints: list[int] = []

    def fields(
        self, wires: Mapping[int, tuple[int, int]], place: Place
    ) -> Iterator[tuple[int, Place]]:
        """Yield number and place of each field of a message: known ones, in rising order and once each."""
        (at, end), before = place, 0
        while at < end:
            tag, value = _shortest(self.body, at, end)
            number, wire = tag >> 3, tag & 7
            wanted, most = wires.get(number, (-1, 0))
            if number <= before or wire != wanted:
                raise _UnreadableError
            before = number
            self.fixed.extend(range(at, value))
            if wire == _VARINT:
                _, after = _varint(self.body, value, end)
                if after - value > most:
                    raise _UnreadableError
                self.varints.extend(range(value, after))
            elif wire == _DELIMITED:
                length, first = _shortest(self.body, value, end)
                self.fixed.extend(range(value, first))
                value, after = first, first + length
            else:
                after = value + (8 if wire == _FIXED64 else 4)
            if after > end:
                raise _UnreadableError
            yield number, (value, after)
            at = after


def _shortest(body: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a tag or length, in as few bytes as it takes, and the place after it: what is longer may be refused."""
    total, after = _varint(body, at, end)
    if after - at > 1 and not body[after - 1]:
        raise _UnreadableError
    return total, after


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a varint and the place after it."""
    total, shift = 0, 0
    while at < end and shift < 70:
        byte = body[at]
        total |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return total, at
        shift += 7
    raise _UnreadableError
