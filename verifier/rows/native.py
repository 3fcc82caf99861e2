"""The loop in C around libcrypto's SHA-256, where it was built and the library can be found.

``python -m verifier.rows.native`` builds it beside this file with the C compiler of the machine (``CC``, or ``cc``).
Nothing needs it: without it rows are hashed with :mod:`hashlib`, and slower.
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
    """The built loop, and the library's functions that it calls."""

    _loop: "ctypes._NamedFuncPointer" = field(repr=False)
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
        status = self._loop(
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


def load() -> Native | None:
    """Return the loop; ``None`` where it was not built, cannot be loaded, or the library is not there."""
    if not BUILT.exists():
        return None
    try:
        loop = ctypes.CDLL(str(BUILT)).hash_rows
        functions = tuple(_addresses())
    except (OSError, AttributeError, ImportError):
        return None
    number, place = ctypes.c_int64, ctypes.c_void_p
    loop.argtypes = [
        *(place, place, number),
        *(place, place, place, number),
        *(ctypes.c_char_p, number),
        place,
        *(place for _ in _FUNCTIONS),
    ]
    loop.restype = ctypes.c_int
    return Native(loop, functions)


def _addresses() -> Iterable[ctypes.c_void_p]:
    """Yield where the functions of the libcrypto are that Python's own hashlib uses."""
    import _hashlib  # noqa: PLC0415 - is missing where Python was built without OpenSSL

    library = ctypes.CDLL(_hashlib.__file__)
    for name in _FUNCTIONS:
        yield ctypes.cast(getattr(library, name), ctypes.c_void_p)


def build() -> Path:
    """Compile the loop, and return where it is; raises :class:`OSError` when that fails."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise FileNotFoundError("there is no C compiler here: set CC, or do without")
    fresh = BUILT.with_name(f"{BUILT.name}.new")
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(fresh), str(SOURCE)]
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
