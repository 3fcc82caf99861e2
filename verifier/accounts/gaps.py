"""Time without a window: what may have run there.

Silence is priced. A gap counts for each chip as the least of peak x time and of what the chip's
absolute energy counter allows between the windows on its sides. After a reset or a new boot, or where
other chips stand in the rows, the counter says nothing, and before the first or after the last window
there is none.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from verifier.accounts.chips import Chip, ChipTable
from verifier.accounts.columns import NO_COUNTER, Int64, Windows
from verifier.agreement.model import Trust


@dataclass(frozen=True, slots=True)
class Gap:
    """Time [start, end), Unix ms, without a window; the rows of the windows beside it, if any."""

    start_ms: int
    end_ms: int
    before: int | None
    after: int | None

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ms - self.start_ms) / 1000


def gaps(windows: Windows, rows: Int64, span: tuple[int, int]) -> list[Gap]:
    """Return the time within ``span`` that none of a node's windows covers.

    ``rows`` are in order of time and do not overlap; they may lie outside ``span``, and then still
    stand beside a gap.
    """
    if span[0] >= span[1]:
        return []
    found: list[Gap] = []
    reached = span[0]
    before: int | None = None
    starts, ends = windows.nodes.start_ms[rows].tolist(), windows.nodes.end_ms[rows].tolist()
    for row, start, end in zip(rows.tolist(), starts, ends, strict=True):
        if min(start, span[1]) > reached:
            found.append(Gap(reached, min(start, span[1]), before, row))
        reached = max(reached, end)
        before = row
        if reached >= span[1]:
            return found
    found.append(Gap(reached, span[1], before, None))
    return found


def _energy_allowed(
    windows: Windows, first: Int64, gap: Gap, chip: int, figures: Chip
) -> float | None:
    """Return the operations that the energy counter of one chip allows across a gap."""
    if gap.before is None or gap.after is None:
        return None
    nodes, chips = windows.nodes, windows.chips
    same = (
        nodes.boot[gap.before] == nodes.boot[gap.after]
        and nodes.roster[gap.before] == nodes.roster[gap.after]
    )
    if not same or chip >= min(nodes.chips[gap.before], nodes.chips[gap.after]):
        return None
    left, right = int(first[gap.before]) + chip, int(first[gap.after]) + chip
    start, end = chips.energy_end_mj[left], chips.energy_start_mj[right]
    read, again = int(chips.energy_end_at[left]), int(chips.energy_start_at[right])
    before_gap = 0 < read <= min(again, int(nodes.end_ms[gap.before]))
    # A counter that stood still was not read: no chip draws nothing.
    counted = NO_COUNTER not in (start, end) and start < end
    if not (counted and before_gap and again <= nodes.start_ms[gap.after]):
        return None
    joules = float(end - start) / 1000
    open_s = max(0, gap.end_ms - max(again, gap.start_ms)) / 1000
    dynamic = max(0.0, joules - figures.static_power_w * (again - read) / 1000)
    return dynamic / figures.e_min_j_per_flop + figures.peak_flop_per_s * open_s


class Unspoken:
    """The chips of a node that nobody speaks of, counted by model: a node may owe thousands, and say little.

    ``models`` are the chip table's rows of the node's chips.
    """

    def __init__(self, models: Sequence[int], table: ChipTable) -> None:
        self.models = models
        self.table = table
        self._counts: dict[int, Mapping[int, int]] = {}

    def most(self, from_chip: int, span_ms: int) -> list[float]:
        """Return numbers whose exact sum is what the chips from a row on can have executed in ``span_ms``."""
        if from_chip not in self._counts:
            self._counts[from_chip] = Counter(self.models[from_chip:])
        return [
            term
            for model, count in self._counts[from_chip].items()
            for term in times(count, self.table.chips[model].peak_flop_per_s * span_ms / 1000)
        ]


def times(count: int, value: float) -> list[float]:
    """Return numbers whose exact sum is ``count`` times a number: one for each bit, none of which is rounded."""
    return [value * (1 << bit) for bit in range(count.bit_length()) if count >> bit & 1]


def gap_flop(
    windows: Windows, first: Int64, gap: Gap, unspoken: Unspoken, trust: Trust
) -> list[float]:
    """Return numbers whose exact sum is what a gap may hide.

    ``first`` is what :func:`first_chip_rows` returns. Counters count only where ``trust`` lets them, chip by chip: of
    the others there may be very many.
    """
    counted = 0
    if trust is Trust.COUNTERS and gap.before is not None and gap.after is not None:
        beside = windows.nodes.chips[[gap.before, gap.after]].min()
        counted = min(int(beside), len(unspoken.models))
    hidden: list[float] = []
    for chip, model in enumerate(unspoken.models[:counted]):
        figures = unspoken.table.chips[model]
        flop = figures.peak_flop_per_s * gap.seconds
        allowed = _energy_allowed(windows, first, gap, chip, figures)
        hidden.append(flop if allowed is None else min(flop, allowed))
    return hidden + unspoken.most(counted, gap.end_ms - gap.start_ms)
