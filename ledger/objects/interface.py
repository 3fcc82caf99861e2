"""What an object store is: files by path, each whole or absent."""

from collections.abc import Iterable, Mapping
from typing import BinaryIO, Protocol


class ObjectStore(Protocol):
    """The static files of one log. Paths are relative, with ``/``.

    Every method raises :class:`ObjectError` when the storage fails.
    """

    def get(self, path: str) -> bytes | None:
        """Return a file's bytes, ``None`` when there is none."""
        ...

    def open(self, path: str) -> BinaryIO | None:
        """Return a file to read from, ``None`` when there is none; whoever asked closes it."""
        ...

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files; durable when this returns. A file is never seen in part, and may replace one."""
        ...

    def discard(self, folders: Iterable[str]) -> None:
        """Remove folders that hold nothing that is needed any more; missing ones are no fault."""
        ...
