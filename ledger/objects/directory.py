"""An object store in a folder.

Of a ledger's folder another web server may serve ``checkpoint``, ``tile/`` and ``bodies/``, and never ``private/``.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from ledger.errors import ObjectError

_PART = ".part"


class DirectoryStore:
    """Files below ``folder``; see :class:`ledger.objects.interface.ObjectStore`.

    Each file is written beside its place, synced, and renamed into it; then the folders are synced.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: set[Path] = set()

    def get(self, path: str) -> bytes | None:
        """See :class:`ObjectStore`."""
        file = self.open(path)
        if file is None:
            return None
        with file:
            try:
                return file.read()
            except OSError as error:
                raise _failed("read", self._folder / path, error) from error

    def open(self, path: str) -> BinaryIO | None:
        """See :class:`ObjectStore`."""
        try:
            return (self._folder / path).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _failed("read", self._folder / path, error) from error

    def put(self, files: Mapping[str, bytes]) -> None:
        """See :class:`ObjectStore`."""
        changed: set[Path] = set()
        for path, data in files.items():
            target = self._folder / path
            try:
                changed |= self._make(target.parent)
                _write(target, data)
            except OSError as error:
                with contextlib.suppress(OSError):
                    target.with_name(target.name + _PART).unlink()
                raise _failed("write", target, error) from error
            changed.add(target.parent)
        for folder in changed:
            try:
                _sync_folder(folder)
            except OSError as error:
                raise _failed("sync", folder, error) from error
        self._made |= changed

    def discard(self, folders: Iterable[str]) -> None:
        """See :class:`ObjectStore`."""
        for folder in folders:
            try:
                shutil.rmtree(self._folder / folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _failed("remove", self._folder / folder, error) from error
            self._made.discard(self._folder / folder)

    def _make(self, folder: Path) -> set[Path]:
        """Make a folder; return those that have to be synced so that it lasts."""
        if folder in self._made:
            return set()
        changed = [folder]
        while changed[-1] != self._folder:
            changed.append(changed[-1].parent)
        folder.mkdir(parents=True, exist_ok=True)
        return set(changed)


def _write(target: Path, data: bytes) -> None:
    part = target.with_name(target.name + _PART)
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(what: str, path: Path, error: OSError) -> ObjectError:
    return ObjectError(
        "STORAGE", f"cannot {what} {path}: {error.strerror}; free space or repair the disk"
    )
