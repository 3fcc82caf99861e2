"""Disks that fail: builds ``disk.c``, tells it what is to fail, reads what it wrote, and plays power cuts from that.

A power cut leaves what was synced. What a failed sync was to make durable is lost unless it is written again: that is
how Linux treats pages whose write-back failed. Two file systems are played: one on which a name that no folder's sync
made durable is lost (*strict*: no more than POSIX promises), and one that keeps all names, and loses only bytes.
"""

import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final

import pytest

SOURCE: Final = Path(__file__).with_name("disk.c")
_CONTROL: Final = struct.Struct("=4I3Q")
_HOW_AT, _AT_AT, _COUNTS_AT = 4, 16, 24
_CONTROL_LENGTH: Final = 4096


class How(IntEnum):
    """What becomes of a call: ``SHORT`` writes a half; where all that follow fail, they find no space."""

    NEVER = 0
    NO_SPACE = 1
    IO_ERROR = 2
    SHORT = 3


class Then(IntEnum):
    """What becomes of the calls after the one that fails: ``DIE`` kills whoever makes the next one."""

    GO_ON = 0
    FAIL = 1
    DIE = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """Which call fails, from 1, how, and what then."""

    how: How
    at: int
    then: Then = Then.GO_ON


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was made, or a mark of whoever plays: ``name`` is then ``mark``, and ``path`` its text."""

    name: str
    path: str
    target: str = ""
    result: int = 0
    error: int = 0
    offset: int = 0
    data: bytes = b""

    @property
    def failed(self) -> bool:
        return self.result < 0


def build(folder: Path) -> Path:
    """Compile the library; skips where there is no compiler."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: the failing disk cannot be built")
    library = folder / "disk.so"
    flags = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    command = ["gcc", *flags, "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return library


class Disk:
    """One play of the failing disk: what is below ``under``, told to fail by ``fault``.

    ``place`` is a folder for what is shared with the processes, and must not be below ``under``.
    """

    def __init__(
        self,
        library: Path,
        under: Path,
        place: Path,
        fault: Fault | None = None,
        *,
        keep: bool = False,
    ) -> None:
        self.place = place
        self.trace = place / "trace"
        self._control = place / "control"
        self._control.write_bytes(bytes(_CONTROL_LENGTH))
        self.trace.write_bytes(b"")
        with self._control.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _CONTROL_LENGTH)
        how = fault or Fault(How.NEVER, 0)
        words = (int(how.how), int(how.then), int(keep))
        self._shared[_HOW_AT : _HOW_AT + 12] = struct.pack("=3I", *words)
        self._shared[_AT_AT : _AT_AT + 8] = struct.pack("=Q", how.at)
        self.environment: Mapping[str, str] = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "STILLWATCH_DISK_UNDER": str(under),
            "STILLWATCH_DISK_CONTROL": str(self._control),
            "STILLWATCH_DISK_TRACE": str(self.trace),
        }

    @property
    def calls(self) -> int:
        """How many calls there were."""
        return int(_CONTROL.unpack(self._shared[: _CONTROL.size])[5])

    @property
    def failed(self) -> int:
        """How many of them failed, or wrote less than they were to."""
        return int(_CONTROL.unpack(self._shared[: _CONTROL.size])[6])

    def fail_after(self, more: int) -> None:
        """Let the call fail before which that many are yet to be made."""
        self._shared[_AT_AT : _AT_AT + 8] = struct.pack("=Q", self.calls + more + 1)

    def heal(self) -> None:
        """Let nothing fail any more."""
        self._shared[_HOW_AT : _HOW_AT + 4] = struct.pack("=I", int(How.NEVER))

    def mark(self, text: str) -> None:
        """Write down that something was seen from outside."""
        descriptor = os.open(self.trace, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, f"mark 0 0 0 0 {text}\0\0\n".encode())
        finally:
            os.close(descriptor)

    def read(self) -> list[Call]:
        """Return what was written down, in order."""
        return list(_parse(self.trace.read_bytes()))

    def numbered(self, number: int) -> Call:
        """Return the call of that number, from 1."""
        return [one for one in self.read() if one.name != "mark"][number - 1]


def _parse(data: bytes) -> Iterator[Call]:
    at = 0
    while at < len(data):
        first, second = (end := data.index(b"\0", at)), data.index(b"\0", end + 1)
        name, result, error, offset, length, path = data[at:first].decode().split(" ", 5)
        begin = second + 2
        at = begin + int(length)
        target = data[first + 1 : second].decode()
        yield Call(name, path, target, int(result), int(error), int(offset), data[begin:at])


@dataclass(eq=False)
class _File:
    """Bytes as processes see them, as they outlive a power cut, and what makes the one the other once it is synced."""

    now: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def change(self, offset: int, data: bytes | None) -> None:
        """Write, or cut to ``offset`` bytes for ``None``."""
        _apply(self.now, offset, data)
        self.pending.append((offset, data))

    def sync(self, *, failed: bool) -> None:
        if not failed:
            for offset, data in self.pending:
                _apply(self.durable, offset, data)
        self.pending.clear()


@dataclass(eq=False)
class _Folder:
    """Names as processes see them, and as they outlive a power cut."""

    now: "dict[str, _File | _Folder]" = field(default_factory=dict)
    durable: "dict[str, _File | _Folder]" = field(default_factory=dict)


def _apply(held: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del held[offset:]
    held.extend(bytes(max(0, offset - len(held))))
    if data is not None:
        held[offset : offset + len(data)] = data


class Platter:
    """What lies on the disk below one folder, call after call."""

    def __init__(self, under: Path, before: Path) -> None:
        """Begin with what lies in ``before``, all of it durable, as the content of ``under``."""
        self._under = under
        self._root = _read(before)

    def play(self, calls: Iterable[Call]) -> None:
        """Let calls happen."""
        for call in calls:
            if call.name == "mark" or (call.failed and call.name != "fsync"):
                continue
            self._one(call)

    def _one(self, call: Call) -> None:
        folder, name = self._find(call.path)
        if folder is None:
            return  # a file that has no name any more
        found = folder.now.get(name) if name else folder
        if isinstance(found, _Folder) and call.name == "fsync":
            if not call.failed:
                found.durable = dict(found.now)
        elif isinstance(found, _File) and call.name in {"fsync", "write", "truncate", "create"}:
            if call.name == "fsync":
                found.sync(failed=call.failed)
            else:
                found.change(call.offset, call.data if call.name == "write" else None)
        else:
            self._name(call, folder, name)

    def _name(self, call: Call, folder: _Folder, name: str) -> None:
        """Give and take names."""
        if call.name in {"open", "create"}:
            folder.now.setdefault(name, _File())
        elif call.name == "mkdir":
            folder.now[name] = _Folder()
        elif call.name == "unlink":
            folder.now.pop(name, None)
        elif call.name in {"rename", "link"}:
            into, fresh = self._find(call.target)
            assert into is not None
            into.now[fresh] = folder.now[name]
            if call.name == "rename":
                del folder.now[name]

    def _find(self, path: str) -> tuple[_Folder | None, str]:
        parts = Path(path).relative_to(self._under).parts
        at = self._root
        for part in parts[:-1]:
            below = at.now.get(part)
            if not isinstance(below, _Folder):
                return None, ""
            at = below
        return at, parts[-1] if parts else ""

    def bytes_of(self, path: Path) -> bytes:
        """Return what processes read in a file."""
        folder, name = self._find(str(path))
        assert folder is not None
        found = folder.now[name]
        assert isinstance(found, _File)
        return bytes(found.now)

    def cut(self, target: Path, *, strict: bool) -> None:
        """Cut the power, and write what is left of it to ``target``."""
        _write(self._root, target, strict=strict)


def _read(path: Path) -> _Folder:
    made = _Folder()
    for entry in path.iterdir():
        if entry.is_dir():
            made.now[entry.name] = _read(entry)
        else:
            data = entry.read_bytes()
            made.now[entry.name] = _File(bytearray(data), bytearray(data))
    made.durable = dict(made.now)
    return made


def _write(folder: _Folder, target: Path, *, strict: bool) -> None:
    target.mkdir(mode=0o700)
    for name, entry in (folder.durable if strict else folder.now).items():
        if isinstance(entry, _Folder):
            _write(entry, target / name, strict=strict)
        else:
            (target / name).write_bytes(entry.durable)
            (target / name).chmod(0o600)
