"""Files of a campaign into few archives, each small enough to be carried away."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

MOST_FILES: Final = 8
MOST_BYTES: Final = 16 << 20
_BLOCK: Final = 512
_RECORD: Final = 10_240
"""tar pads each member to blocks, and the whole to records."""


class PackError(Exception):
    """Files that do not fit; the message names them."""


def _padded(size: int) -> int:
    return _BLOCK + -(-size // _BLOCK) * _BLOCK


def share_out(
    sizes: Mapping[str, int], *, most_files: int = MOST_FILES - 1, most_bytes: int = MOST_BYTES
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Return which files go into which archive, in the order given, and those for which there is no room.

    An archive holds at most ``most_bytes`` as tar writes it; one file is left for the results.
    """
    parts: list[list[str]] = []
    left_out: list[str] = []
    room = 0
    for name, size in sizes.items():
        needs = _padded(size)
        if needs > most_bytes - 2 * _RECORD or (needs > room and len(parts) == most_files):
            left_out.append(name)
            continue
        if needs > room:
            parts.append([])
            room = most_bytes - 2 * _RECORD
        parts[-1].append(name)
        room -= needs
    return tuple(map(tuple, parts)), tuple(left_out)


def pack(
    files: Sequence[Path], folder: Path, stem: str
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write ``files`` to STEM-1.tar and so on in ``folder``; return the archives, and what was left out.

    Archives are replaced whole: a campaign that is cut short leaves those of the run before. Members bear the files'
    names, without folders, times or owners.
    """
    by_name = {file.name: file for file in files}
    if len(by_name) < len(files):
        raise PackError("two files have one name")
    parts, left_out = share_out({name: file.stat().st_size for name, file in by_name.items()})
    archives = []
    for number, names in enumerate(parts, 1):
        target = folder / f"{stem}-{number}.tar"
        fresh = target.with_suffix(".fresh")
        with tarfile.open(fresh, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name in names:
                data = by_name[name].read_bytes()
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        fresh.replace(target)
        archives.append(target)
    return tuple(archives), left_out
