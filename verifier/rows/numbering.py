"""Which rows of a matrix are the same."""

from typing import Final

import numpy as np

from verifier.rows.rows import Int64, Octets

_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


def number_rows(octets: Octets) -> tuple[Int64, Int64]:
    """Return a number for each row, the same for the same bytes, and the first row of each number.

    Numbers are in order of first appearance.
    """
    count, width = octets.shape
    words = np.zeros((count, -(-width // 8)), dtype=np.uint64)
    words.view(np.uint8)[:, :width] = octets
    mixed = np.zeros(count, dtype=np.uint64)
    for column in words.T:
        mixed = (mixed ^ column) * _ODD
        mixed ^= mixed >> np.uint64(29)
    _, first, which = np.unique(mixed, return_index=True, return_inverse=True)
    if not (words == words[first[which]]).all():
        return _one_by_one(words)  # two that differ were mixed to one, as somebody may have meant
    order = np.argsort(first)
    rank = np.empty(len(first), dtype=np.int64)
    rank[order] = np.arange(len(first))
    return rank[which], first[order].astype(np.int64)


def _one_by_one(words: "np.ndarray[tuple[int, int], np.dtype[np.uint64]]") -> tuple[Int64, Int64]:
    known: dict[bytes, int] = {}
    first: list[int] = []
    numbers: list[int] = []
    for at, row in enumerate(words):
        number = known.setdefault(row.tobytes(), len(known))
        if number == len(first):
            first.append(at)
        numbers.append(number)
    return np.array(numbers, dtype=np.int64), np.array(first, dtype=np.int64)
