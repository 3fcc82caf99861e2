"""A mirror's folder: what a log serves, in the layout of the log itself, and beside it what keeping it takes.

::

    checkpoint  tile/  bodies/   the log, whole up to this checkpoint at every instant
    notes/      SIZE-DIGEST.checkpoint         signed checkpoints on which audits rest
                forked-DIGEST/{held,served}    two signed checkpoints that no honest log signs both
    work/       lock             held by the one process that changes the mirror
                pending          the signed checkpoint up to which the mirror is being brought
                incoming/        files that are being written

A file gets its name when it is whole; the checkpoint is written last, once everything that it covers is on the disk.
What a run finds of one before it, and no checkpoint covers yet, is written anew: a disk that failed to take a file says
so once, and serves it from memory until the power goes.
"""

import fcntl
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tlog.note import NOTE_LIMIT
from verifier.mirror.errors import MirrorError

CHECKPOINT: Final = "checkpoint"
NOTES: Final = "notes"
_WORK: Final = "work"
_PENDING: Final = f"{_WORK}/pending"
_INCOMING: Final = f"{_WORK}/incoming"
_NOTE: Final = re.compile(r"(0|[1-9]\d{0,18})-[0-9a-f]{16}\.checkpoint")
_MOST_UNSYNCED: Final = 4096
"""Files and folders that are remembered before they are made lasting."""


class Shelf:
    """The folder of a mirror that this process alone changes. ``store`` may be called by several threads.

    Every method raises :class:`MirrorError` when the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fresh: set[Path] = set()
        self._counting = threading.Lock()
        self._count = 0

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> "Iterator[Shelf]":
        """Hold a mirror's folder, which is made when it is not there. What was half-written before is thrown away."""
        with _writing(folder):
            (folder / _WORK).mkdir(parents=True, exist_ok=True)
            _sync(folder.parent)
            descriptor = os.open(folder / _WORK / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise MirrorError(
                    "MIRROR_IN_USE",
                    f"another process brings the mirror {folder} up to date: wait for it, or audit it with --log",
                ) from None
            with _writing(folder):
                shutil.rmtree(folder / _INCOMING, ignore_errors=True)
                (folder / _INCOMING).mkdir()
            yield cls(folder)
        finally:
            os.close(descriptor)

    @property
    def checkpoint(self) -> bytes | None:
        """The signed checkpoint up to which the mirror is whole."""
        return self._read(CHECKPOINT, NOTE_LIMIT)

    @property
    def pending(self) -> bytes | None:
        """The signed checkpoint up to which it was last being brought, if that was not finished."""
        return self._read(_PENDING, NOTE_LIMIT)

    def read(self, path: str, limit: int) -> bytes | None:
        """Return a file's bytes; ``None`` when there is none, or it is longer than it may be."""
        data = self._read(path, limit)
        return None if data is None or len(data) > limit else data

    def length(self, path: str) -> int:
        """Return how many bytes a file has; 0 when there is none."""
        try:
            return (self.folder / path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except OSError as error:
            raise MirrorError(
                "UNREADABLE", f"cannot read {self.folder / path}: {error.strerror}"
            ) from None

    def begin(self, note: bytes) -> None:
        """Remember which checkpoint the mirror is being brought to; what was stored for another is forgotten."""
        self._fresh.clear()
        with _writing(self.folder):
            self._put_lasting(_PENDING, note)

    def store(self, path: str, data: bytes) -> None:
        """Put a file in its place, whole; it is on the disk once :meth:`commit` returns."""
        with _writing(self.folder):
            target = self.folder / path
            self._put(path, data)
            with self._counting:
                self._fresh |= {target, *self._folders(target)}
                full = set(self._fresh) if len(self._fresh) > _MOST_UNSYNCED else set()
                self._fresh -= full
            _sync(*full)

    def mend(self, path: str, data: bytes) -> None:
        """Put a file in the place of one that the checkpoint covers: there is never less than there was."""
        with _writing(self.folder):
            self._put_lasting(path, data)

    def commit(self, note: bytes) -> None:
        """Make what was stored lasting, and then the checkpoint that covers it."""
        with _writing(self.folder):
            _sync(*self._fresh)
            self._fresh.clear()
            self._put_lasting(CHECKPOINT, note)
            (self.folder / _PENDING).unlink(missing_ok=True)

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files that the mirror's checkpoint does not need, and folders that are empty then."""
        with _writing(self.folder):
            for path in paths:
                (self.folder / path).unlink(missing_ok=True)
                parent = (self.folder / path).parent
                if parent.suffix == ".p" and parent.is_dir() and not any(parent.iterdir()):
                    parent.rmdir()

    def remove_parts_but(self, needed: Container[str]) -> None:
        """Remove all files of tiles and bundles that are not full but those needed, whoever left them there."""
        found = (
            path.relative_to(self.folder).as_posix()
            for top in ("tile", "bodies")
            for path in sorted((self.folder / top).rglob("*.p/*"))
        )
        self.remove(path for path in found if path not in needed)

    def keep_note(self, size: int, note: bytes) -> None:
        """Keep a signed checkpoint on which an audit rests."""
        self._keep(f"{NOTES}/{size}-{_name(note)}.checkpoint", note)

    def keep_fork(self, held: bytes, served: bytes) -> Path:
        """Keep two signed checkpoints that contradict each other; return where."""
        place = f"{NOTES}/forked-{_name(held + served)}"
        self._keep(f"{place}/held", held)
        self._keep(f"{place}/served", served)
        return self.folder / place

    def _keep(self, path: str, note: bytes) -> None:
        with _writing(self.folder):
            self._put_lasting(path, note)

    def _read(self, path: str, limit: int) -> bytes | None:
        try:
            with (self.folder / path).open("rb") as file:
                return file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise MirrorError(
                "UNREADABLE", f"cannot read {self.folder / path}: {error.strerror}"
            ) from None

    def _put(self, path: str, data: bytes) -> None:
        self._incoming(data).replace(self._place(path))

    def _put_lasting(self, path: str, data: bytes) -> None:
        """Put a file in its place once its bytes are on the disk: what was there before stays until then."""
        fresh, target = self._incoming(data), self._place(path)
        _sync(fresh)
        fresh.replace(target)
        _sync(*self._folders(target))

    def _incoming(self, data: bytes) -> Path:
        with self._counting:
            self._count += 1
            fresh = self.folder / _INCOMING / str(self._count)
        fresh.write_bytes(data)
        return fresh

    def _place(self, path: str) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _folders(self, target: Path) -> Iterator[Path]:
        while target != self.folder:
            target = target.parent
            yield target


def kept_notes(folder: Path, size: int) -> list[bytes]:
    """Return the signed checkpoints of a size that audits of a mirror kept; a folder that is no mirror has none."""
    names = sorted(path for path in (folder / NOTES).glob("*") if _NOTE.fullmatch(path.name))
    try:
        return [path.read_bytes() for path in names if path.name.partition("-")[0] == str(size)]
    except OSError as error:
        raise MirrorError("UNREADABLE", f"cannot read {folder / NOTES}: {error.strerror}") from None


def _name(note: bytes) -> str:
    return hashlib.sha256(note).hexdigest()[:16]


def _sync(*paths: Path) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MirrorError(
            "MIRROR_UNWRITABLE", f"cannot write the mirror {folder}: {error.strerror}"
        ) from None
