"""SHA-256 of many byte strings that lie in a few buffers.

One function, :func:`hash_rows`, and two ways of doing it: a loop around :mod:`hashlib`, which is always there, and a
loop in C around the same library's SHA-256 (:mod:`verifier.rows.native`), for which each call costs nothing but the
hash. Both give the same digests and refuse the same rows: tests hold them to it.
"""

import hashlib
from collections.abc import Callable, Sequence
from operator import add
from typing import Final

import numpy as np
from numpy.typing import NDArray

from verifier.rows import native

DIGEST_LENGTH: Final = 32

Int64 = NDArray[np.int64]
HashRows = Callable[[Sequence[bytes], Int64, Int64, Int64, bytes], bytes]
"""Takes buffers, then in which buffer each row lies, where it starts and how long it is, then a prefix."""


def hash_rows(
    buffers: Sequence[bytes], buffer: Int64, start: Int64, length: Int64, prefix: bytes = b""
) -> bytes:
    """Return the digests, end to end, of ``prefix`` and ``buffers[buffer][start : start + length]`` for each row.

    Raises :class:`ValueError` for a row that does not lie in its buffer.
    """
    which, first, size = (np.ascontiguousarray(one, np.int64) for one in (buffer, start, length))
    if not which.shape == first.shape == size.shape == (len(which),):
        raise ValueError("each row has one buffer, start and length")
    return BACKENDS[backend()](buffers, which, first, size, prefix)


def backend() -> str:
    """Return the name of the way in which rows are hashed here."""
    return next(reversed(BACKENDS))


def _with_hashlib(
    buffers: Sequence[bytes], buffer: Int64, start: Int64, length: Int64, prefix: bytes
) -> bytes:
    sha256 = hashlib.sha256
    which, starts, lengths = buffer.tolist(), start.tolist(), length.tolist()
    least = min(min(column, default=0) for column in (which, starts, lengths))
    if least < 0 or max(which, default=-1) >= len(buffers):
        raise ValueError("a row lies in no buffer")
    ends = list(map(add, starts, lengths))
    sizes = [len(data) for data in buffers]
    if any(end > sizes[at] for at, end in zip(which, ends, strict=True)):
        raise ValueError("a row does not lie in its buffer")
    rows = zip(which, starts, ends, strict=True)
    if prefix:
        return b"".join([sha256(prefix + buffers[at][a:b]).digest() for at, a, b in rows])
    return b"".join([sha256(buffers[at][a:b]).digest() for at, a, b in rows])


BACKENDS: Final[dict[str, HashRows]] = {"hashlib": _with_hashlib}
"""The ways that are there, by name: the last is the fastest."""

_found = native.load()
if _found is not None:
    BACKENDS["libcrypto"] = _found.hash_rows
