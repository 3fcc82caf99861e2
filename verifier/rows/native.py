"""Loops in C over many rows, where they were built: SHA-256 by libcrypto, where that can be found, and fields.

``python -m verifier.rows.native`` builds it beside this file with the C compiler of the machine (``CC``, or ``cc``).
Nothing needs it: without it rows are hashed with :mod:`hashlib` and read with numpy, and slower.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOURCE: Final = Path(__file__).with_name("native.c")
_TEXT: Final = SOURCE.read_bytes() if SOURCE.exists() else b""
BUILT: Final = SOURCE.with_name(f"libnative-{hashlib.sha256(_TEXT).hexdigest()[:12]}.so")
"""Named by its source: what was built of another is not loaded."""
_FUNCTIONS: Final = ("SHA256_Init", "SHA256_Update", "SHA256_Final")
_OUTSIDE: Final = -1


@dataclass(frozen=True, slots=True)
class Native:
    """The built loops, and the library's functions that one of them calls."""

    _hash: "ctypes._NamedFuncPointer" = field(repr=False)
    _read: "ctypes._NamedFuncPointer" = field(repr=False)
    _functions: "tuple[ctypes.c_void_p, ...]" = field(repr=False)

    def hash_rows(
        self,
        buffers: Sequence[bytes],
        buffer: "NDArray[np.int64]",
        start: "NDArray[np.int64]",
        length: "NDArray[np.int64]",
        prefix: bytes,
    ) -> bytes:
        """Return the digests of rows, end to end; see :func:`verifier.rows.hashing.hash_rows`."""
        digests = ctypes.create_string_buffer(32 * len(start))
        status = self._hash(
            (ctypes.c_char_p * len(buffers))(*buffers),
            (ctypes.c_int64 * len(buffers))(*map(len, buffers)),
            len(buffers),
            buffer.ctypes.data,
            start.ctypes.data,
            length.ctypes.data,
            len(start),
            prefix,
            len(prefix),
            digests,
            *self._functions,
        )
        if status == _OUTSIDE:
            raise ValueError("a row does not lie in its buffer")
        if status:
            raise RuntimeError("libcrypto refuses to hash")
        return digests.raw

    def read_rows(
        self,
        buffers: Sequence[bytes],
        rows: "Sequence[NDArray[np.int64]]",
        *,
        template: "tuple[NDArray[np.uint8], NDArray[np.uint8]]",
        spans: "NDArray[np.int64]",
        fields: "NDArray[np.int64]",
        found: "Sequence[NDArray[np.uint8]]",
        same: "NDArray[np.bool_]",
    ) -> None:
        """Say in ``same`` which rows have a template's bits, and copy fields of all to ``found``.

        ``rows`` are in which buffer each lies, its start and its length; ``template`` values and bits at their places
        in a row, of which ``spans`` have any; ``spans`` and ``fields`` first bytes and bytes after the last, in turns,
        all of which lie in every row. All arrays are contiguous. Raises :class:`ValueError` for a row that does not lie
        in its buffer.
        """
        buffer, start, length = rows
        status = self._read(
            (ctypes.c_char_p * len(buffers))(*buffers),
            (ctypes.c_int64 * len(buffers))(*map(len, buffers)),
            len(buffers),
            buffer.ctypes.data,
            start.ctypes.data,
            length.ctypes.data,
            len(start),
            template[0].ctypes.data,
            template[1].ctypes.data,
            spans.ctypes.data,
            len(spans) // 2,
            fields.ctypes.data,
            len(fields) // 2,
            (ctypes.c_void_p * len(found))(*(one.ctypes.data for one in found)),
            same.ctypes.data,
        )
        if status:
            raise ValueError("a row does not lie in its buffer")


def load() -> Native | None:
    """Return the loops; ``None`` where they were not built, cannot be loaded, or the library is not there."""
    if not BUILT.exists():
        return None
    try:
        built = ctypes.CDLL(str(BUILT))
        loops = Native(built.hash_rows, built.read_rows, tuple(_addresses()))
    except (OSError, AttributeError, ImportError):
        return None
    number, place = ctypes.c_int64, ctypes.c_void_p
    rows = place, place, number, place, place, place, number
    built.hash_rows.argtypes = [
        *rows,
        *(ctypes.c_char_p, number),
        place,
        *(place for _ in _FUNCTIONS),
    ]
    built.read_rows.argtypes = [*rows, place, place, place, number, place, number, place, place]
    built.hash_rows.restype = built.read_rows.restype = ctypes.c_int
    return loops


def _addresses() -> Iterable[ctypes.c_void_p]:
    """Yield where the functions of the libcrypto are that Python's own hashlib uses."""
    import _hashlib  # noqa: PLC0415 - is missing where Python was built without OpenSSL

    library = ctypes.CDLL(_hashlib.__file__)
    for name in _FUNCTIONS:
        yield ctypes.cast(getattr(library, name), ctypes.c_void_p)


def build() -> Path:
    """Compile the loops, and return where they are; raises :class:`OSError` when that fails."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise FileNotFoundError("there is no C compiler here: set CC, or do without")
    fresh = BUILT.with_name(f"{BUILT.name}.new")
    command = [compiler, "-O3", "-shared", "-fPIC", "-o", str(fresh), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    fresh.replace(BUILT)
    return BUILT


if __name__ == "__main__":
    try:
        print(f"built {build()}")  # noqa: T201
    except OSError as error:
        sys.exit(f"hashing stays with hashlib: {error}")
