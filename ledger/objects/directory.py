"""An object store in a folder, which any web server can serve as it is."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

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
        try:
            return (self._folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _failed("read", self._folder / path, error) from error

    def put(self, files: Mapping[str, bytes]) -> None:
        """See :class:`ObjectStore`."""
        folders: set[Path] = set()
        for path, data in files.items():
            target = self._folder / path
            try:
                self._make(target.parent, folders)
                _write(target, data)
            except OSError as error:
                with contextlib.suppress(OSError):
                    target.with_name(target.name + _PART).unlink()
                raise _failed("write", target, error) from error
            folders.add(target.parent)
        for folder in folders:
            try:
                _sync_folder(folder)
            except OSError as error:
                raise _failed("sync", folder, error) from error

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

    def _make(self, folder: Path, changed: set[Path]) -> None:
        if folder in self._made:
            return
        missing = [folder]
        while not missing[-1].exists():
            missing.append(missing[-1].parent)
        for above in reversed(missing[:-1]):
            above.mkdir(exist_ok=True)
        changed.update(missing)
        self._made.add(folder)


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
    return ObjectError("STORAGE", f"cannot {what} {path}: {error.strerror}")
