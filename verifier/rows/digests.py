"""Digests of 32 bytes that lie end to end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np

from verifier.rows.hashing import DIGEST_LENGTH
from verifier.rows.rows import Octets, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Digests(Sequence[bytes]):
    """Digests, end to end in ``data``."""

    data: bytes = field(repr=False)

    def __len__(self) -> int:
        return len(self.data) // DIGEST_LENGTH

    def __iter__(self) -> Iterator[bytes]:
        data = self.data
        return (data[at : at + DIGEST_LENGTH] for at in range(0, len(data), DIGEST_LENGTH))

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> "Digests": ...
    def __getitem__(self, at: "int | slice") -> "bytes | Digests":
        if isinstance(at, slice):
            return Digests(self.octets[at].tobytes())
        first = (at if at >= 0 else at + len(self)) * DIGEST_LENGTH
        if not 0 <= first < len(self.data):
            raise IndexError(at)
        return self.data[first : first + DIGEST_LENGTH]

    def rows(self) -> Rows[bytes]:
        """Return the digests as rows."""
        start = np.arange(0, len(self.data), DIGEST_LENGTH)
        length = np.full(len(start), DIGEST_LENGTH, dtype=np.int64)
        return Rows((self.data,), np.zeros(len(start), np.int64), start, length)

    @property
    def octets(self) -> Octets:
        """The digests as a matrix, [n, 32]."""
        return np.frombuffer(self.data, np.uint8).reshape(-1, DIGEST_LENGTH)
