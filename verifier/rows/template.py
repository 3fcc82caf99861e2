"""Rows that have one layout: whether each has what the layout fixes, and the fields that stand at one place in all.

One function, :func:`read_rows`, and two ways of doing it: numpy, which is always there, and a loop in C
(:mod:`verifier.rows.native`), which goes through each row once. Both say the same of every row and copy the same
bytes: tests hold them to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from verifier.rows import native
from verifier.rows.rows import Bools, Int64, Octets, Rows

Place = tuple[int, int]
"""Where a value stands: its first byte, and the byte after its last."""

_APART: Final = 64
"""Bytes without anything fixed that are not looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """What a layout fixes of a row: where, in order, to which ``values``, and which ``bits`` of each byte."""

    places: Int64
    values: Octets
    bits: Octets

    @classmethod
    def of(cls, parts: Sequence[tuple[Int64, Octets, int]]) -> "Template":
        """Return what some parts fix together: the places of each, the values, and which bits of those."""
        places = np.concatenate([where for where, _, _ in parts])
        values = np.concatenate([values for _, values, _ in parts])
        bits = np.repeat(
            np.array([bits for _, _, bits in parts], np.uint8),
            [len(where) for where, _, _ in parts],
        )
        order = np.argsort(places)
        return cls(places[order], values[order] & bits[order], bits[order])

    @property
    def end(self) -> int:
        """The byte after the last that is fixed."""
        return int(self.places[-1]) + 1 if len(self.places) else 0

    def spans(self) -> list[Place]:
        """Return parts of a row outside of which nothing is fixed."""
        edges = np.flatnonzero(
            np.diff(self.places, prepend=-_APART, append=self.end + _APART) >= _APART
        )
        return [
            (int(self.places[first]), int(self.places[last - 1]) + 1)
            for first, last in pairwise(edges.tolist())
        ]

    def laid_out(self) -> tuple[Octets, Octets]:
        """Return values and bits at their places in a row, zeros elsewhere."""
        values, bits = np.zeros(self.end, np.uint8), np.zeros(self.end, np.uint8)
        values[self.places], bits[self.places] = self.values, self.bits
        return values, bits


ReadRows = Callable[[Rows[bytes], Template, Sequence[Place]], tuple[Bools, list[Octets]]]


def read_rows(
    rows: Rows[bytes], template: Template, fields: Sequence[Place]
) -> tuple[Bools, list[Octets]]:
    """Return which rows have what a template fixes, and each field of all rows, [n, its length].

    Fields of a row that does not have it mean nothing. Raises :class:`ValueError` when the rows have several lengths,
    or one that does not hold the template and every field.
    """
    width = int(rows.length[0]) if len(rows) else 0
    if len(rows) and (width < 0 or (rows.length != width).any()):
        raise ValueError("the rows have not one length")
    inside = all(0 <= start <= end <= width for start, end in fields) and template.end <= width
    if len(rows) and not inside:
        raise ValueError("a field lies outside the rows")
    return READERS[next(reversed(READERS))](rows, template, fields)


def _with_numpy(
    rows: Rows[bytes], template: Template, fields: Sequence[Place]
) -> tuple[Bools, list[Octets]]:
    found = [np.empty((len(rows), end - start), dtype=np.uint8) for start, end in fields]
    same: Bools = np.empty(len(rows), dtype=np.bool_)
    values, bits = template.laid_out()
    spans = template.spans()
    width = -(-sum(end - start for start, end in spans) // 8) * 8
    wanted = np.zeros((2, width), dtype=np.uint8)
    at = 0
    for start, end in spans:
        wanted[:, at : at + end - start] = values[start:end], bits[start:end]
        at += end - start
    fixed, mask = wanted.view(np.uint64)
    for places, block in rows.blocks():
        words = np.zeros((len(block), width // 8), dtype=np.uint64)
        octets, at = words.view(np.uint8), 0
        for start, end in spans:
            octets[:, at : at + end - start] = block[:, start:end]
            at += end - start
        words ^= fixed
        words &= mask
        same[places] = np.bitwise_or.reduce(words, axis=1) == 0
        for (start, end), target in zip(fields, found, strict=True):
            target[places] = block[:, start:end]
    return same, found


def _with_c(
    loops: native.Native, rows: Rows[bytes], template: Template, fields: Sequence[Place]
) -> tuple[Bools, list[Octets]]:
    same = np.zeros(len(rows), dtype=np.bool_)
    found = [np.empty((len(rows), end - start), dtype=np.uint8) for start, end in fields]
    if len(rows):
        values, bits = template.laid_out()
        spans = np.array(template.spans(), dtype=np.int64).reshape(-1)
        places = np.array(fields, dtype=np.int64).reshape(-1)
        where = [np.ascontiguousarray(one) for one in (rows.buffer, rows.start, rows.length)]
        loops.read_rows(
            rows.buffers,
            where,
            template=(values, bits),
            spans=spans,
            fields=places,
            found=found,
            same=same,
        )
    return same, found


READERS: Final[dict[str, ReadRows]] = {"numpy": _with_numpy}
"""The ways that are there, by name: the last is the fastest."""

_found = native.load()
if _found is not None:
    READERS["C"] = partial(_with_c, _found)
