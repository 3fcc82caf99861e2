"""The account of one node over a period. Its figures do not depend on any other node."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from verifier.accounts.chips import ChipTable
from verifier.accounts.columns import (
    NO_COUNTER,
    Bools,
    Float64,
    Int64,
    Windows,
    chip_rows,
    runs,
)
from verifier.accounts.expected import ExpectedNode, without_overlaps
from verifier.accounts.gaps import Unspoken, gap_flop, gaps
from verifier.accounts.interval import Intervals, Term
from verifier.accounts.observations import Impossible, Observation, observe
from verifier.agreement.model import Trust


@dataclass(frozen=True, slots=True)
class NodeAccount:
    """What one node's chips executed within a period, and how well that is known.

    FLOP are executed dense operations. ``upper_flop`` is of the time with windows;
    ``unaccounted_flop`` of the time and the chips without. ``capable_*`` leave out what counters
    show to be idle; ``upper_flop`` does not, since what idle chips could hide is in it.
    ``bound_flop`` is the part of ``upper_flop`` that each term bound.
    ``wall_energy_j`` is what was measured, ``wall_s`` over how much node time, ``wall_floor_flop``
    what it allows there at the least energy of an operation. ``unknown_chips`` are of a model that
    the table does not know. The ``*_chip_s`` are chip seconds: that must be accounted for, with any
    evidence, with tensor activity and clock, with the chip's energy counter, with wall energy.
    """

    index: int
    node_id: str
    chips: int
    unknown_chips: int
    lower_flop: float
    estimate_flop: float
    upper_flop: float
    unaccounted_flop: float
    capable_lower_flop: float
    capable_estimate_flop: float
    bound_flop: tuple[float, ...]
    wall_energy_j: float
    wall_floor_flop: float
    wall_s: float
    expected_chip_s: float
    evidence_chip_s: float
    activity_chip_s: float
    counter_chip_s: float
    wall_chip_s: float
    missing_ms: int
    observations: tuple[Observation, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Bounded:
    """What :mod:`verifier.accounts.party` has worked out of all rows at once.

    ``wall_*`` are by node window, the rest by chip window. ``wall_flop`` is what wall energy allows
    all chips of the window together, infinite where it says nothing.
    """

    intervals: Intervals
    seen: Float64
    """Share of the time for which there is any evidence, 0 to 1."""
    activity: Bools
    counter: Bools
    wall_flop: Float64
    wall_typical_flop: Float64
    wall_energy_j: Float64
    wall_floor_flop: Float64
    wall_s: Float64
    odd_chips: dict[Impossible, Bools]
    odd_walls: dict[Impossible, Bools]
    """What is impossible, by kind."""


@dataclass(frozen=True, slots=True)
class _Sums:
    lower: float
    estimate: float
    upper: float
    capable_lower: float
    capable_estimate: float
    bound: tuple[float, ...]


def _sum_windows(bounded: Bounded, first: Int64, kept: Int64) -> _Sums:
    """Return the sums over a node's windows: of its chips, or what its wall allows them together."""
    found, rows = bounded.intervals, chip_rows(first, kept)
    chips = first[kept + 1] - first[kept]
    window = np.repeat(np.arange(len(kept)), chips)
    upper, wall = found.upper[rows], bounded.wall_flop[kept]
    by_chips = _by_window(upper, chips)
    most = np.minimum(by_chips, wall)
    walled = wall < by_chips
    typical = bounded.wall_typical_flop[kept]
    told = (bounded.activity | bounded.counter)[rows]
    blind = np.bincount(window, weights=told, minlength=len(kept)) == 0
    lower: list[float] = []
    estimate: list[float] = []
    for some in (np.ones(len(rows), dtype=np.bool_), ~found.idle[rows]):
        least = np.minimum(_by_window(np.where(some, found.lower[rows], 0.0), chips), most)
        likely = _by_window(np.where(some, found.estimate[rows], 0.0), chips)
        likely = np.where(blind & ~np.isnan(typical), typical, likely)
        lower.append(math.fsum(least.tolist()))
        estimate.append(math.fsum(np.minimum(np.maximum(likely, least), most).tolist()))
    bound = [upper[(found.binds[rows] == term) & ~walled[window]].tolist() for term in Term]
    bound[Term.ENERGY_FLOOR] += wall[walled].tolist()
    return _Sums(
        lower=lower[0],
        estimate=estimate[0],
        upper=math.fsum(most.tolist()),
        capable_lower=lower[1],
        capable_estimate=estimate[1],
        bound=tuple(math.fsum(part) for part in bound),
    )


def _by_window(values: Float64, chips: Int64) -> Float64:
    """Return the exact sum of each window's values, of which it has as many as chips."""
    flat, edges = values.tolist(), [0, *np.cumsum(chips).tolist()]
    return np.array([math.fsum(flat[at:end]) for at, end in pairwise(edges)], dtype=np.float64)


def _counter_steps_back(windows: Windows, first: Int64, kept: Int64) -> Int64:
    """Return the windows at whose start a counter stood lower than at the end of the one before."""
    nodes, chips = windows.nodes, windows.chips
    before, after = kept[:-1], kept[1:]
    same = (nodes.boot[before] == nodes.boot[after]) & (nodes.roster[before] == nodes.roster[after])
    before, after = before[same], after[same]
    count = np.minimum(nodes.chips[before], nodes.chips[after]).astype(np.int64)
    left = chips.energy_end_mj[runs(first[before], count)]
    right = chips.energy_start_mj[runs(first[after], count)]
    back = (left != NO_COUNTER) & (right != NO_COUNTER) & (right < left)
    return np.unique(np.repeat(after, count)[back])


def _observations(
    node: ExpectedNode,
    windows: Windows,
    bounded: Bounded,
    *,
    first: Int64,
    kept: Int64,
    refused: Int64,
) -> tuple[Observation, ...]:
    rows = chip_rows(first, kept)
    of = windows.chips.window
    found = observe(Impossible.OVERLAP, node.index, windows, refused)
    for what, odd in bounded.odd_chips.items():
        found += observe(what, node.index, windows, of[rows[odd[rows]]])
    for what, odd in bounded.odd_walls.items():
        found += observe(what, node.index, windows, kept[odd[kept]])
    contradicted = rows[bounded.intervals.contradicted[rows]]
    found += observe(Impossible.PROOF_BEYOND_BOUND, node.index, windows, of[contradicted])
    other = kept[windows.nodes.chips[kept] != len(node.models)]
    found += observe(Impossible.CHIP_COUNT, node.index, windows, other)
    steps = _counter_steps_back(windows, first, kept)
    found += observe(Impossible.COUNTER_BACK, node.index, windows, steps)
    return tuple(found)


def account_node(
    node: ExpectedNode,
    windows: Windows,
    rows: Int64,
    first: Int64,
    bounded: Bounded,
    *,
    period: tuple[int, int],
    table: ChipTable,
    trust: Trust,
) -> NodeAccount:
    """Return one node's account over ``period``.

    ``rows`` are all of its windows in the order in which they were logged; those outside the period
    still stand beside gaps. ``first`` is :meth:`Windows.first_chip_rows`.
    """
    ordered, refused = without_overlaps(windows.nodes, rows)
    starts, ends = windows.nodes.start_ms[ordered], windows.nodes.end_ms[ordered]
    kept = ordered[(starts < period[1]) & (ends > period[0])]
    sums = _sum_windows(bounded, first, kept)
    span = node.span(period)
    open_time = gaps(windows, ordered, span)
    unspoken = Unspoken(node.models, table)
    hidden = [flop for gap in open_time for flop in gap_flop(windows, first, gap, unspoken, trust)]
    seconds = bounded.intervals.seconds
    for row in kept[windows.nodes.chips[kept] < len(node.models)].tolist():
        # Chips that the window does not speak of ran as fast as they could.
        inside = min(int(windows.nodes.end_ms[row]), span[1]) - max(
            int(windows.nodes.start_ms[row]), span[0]
        )
        hidden += unspoken.most(int(windows.nodes.chips[row]), max(0, inside))
    spoken = chip_rows(first, kept)
    spoken = spoken[windows.chips.chip[spoken] < len(node.models)]
    time = _inside(windows, spoken, span)
    energy, wall_s = bounded.wall_energy_j[kept], bounded.wall_s[kept]
    floor = bounded.wall_floor_flop[kept]
    window = windows.chips.window[spoken]
    with np.errstate(invalid="ignore", divide="ignore"):
        walled = np.where(bounded.wall_s[window] > 0, bounded.wall_s[window], 0.0)
    return NodeAccount(
        index=node.index,
        node_id=node.node_id,
        chips=len(node.models),
        unknown_chips=node.models.count(len(table.chips) - 1),
        lower_flop=sums.lower,
        estimate_flop=sums.estimate,
        upper_flop=sums.upper,
        unaccounted_flop=math.fsum(hidden),
        capable_lower_flop=sums.capable_lower,
        capable_estimate_flop=sums.capable_estimate,
        bound_flop=sums.bound,
        wall_energy_j=math.fsum(energy[~np.isnan(energy)]),
        wall_floor_flop=math.fsum(floor[~np.isnan(floor)]),
        wall_s=math.fsum(wall_s),
        expected_chip_s=len(node.models) * (span[1] - span[0]) / 1000,
        evidence_chip_s=math.fsum((time * bounded.seen[spoken]).tolist()),
        activity_chip_s=math.fsum(time[bounded.activity[spoken]].tolist()),
        counter_chip_s=math.fsum(time[bounded.counter[spoken]].tolist()),
        wall_chip_s=math.fsum(np.minimum(walled, seconds[spoken]).tolist()),
        missing_ms=sum(gap.end_ms - gap.start_ms for gap in open_time),
        observations=_observations(node, windows, bounded, first=first, kept=kept, refused=refused),
    )


def _inside(windows: Windows, rows: Int64, span: tuple[int, int]) -> Float64:
    """Return the seconds of each chip window that lie in ``span``."""
    starts, ends = windows.chips.start_ms[rows], windows.chips.end_ms[rows]
    inside: Float64 = np.maximum(np.minimum(ends, span[1]) - np.maximum(starts, span[0]), 0) / 1000
    return inside
