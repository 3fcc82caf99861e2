"""Who must be accounted for, and which of their windows count."""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from verifier.accounts.columns import Bools, Int64, NodeWindows


@dataclass(frozen=True, slots=True)
class ExpectedNode:
    """A node that must account for its chips.

    ``index`` is its index in the columns; ``node_id`` its name in reports; ``models`` the chip
    table's row of each chip that it enrolled with; it is accounted for over [``accounted_from_ms``,
    ``accounted_until_ms``), Unix ms, ``None``: without an end. ``tf32_excluded`` says that evidence
    other than counters shows that TF32 was not used.
    """

    index: int
    node_id: str
    models: tuple[int, ...]
    accounted_from_ms: int
    accounted_until_ms: int | None = None
    tf32_excluded: bool = False

    def span(self, period: tuple[int, int]) -> tuple[int, int]:
        """Return the part of ``period`` for which this node must account; may be empty."""
        start = max(period[0], self.accounted_from_ms)
        end = period[1]
        if self.accounted_until_ms is not None:
            end = min(end, self.accounted_until_ms)
        return start, max(start, end)


def without_overlaps(nodes: NodeWindows, rows: Int64) -> tuple[Int64, Int64]:
    """Return the rows of one node that count, in order of time, and those that do not.

    A window that shares time with one that was added before it does not count: the first that was
    logged stands, and time that only a later one covers is missing.
    """
    order = rows[np.argsort(nodes.start_ms[rows], kind="stable")]
    starts, ends = nodes.start_ms[order], nodes.end_ms[order]
    clear: Bools = starts[1:] >= np.maximum.accumulate(ends)[:-1]
    if clear.all():
        return order, order[:0]
    kept: list[tuple[int, int, int]] = []
    refused: list[int] = []
    for row in np.sort(rows).tolist():
        window = (int(nodes.start_ms[row]), int(nodes.end_ms[row]), row)
        place = bisect_left(kept, window)
        before = place > 0 and kept[place - 1][1] > window[0]
        after = place < len(kept) and kept[place][0] < window[1]
        if before or after:
            refused.append(row)
        else:
            kept.insert(place, window)
    return (
        np.array([row for _, _, row in kept], dtype=np.int64),
        np.array(refused, dtype=np.int64),
    )
