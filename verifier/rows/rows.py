"""Byte strings that lie in a few buffers, such as a log's bundles, and are left there.

To whoever asks for one it is ``bytes``, as in any sequence. What looks at all of them works on the buffers, and makes
no object a row.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Generic, TypeVar, cast, overload

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from verifier.rows.hashing import hash_rows

Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
Octets = NDArray[np.uint8]
_T = TypeVar("_T", bound=bytes | None)

ABSENT: Final = -1
"""The length of a row that is not there: ``None`` to whoever asks for it."""
_MOST_VIEWS: Final = 8
"""Runs of evenly spaced rows in one buffer that are looked at where they lie; of more, copies are made."""
_ROWS_COPIED: Final = 256
"""Rows that are copied at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Sequence[_T], Generic[_T]):
    """Byte strings: row i is ``length[i]`` bytes of buffer ``buffer[i]`` from ``start[i]`` on, or absent.

    Raises :class:`ValueError` for a row that does not lie in its buffer.
    """

    buffers: tuple[bytes, ...] = field(repr=False)
    buffer: Int64
    start: Int64
    length: Int64

    def __post_init__(self) -> None:
        if not self.buffer.shape == self.start.shape == self.length.shape == (len(self.buffer),):
            raise ValueError("each row has one buffer, start and length")
        if not len(self.buffer):
            return
        if self.buffer.min() < 0 or self.buffer.max() >= len(self.buffers):
            raise ValueError("a row lies in no buffer")
        sizes = np.array([len(data) for data in self.buffers], dtype=np.int64)[self.buffer]
        inside = (self.start >= 0) & (self.start <= sizes) & (self.length <= sizes - self.start)
        if not (inside & (self.length >= ABSENT)).all():
            raise ValueError("a row does not lie in its buffer")

    @classmethod
    def of(cls, strings: Sequence[_T]) -> "Rows[_T]":
        """Return byte strings as rows, laid end to end; rows as they are."""
        if isinstance(strings, Rows):
            return strings
        count = len(strings)
        length = np.fromiter(
            (ABSENT if one is None else len(one) for one in strings), np.int64, count
        )
        return cls._end_to_end(b"".join([one for one in strings if one is not None]), length)

    @classmethod
    def lying(cls, parts: Iterable[tuple[bytes, tuple[Int64, Int64]]]) -> "Rows[_T]":
        """Return the rows of some buffers, in order: each buffer with where its rows start, and their lengths."""
        buffers: list[bytes] = []
        counts: list[int] = []
        starts, lengths = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for data, (start, length) in parts:
            buffers.append(data)
            counts.append(len(start))
            starts.append(start)
            lengths.append(length)
        buffer = np.repeat(np.arange(len(buffers)), counts)
        return cls(tuple(buffers), buffer, np.concatenate(starts), np.concatenate(lengths))

    @classmethod
    def joined(cls, parts: "Sequence[Rows[_T]]") -> "Rows[_T]":
        """Return the rows of several, one after the other."""
        buffers: list[bytes] = []
        first: dict[int, int] = {}
        moved: list[Int64] = []
        for part in parts:
            if id(part.buffers) not in first:
                first[id(part.buffers)] = len(buffers)
                buffers += part.buffers
            moved.append(part.buffer + first[id(part.buffers)])
        return cls(
            tuple(buffers),
            np.concatenate(moved),
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.length for part in parts]),
        )

    def __reduce__(self) -> tuple[Callable[[bytes, Int64], "Rows[_T]"], tuple[bytes, Int64]]:
        """Let another process have the rows, and nothing else of the buffers in which they lie."""
        held = (string for string in self if string is not None)
        return Rows._end_to_end, (b"".join(held), np.ascontiguousarray(self.length))

    @classmethod
    def _end_to_end(cls, data: bytes, length: Int64) -> "Rows[_T]":
        size = np.maximum(length, 0)
        return cls((data,), np.zeros(len(length), np.int64), np.cumsum(size) - size, length)

    def __len__(self) -> int:
        return len(self.length)

    @overload
    def __getitem__(self, at: int) -> _T: ...
    @overload
    def __getitem__(self, at: slice) -> "Rows[_T]": ...
    def __getitem__(self, at: "int | slice") -> "_T | Rows[_T]":
        if isinstance(at, slice):
            return Rows(self.buffers, self.buffer[at], self.start[at], self.length[at])
        return self._string(int(self.buffer[at]), int(self.start[at]), int(self.length[at]))

    def __iter__(self) -> Iterator[_T]:
        columns = self.buffer.tolist(), self.start.tolist(), self.length.tolist()
        return map(self._string, *columns)

    def _string(self, buffer: int, start: int, length: int) -> _T:
        found = None if length == ABSENT else self.buffers[buffer][start : start + length]
        return cast("_T", found)

    @property
    def held(self) -> Bools:
        """Which rows are there."""
        there: Bools = self.length != ABSENT
        return there

    def all_held(self) -> "Rows[bytes]":
        """Return the rows, all of which are there."""
        if not self.held.all():
            raise ValueError("a row is absent")
        return cast("Rows[bytes]", self)

    def take(self, rows: "NDArray[np.integer] | Bools") -> "Rows[_T]":
        """Return some of the rows, by place or by whether they are wanted."""
        return Rows(self.buffers, self.buffer[rows], self.start[rows], self.length[rows])

    def part(self, start: int, end: int) -> "Rows[bytes]":
        """Return bytes [start, end) of each row, all of which have them."""
        if (self.length < end).any():
            raise ValueError(f"a row has fewer than {end} bytes")
        length = np.full(len(self), end - start, dtype=np.int64)
        return Rows(self.buffers, self.buffer, self.start + start, length)

    def with_strings(self, rows: Int64, strings: Sequence[bytes]) -> "Rows[_T]":
        """Return the rows with others in some places."""
        more = Rows.of(strings)
        buffer, start, length = self.buffer.copy(), self.start.copy(), self.length.copy()
        buffer[rows] = len(self.buffers) + more.buffer
        start[rows], length[rows] = more.start, more.length
        return Rows((*self.buffers, *more.buffers), buffer, start, length)

    def digests(self, prefix: bytes = b"") -> bytes:
        """Return the SHA-256 of ``prefix`` and each row, end to end; all of the rows must be there."""
        return hash_rows(self.buffers, self.buffer, self.start, self.length, prefix)

    def columns(self, start: int, end: int) -> Octets:
        """Return bytes [start, end) of each row as a matrix; the rows have one length."""
        if not 0 <= start <= end or (self.length < end).any():
            raise ValueError(f"a row has no bytes [{start}, {end})")
        found = np.empty((len(self), end - start), dtype=np.uint8)
        for rows, block in self.blocks():
            found[rows] = block[:, start:end]
        return found

    def blocks(self) -> Iterator[tuple["Int64 | slice", Octets]]:
        """Yield rows of one length as matrices, some at a time, with their places: where they lie, if that can be.

        Raises :class:`ValueError` when the rows have several lengths, or one is absent.
        """
        width = int(self.length[0]) if len(self) else 0
        if width < 0 or (self.length != width).any():
            raise ValueError("the rows have not one length")
        for data, rows in self._by_buffer():
            for first, block in _blocks(data, self.start[rows], width):
                places = rows[first : first + len(block)]
                beside = int(places[-1]) - int(places[0]) + 1 == len(places)
                yield slice(int(places[0]), int(places[-1]) + 1) if beside else places, block

    def _by_buffer(self) -> Iterator[tuple[bytes, Int64]]:
        """Yield each buffer in use, with the places of the rows that lie in it."""
        order = np.argsort(self.buffer, kind="stable")
        edges = np.flatnonzero(np.diff(self.buffer[order], prepend=-1, append=-1))
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            yield self.buffers[self.buffer[order[first]]], order[first:last]


def _blocks(data: bytes, start: Int64, width: int) -> Iterator[tuple[int, Octets]]:
    """Yield rows of one buffer as matrices, each with its first row; evenly spaced ones are not copied."""
    steps = np.diff(start)
    step = int(steps.min()) if len(steps) else width
    edges = [0, *(np.flatnonzero(steps != step) + 1).tolist(), len(start)]
    if len(edges) <= _MOST_VIEWS and step >= width > 0:
        for first, after in pairwise(edges):  # numpy refuses a view that would leave its buffer
            yield (
                first,
                np.ndarray((after - first, width), np.uint8, data, int(start[first]), (step, 1)),
            )
        return
    octets = np.frombuffer(data, np.uint8)
    for first in range(0, len(start), _ROWS_COPIED):
        some = start[first : first + _ROWS_COPIED]
        yield (
            first,
            sliding_window_view(octets, width)[some]
            if width
            else np.zeros((len(some), 0), dtype=np.uint8),
        )
