"""Which rows of a matrix are the same.

Rows are mixed to numbers, and sorted by those; then each is compared with the first that was mixed to the same. So what
is told of them is exact, and somebody who makes rows that are mixed alike gains nothing but a slower answer.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from verifier.rows.rows import Int64, Octets

_FACTORS: Final = np.random.default_rng(1).integers(2**62, 2**63, 64, dtype=np.uint64) * 2 + 1
"""By which the words of a row are mixed: odd, and always the same, so that nothing is random here."""


def number_rows(octets: Octets, group: Int64 | None = None) -> tuple[Int64, Int64]:
    """Return a number for each row, the same for the same bytes, and the first row of each number.

    Numbers are in order of first appearance. Where rows of one ``group`` (small numbers from 0 on) are all the same,
    that is seen sooner.
    """
    if group is not None and len(group):
        count = int(group.max()) + 1
        first = np.empty(count, dtype=np.int64)
        first[group[::-1]] = np.arange(len(group))[::-1]
        if (octets == octets[first[group]]).all():
            shown = np.unique(first[group])
            numbers, of_shown = number_rows(octets[shown])
            return numbers[np.searchsorted(shown, first[group])], shown[of_shown]
    words = np.zeros((len(octets), -(-octets.shape[1] // 8)), dtype=np.uint64)
    words.view(np.uint8)[:, : octets.shape[1]] = octets
    mixed = words @ np.resize(_FACTORS, words.shape[1])
    order = _together(mixed)
    heads = np.flatnonzero(np.diff(mixed[order], prepend=~mixed[order[:1]]) != 0)
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.repeat(np.arange(len(heads)), np.diff(heads, append=len(order)))
    first = order[heads]
    if not (words == words[first[number]]).all():
        return _one_by_one(words)  # two that differ were mixed to one, as somebody may have meant
    shown = np.argsort(first)
    rank = np.empty(len(first), dtype=np.int64)
    rank[shown] = np.arange(len(first))
    return rank[number], first[shown]


def _together(mixed: NDArray[np.uint64]) -> Int64:
    """Return an order, stable, in which the same numbers stand together: by 32 bits, and if that fails by all."""
    low, high = (mixed & 0xFFFF).astype(np.uint16), (mixed >> np.uint64(48)).astype(np.uint16)
    order = np.argsort(low, kind="stable")  # numpy sorts numbers of 16 bits in one pass
    order = order[np.argsort(high[order], kind="stable")]
    heads = mixed[order][np.flatnonzero(np.diff(mixed[order], prepend=~mixed[order[:1]]) != 0)]
    if len(set(heads.tolist())) < len(heads):
        order = np.argsort(mixed, kind="stable")
    return order.astype(np.int64)


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
