"""Where in bundles their entries and bodies lie: neighbours of one length are found at once.

A bundle that is not whole is left to the decoders of :mod:`tlog.tile` and :mod:`statements.body_bundle`, which say what
is wrong with it; what those accept is accepted here, and the other way round.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from statements.body import BODY_LIMIT
from statements.body_bundle import decode_body_bundle
from statements.errors import BodyError
from tlog.errors import TlogError
from tlog.tile import ENTRY_LIMIT, WIDTH, decode_bundle
from verifier.mirror.errors import MirrorError
from verifier.rows.rows import ABSENT

Int64 = NDArray[np.int64]
Places = tuple[Int64, Int64]
"""Where each string begins, and its length, -1 for a body that is not held."""

_NOT_HELD: Final = 2**32 - 1
_NO_NUMBER: Final = -1


def entry_places(data: bytes, width: int) -> Places:
    """Return where the ``width`` entries of a bundle lie; raises what :func:`tlog.tile.decode_bundle` does."""
    found = _places(data, width, 2, ENTRY_LIMIT, _NO_NUMBER)
    if found is None:
        decode_bundle(data, width)
        raise AssertionError("a bundle that cannot be split was decoded")  # pragma: no cover
    return found


def body_places(data: bytes, width: int) -> Places:
    """Return where the ``width`` bodies of a bundle lie; raises what :func:`decode_body_bundle` does."""
    found = _places(data, width, 4, BODY_LIMIT, _NOT_HELD)
    if found is None:
        decode_body_bundle(data, width)
        raise AssertionError("a bundle that cannot be split was decoded")  # pragma: no cover
    return found


def first_places(
    places: Callable[[bytes, int], Places], data: bytes, width: int, where: str
) -> Places:
    """Return where the first ``width`` strings of a bundle lie, which has as many or is the full one.

    Raises :class:`MirrorError` for any other; ``where`` it was is told.
    """
    for held in (width, WIDTH):
        try:
            start, length = places(data, held)
        except (TlogError, BodyError) as error:
            if error.reason == "BUNDLE_WIDTH" and held < WIDTH:
                continue  # the full bundle was served
            raise MirrorError(error.reason, f"{where}: {error}") from None
        return start[:width], length[:width]
    raise AssertionError("unreachable")  # pragma: no cover


def _places(data: bytes, width: int, word: int, most: int, absent: int) -> Places | None:
    """Return where strings lie that each follow their length, a number of ``word`` bytes; ``None`` if they do not."""
    start, length = np.empty(width, dtype=np.int64), np.empty(width, dtype=np.int64)
    at, row = 0, 0
    while row < width:
        if at + word > len(data):
            return None
        told = int.from_bytes(data[at : at + word], "big")
        size = 0 if told == absent else told
        step = word + size
        room = min(width - row, (len(data) - at) // step)
        if size > most or not room:
            return None
        # numpy refuses a view that would leave its buffer
        told_there = np.ndarray((room,), f">u{word}", data, at, (step,))
        same = told_there == told
        count = room if same.all() else int(same.argmin())
        start[row : row + count] = at + word + step * np.arange(count)
        length[row : row + count] = ABSENT if told == absent else size
        at, row = at + step * count, row + count
    return (start, length) if at == len(data) else None
