"""SHA-256 of many byte strings that lie in one buffer.

One function, :func:`hash_rows`, and two ways of doing it: a loop around :mod:`hashlib`, which is always there, and a
loop in C around the same library's SHA-256 (:mod:`verifier.rows.native`), for which each call costs nothing but the
hash. Both give the same digests: a test holds them to it.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from verifier.rows import native

DIGEST_LENGTH: Final = 32

Int64 = NDArray[np.int64]
HashRows = Callable[[bytes, Int64, Int64, bytes], bytes]


def hash_rows(data: bytes, start: Int64, length: Int64, prefix: bytes = b"") -> bytes:
    """Return the digests, end to end, of ``prefix`` and ``data[start : start + length]`` for each row.

    Raises :class:`ValueError` for a row that does not lie in ``data``.
    """
    start, length = np.ascontiguousarray(start, np.int64), np.ascontiguousarray(length, np.int64)
    if start.shape != length.shape or start.ndim != 1:
        raise ValueError("each row has one start and one length")
    if len(start) and not (
        start.min() >= 0
        and start.max() <= len(data)
        and length.min() >= 0
        and (length <= len(data) - start).all()
    ):
        raise ValueError("a row does not lie in the buffer")
    return BACKENDS[backend()](data, start, length, prefix)


def backend() -> str:
    """Return the name of the way in which rows are hashed here."""
    return next(reversed(BACKENDS))


def _with_hashlib(data: bytes, start: Int64, length: Int64, prefix: bytes) -> bytes:
    sha256 = hashlib.sha256
    bounds = zip(start.tolist(), (start + length).tolist(), strict=True)
    if prefix:
        return b"".join([sha256(prefix + data[at:end]).digest() for at, end in bounds])
    return b"".join([sha256(data[at:end]).digest() for at, end in bounds])


BACKENDS: Final[dict[str, HashRows]] = {"hashlib": _with_hashlib}
"""The ways that are there, by name: the last is the fastest."""

_found = native.load()
if _found is not None:
    BACKENDS["libcrypto"] = _found.hash_rows
