"""The files that a log consists of, as they lie in a folder: bundles and tiles, each in one or more forms.

What is not full yet is served under its width; older and newer forms may lie beside one another.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.objects.interface import ObjectStore
from statements.body_bundle import FOLDER
from tlog.tile import WIDTH, aligned_path

ENTRIES: Final = "tile/entries"
_FORM: Final = re.compile(
    rf"(tile/\d{{1,2}}|{ENTRIES}|{FOLDER})/((?:x\d{{3}}/)*\d{{3}})(?:\.p/(\d{{1,3}}))?"
)

Place = tuple[str, int]
"""A folder, and an index in it."""


@dataclass(frozen=True, slots=True)
class Form:
    """One file: its path, and how many records or hashes it claims to hold."""

    path: str
    width: int


def find_forms(folder: Path) -> Mapping[Place, list[Form]]:
    """Return every such file below a folder."""
    forms: defaultdict[Place, list[Form]] = defaultdict(list)
    for below in ("tile", FOLDER):
        for file in sorted((folder / below).rglob("*")):
            path = file.relative_to(folder).as_posix()
            found = _FORM.fullmatch(path)
            if found is None or not file.is_file():
                continue
            width = WIDTH if found[3] is None else int(found[3])
            index = int(found[2].replace("/", "").replace("x", ""))
            if 1 <= width <= WIDTH and path == aligned_path(found[1], index, width):
                forms[found[1], index].append(Form(path, width))
    return forms


def read_form(
    objects: ObjectStore, folder: str, index: int, width: int
) -> tuple[Form, bytes] | None:
    """Return the form of that width with its bytes, or the full one that it became; ``None`` when neither is there."""
    for held in dict.fromkeys((width, WIDTH)):
        form = Form(aligned_path(folder, index, held), held)
        data = objects.get(form.path)
        if data is not None:
            return form, data
    return None
