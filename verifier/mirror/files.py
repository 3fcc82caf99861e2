"""The files of a log as they are asked for: under what path, and how long they may be."""

from typing import Final, Protocol

from statements.body import BODY_LIMIT
from statements.body_bundle import FOLDER
from tlog.note import NOTE_LIMIT
from tlog.tile import ENTRY_LIMIT, WIDTH, Tile, aligned_path, bundle_path
from verifier.mirror.errors import MirrorError
from verifier.mirror.source import Source

ENTRIES: Final = "tile/entries"
BUNDLE_LIMIT: Final = WIDTH * (ENTRY_LIMIT + 2)
BODIES_LIMIT: Final = WIDTH * (BODY_LIMIT + 4)
TILE_LIMIT: Final = WIDTH * 32


class Files(Protocol):
    """Files by path: a :class:`Source`, or a mirror's own."""

    def read(self, path: str, limit: int) -> bytes | None:
        """Return a file's bytes, ``None`` when there is none."""
        ...


def read_note(source: Source) -> bytes:
    """Return the signed checkpoint that a source serves; raises :class:`MirrorError` when it serves none."""
    note = source.read("checkpoint", NOTE_LIMIT)
    if note is None:
        raise MirrorError("NO_CHECKPOINT", f"{source.place} serves no checkpoint: is it a log?")
    return note


def read_aligned(files: Files, folder: str, index: int, width: int, limit: int) -> bytes | None:
    """Return a bundle or tile of some width, or else the full one of which it has become a part."""
    data = files.read(aligned_path(folder, index, width), limit)
    if data is None and width < WIDTH:
        return files.read(aligned_path(folder, index), limit)
    return data


def partial_files(size: int) -> list[str]:
    """Return the files of a tree that are not full: each may go once its full form is there."""
    paths: list[str] = []
    if size % WIDTH:
        index, width = divmod(size, WIDTH)
        paths += [bundle_path(index, width), aligned_path(FOLDER, index, width)]
    return paths + [tile.path for tile in edge_of(size)]


def edge_of(size: int) -> list[Tile]:
    """Return the tiles of a tree that are not full, one a level at most."""
    edge, level = [], 0
    while size:
        if size % WIDTH:
            edge.append(Tile(level, size // WIDTH, size % WIDTH))
        level, size = level + 1, size // WIDTH
    return edge
