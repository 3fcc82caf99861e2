"""Keeping a mirror: a folder in the layout of the log itself, which never goes backwards.

The checkpoint is written last and at once, so that a mirror is whole at every instant. A body that the mirror holds is
kept when the log no longer serves it.
"""

import os
from dataclasses import replace
from pathlib import Path

from statements.body import body_digest
from statements.body_bundle import FOLDER, encode_body_bundle
from statements.errors import StatementError
from statements.header import decode_header
from statements.log_trust import LogTrust
from statements.record import decode_record
from tlog.tile import aligned_path, bundle_path, bundles_of, encode_bundle, tiles_of
from verifier.mirror.errors import InconsistentLogError, MirrorError
from verifier.mirror.prefix import LogPrefix, fetch_prefix
from verifier.mirror.source import FolderSource


def keep(prefix: LogPrefix, folder: Path, trust: LogTrust) -> LogPrefix:
    """Write a verified prefix into a folder, and return it with the bodies that only the folder had.

    Raises :class:`InconsistentLogError` when the log signed something else before, and :class:`MirrorError` when what
    the folder holds is damaged or it cannot be written; the folder is then as it was.
    """
    held = _held(folder, trust)
    if held is not None:
        verify_extends(held, prefix)
        prefix = _with_held_bodies(prefix, held)
    try:
        for index, width in bundles_of(prefix.size):
            rows = slice(index * 256, index * 256 + width)
            _write(folder / bundle_path(index, width), encode_bundle(prefix.entries[rows]))
            _write(
                folder / aligned_path(FOLDER, index, width), encode_body_bundle(prefix.bodies[rows])
            )
        for tile in tiles_of(prefix.size):
            _write(folder / tile.path, prefix.tile(tile))
        _write(folder / "checkpoint", prefix.note)
        # What was a part has become a longer part, or whole.
        for path in sorted(_paths(0 if held is None else held.size) - _paths(prefix.size)):
            (folder / path).unlink(missing_ok=True)
    except OSError as error:
        raise MirrorError(
            "MIRROR_UNWRITABLE", f"cannot write the mirror {folder}: {error.strerror}"
        ) from None
    return prefix


def verify_extends(held: LogPrefix, served: LogPrefix) -> None:
    """Refuse a prefix that does not extend the one held: :class:`InconsistentLogError`, with both signed notes."""
    older, newer = sorted((held, served), key=lambda prefix: prefix.size)
    if newer.root_at(older.size) != older.root:
        raise InconsistentLogError(
            "FORKED",
            f"{served.origin} signed two histories: of size {held.size} (held) and {served.size} (served), and "
            "neither extends the other",
            held.note,
            served.note,
        )
    if served.size < held.size:
        raise InconsistentLogError(
            "WENT_BACKWARDS",
            f"{served.origin} serves {served.size} records where it once signed {held.size}: audit the mirror, and "
            "ask the ledger for the rest",
            held.note,
            served.note,
        )


def _held(folder: Path, trust: LogTrust) -> LogPrefix | None:
    if not (folder / "checkpoint").exists():
        return None
    try:
        return fetch_prefix(FolderSource(folder), trust)
    except MirrorError as error:
        raise MirrorError(
            "MIRROR_DAMAGED",
            f"the mirror is not what was once checked ({error}) [{error.reason}]: move {folder} away, and keep it",
        ) from None


def _with_held_bodies(prefix: LogPrefix, held: LogPrefix) -> LogPrefix:
    """Return the prefix with each body that the mirror has and the log no longer serves as it should."""
    bodies = list(prefix.bodies)
    for index, body in enumerate(held.bodies):
        if body is None or body == bodies[index]:
            continue
        try:
            header = decode_header(decode_record(prefix.entries[index]).header)
        except StatementError:
            continue
        if body_digest(body) == header.stored_digest:
            bodies[index] = body
    return replace(prefix, bodies=tuple(bodies))


def _paths(size: int) -> set[str]:
    """Return the files of a log of some size, its checkpoint left out."""
    found = {tile.path for tile in tiles_of(size)}
    for index, width in bundles_of(size):
        found |= {bundle_path(index, width), aligned_path(FOLDER, index, width)}
    return found


def _write(path: Path, data: bytes) -> None:
    """Write a file at once and durably; one that has these bytes already is left alone."""
    try:
        if path.read_bytes() == data:
            return
    except (FileNotFoundError, NotADirectoryError):
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
