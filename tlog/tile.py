"""Tiles and bundles: a log as static files, after C2SP tlog-tiles (https://c2sp.org/tlog-tiles).

A tile holds up to 256 hashes of one level; level l+1 holds the roots of full tiles of level l. A partial tile is served
under its width until it is full, and is never hashed into the level above.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from tlog.errors import TileError
from tlog.merkle import HASH_LENGTH, Subtrees, subtree_root

WIDTH = 256
HEIGHT = 8
ENTRY_LIMIT = 65_535
"""Most bytes of one entry."""

ReadTile = Callable[["Tile"], bytes]
"""Returns a tile's bytes."""


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """The place of a tile: its level, its index in the level, and how many hashes it holds (1 to 256)."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Where it is served, below the log's prefix."""
        return f"tile/{self.level}/{_place(self.index, self.width)}"


def bundle_path(index: int, width: int = WIDTH) -> str:
    """Return where the entry bundle of records from ``256 · index`` is served."""
    return f"tile/entries/{_place(index, width)}"


def aligned_path(folder: str, index: int, width: int = WIDTH) -> str:
    """Return a path in another folder that is laid out like entry bundles."""
    return f"{folder}/{_place(index, width)}"


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield every tile of a tree, level by level, full ones first."""
    level, count = 0, size
    while count:
        yield from (Tile(level, index) for index in range(count // WIDTH))
        if count % WIDTH:
            yield Tile(level, count // WIDTH, count % WIDTH)
        level, count = level + 1, count // WIDTH


def new_tiles(old: int, new: int) -> Iterator[Tile]:
    """Yield the tiles of the tree of ``new`` leaves that the tree of ``old`` lacks, level by level."""
    level = 0
    while new:
        for index in range(old // WIDTH, -(-new // WIDTH)):
            tile = Tile(level, index, min(WIDTH, new - index * WIDTH))
            if index * WIDTH + tile.width > old:
                yield tile
        level, old, new = level + 1, old // WIDTH, new // WIDTH


def bundles_of(size: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield index and width of the bundles of a tree that hold records from ``start`` on."""
    for index in range(start // WIDTH, -(-size // WIDTH)):
        yield index, min(WIDTH, size - index * WIDTH)


def split_tile(tile: Tile, data: bytes) -> list[bytes]:
    """Return a tile's hashes; raises :class:`TileError` when the length is not that of its width."""
    if len(data) != tile.width * HASH_LENGTH:
        raise TileError(
            "TILE_LENGTH",
            f"{tile.path} has {len(data)} bytes, its width needs {tile.width * HASH_LENGTH}",
        )
    return [data[at : at + HASH_LENGTH] for at in range(0, len(data), HASH_LENGTH)]


def subtrees_from_tiles(size: int, read: ReadTile) -> Subtrees:
    """Return a reader of complete subtrees of the tree of ``size`` leaves, out of its tiles.

    Tiles are read once each and kept, and so are the roots between their levels. ``read`` may raise what it likes;
    wrong lengths raise :class:`TileError`.
    """
    kept: dict[Tile, list[bytes]] = {}

    def hashes(tile: Tile) -> list[bytes]:
        if tile not in kept:
            kept[tile] = split_tile(tile, read(tile))
        return kept[tile]

    @cache
    def subtree(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, HEIGHT)
        first = index << height
        tile_index, offset = divmod(first, WIDTH)
        in_level = size >> (HEIGHT * tile_level)
        width = min(WIDTH, in_level - tile_index * WIDTH)
        if offset + (1 << height) > width:
            raise TileError("NO_SUBTREE", f"subtree {level}/{index} is not in a tree of {size}")
        held = hashes(Tile(tile_level, tile_index, width))
        return subtree_root(held[offset : offset + (1 << height)])

    return subtree


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return an entry bundle: each entry after its length as a big-endian uint16.

    Raises :class:`TileError` when an entry has more than 65,535 bytes.
    """
    lengths = set(map(len, entries))
    if lengths and max(lengths) > ENTRY_LIMIT:
        raise TileError("ENTRY_LENGTH", f"an entry has {max(lengths)} bytes; at most 65,535")
    if len(lengths) == 1:  # as records have
        prefix = lengths.pop().to_bytes(2, "big")
        return prefix + prefix.join(entries)
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """Return the ``width`` entries of a bundle.

    Raises :class:`TileError` when it is cut short, or holds more or fewer.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise TileError("BUNDLE_CUT", f"the bundle is cut short in entry {len(entries)}")
        entries.append(data[at + 2 : end])
        at = end
    if len(entries) != width:
        raise TileError("BUNDLE_WIDTH", f"the bundle holds {len(entries)} entries, not {width}")
    return entries


def _place(index: int, width: int) -> str:
    if not 1 <= width <= WIDTH:
        raise TileError("TILE_WIDTH", f"a tile holds 1 to {WIDTH} hashes, not {width}")
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
    return path if width == WIDTH else f"{path}.p/{width}"
