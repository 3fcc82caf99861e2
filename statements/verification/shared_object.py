"""Loads the shared library in an installed wheel that lists libraries as needed which it does not need.

Intel links its libraries with the runtime of its compiler, which is a wheel of its own, of 130 MB, even where they use
nothing of it. Those names are struck from the list in a copy of the library in memory, and the copy is loaded. All its
symbols are bound at once: one that does use the runtime is not loaded at all.

Source: System V ABI, ELF-64 object files; ld.so(8); the Python packaging specification of RECORD files.
"""

import base64
import ctypes
import hashlib
import os
import struct
from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

from statements.errors import BackendError

COMPILER_RUNTIME: Final = frozenset({"libimf.so", "libintlc.so.5", "libirng.so", "libsvml.so"})

_MAGIC: Final = b"\x7fELF\x02\x01"
"""Of 64 bits, little-endian."""
_HEADER: Final = struct.Struct("<32xQ14xHH")
"""Of a file: where program headers begin, the size of one, and how many there are."""
_SEGMENT: Final = struct.Struct("<I4xQQ8xQ")
"""A program header: type, offset in the file, address in memory, size in the file."""
_ENTRY: Final = struct.Struct("<qQ")
"""An entry of the dynamic section: tag and value."""
_LOAD, _DYNAMIC = 1, 2
_END, _NEEDED, _STRINGS = 0, 1, 5
_NOTHING: Final = 0x6000000D
"""A tag that means nothing to Linux's loader."""


def read_installed(wheel: str, name: str) -> bytes:
    """Return a file of an installed wheel, as that recorded it; :class:`BackendError` when it is missing or damaged."""
    try:
        files = distribution(wheel).files or []
    except PackageNotFoundError:
        raise BackendError("NOT_INSTALLED", f"{wheel} is not installed") from None
    found = next((file for file in files if file.name == name), None)
    if found is None:
        raise BackendError("NOT_INSTALLED", f"{wheel} is installed, and holds no {name}")
    try:
        data = found.read_binary()
    except OSError as error:
        raise BackendError("NOT_INSTALLED", f"cannot read {name} of {wheel}: {error}") from error
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    if found.hash is None or (found.hash.mode, found.hash.value) != ("sha256", digest):
        raise BackendError("DAMAGED", f"{name} is not as {wheel} recorded it: install it again")
    return data


def load_library(data: bytes, name: str, without: frozenset[str] = COMPILER_RUNTIME) -> ctypes.CDLL:
    """Load a library from its bytes, as if it did not list those ``without`` as needed.

    Raises :class:`BackendError` when the bytes are none, or use what is not there.
    """
    struck = strike(data, without)
    try:
        # Stays open as long as the process runs: the loader tells libraries apart by their paths.
        descriptor = os.memfd_create(name)
        with open(descriptor, "wb", closefd=False) as copy:
            copy.write(struck)
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}", mode=os.RTLD_NOW | os.RTLD_LOCAL)
    except (OSError, AttributeError) as error:  # AttributeError: another system than Linux
        raise BackendError("NOT_LOADED", f"{name} cannot be loaded: {error}") from error


def strike(data: bytes, names: frozenset[str]) -> bytes:
    """Return a library's bytes with those names struck from what it needs; :class:`BackendError` for no library."""
    if not data.startswith(_MAGIC):
        raise BackendError("NOT_LOADED", "the file is no shared library of 64 bits")
    fresh = bytearray(data)
    try:
        begin, size, count = _HEADER.unpack_from(data)
        segments = [_SEGMENT.unpack_from(data, begin + at * size) for at in range(count)]
        dynamic = next(offset for kind, offset, _, _ in segments if kind == _DYNAMIC)
        entries: list[tuple[int, int, int]] = []
        while (entry := _ENTRY.unpack_from(data, dynamic + len(entries) * _ENTRY.size))[0] != _END:
            entries.append((dynamic + len(entries) * _ENTRY.size, *entry))
        address = next(value for _, tag, value in entries if tag == _STRINGS)
        strings = next(
            offset + address - begins
            for kind, offset, begins, length in segments
            if kind == _LOAD and begins <= address < begins + length
        )
        for at, tag, value in entries:
            name = data[strings + value : data.index(0, strings + value)] if tag == _NEEDED else b""
            if name.decode() in names:
                _ENTRY.pack_into(fresh, at, _NOTHING, 0)
    except (struct.error, StopIteration, ValueError, OverflowError) as error:
        raise BackendError("NOT_LOADED", f"the shared library is damaged: {error}") from None
    return bytes(fresh)
