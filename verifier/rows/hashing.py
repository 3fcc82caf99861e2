"""SHA-256 of many byte strings that lie in a few buffers.

One function, :func:`hash_rows`, and two ways of doing it: a loop around :mod:`hashlib`, which is always there, and a
loop in C around the same library's SHA-256 (:mod:`verifier.rows.native`), for which each call costs nothing but the
hash. Both give the same digests and refuse the same rows: tests hold them to it.
"""

import hashlib
from collections.abc import Callable, Sequence
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
    if len(buffer) and (buffer.min() < 0 or buffer.max() >= len(buffers)):
        raise ValueError("a row lies in no buffer")
    sizes = np.array([len(data) for data in buffers], dtype=np.int64)[buffer]
    if not ((start >= 0) & (start <= sizes) & (length >= 0) & (length <= sizes - start)).all():
        raise ValueError("a row does not lie in its buffer")
    views = [memoryview(data) for data in buffers]
    lying = map(views.__getitem__, buffer.tolist())
    rows = zip(lying, start.tolist(), (start + length).tolist(), strict=True)
    sha256 = hashlib.sha256
    if not prefix:
        return b"".join([sha256(octets[at:end]).digest() for octets, at, end in rows])
    begun = sha256(prefix).copy
    digests: list[bytes] = []
    for octets, at, end in rows:
        hashing = begun()
        hashing.update(octets[at:end])
        digests.append(hashing.digest())
    return b"".join(digests)


BACKENDS: Final[dict[str, HashRows]] = {"hashlib": _with_hashlib}
"""The ways that are there, by name: the last is the fastest."""

_found = native.load()
if _found is not None:
    BACKENDS["libcrypto"] = _found.hash_rows
