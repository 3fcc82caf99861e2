"""The rhythm of a party's power: its strongest line, and whether its nodes share the phase. Pure.

Power is looked at an hour at a time, in at most a day's worth of hours spread over the time in question, and by the
second at most, so that the work does not grow with the square of what a party says; the clearest hour is told.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

from statements.features import MISSING_SLOT
from verifier.accounts.columns import NodeWindows
from verifier.workers import ALONE, share_out
from verifier.workload.coherence import Coherence, phase_coherence
from verifier.workload.errors import SeriesError
from verifier.workload.period import Line, Series, strongest_line, together

HOUR_MS: Final = 3_600_000
MOST_HOURS: Final = 24
GRID_MS: Final = 1_000
"""Slots that are shorter are taken together to this length: nodes of one job then have their samples at one time."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The clearest hour: when it began (Unix ms), the strongest line of summed power, and its coherence.

    ``by_chance`` bounds the probability that nodes whose power is unrelated show as much in any of the hours and at
    any of the frequencies that were looked at: in a stretch the squared length R^2 of the mean of n unrelated unit
    vectors makes n R^2 exponential in the limit, and the mean over stretches is bounded by the gamma distribution
    (K. V. Mardia, P. E. Jupp, Directional Statistics, 2000, section 4.8).
    """

    from_ms: int
    line: Line
    coherence: Coherence
    by_chance: float


@dataclass(frozen=True, slots=True, eq=False)
class _Hour:
    """Node windows that touch an hour, and in how many hours power is looked at."""

    span: Span
    nodes: NodeWindows
    looked: int


def find_rhythm(
    nodes: NodeWindows, spans: Sequence[Span], executor: Executor = ALONE
) -> Rhythm | None:
    """Return the rhythm of node windows within ``spans``; ``None`` where power shows no line.

    Raises as :func:`share_out`.
    """
    hours = [
        (start, min(start + HOUR_MS, span[1]))
        for span in spans
        for start in range(span[0], span[1], HOUR_MS)
    ]
    step = -(-len(hours) // MOST_HOURS)
    looked = hours[::step]
    shares = (_Hour(hour, _touching(nodes, hour), len(looked)) for hour in looked)
    found = [rhythm for rhythm in share_out(executor, _of_hour, shares) if rhythm]
    return min(found, key=lambda rhythm: (rhythm.by_chance, rhythm.from_ms), default=None)


def _touching(nodes: NodeWindows, hour: Span) -> NodeWindows:
    """Return the windows with a power series that touch an hour, in order of time."""
    inside = (nodes.start_ms < hour[1]) & (nodes.end_ms > hour[0]) & (nodes.slot_ms > 0)
    rows = np.flatnonzero(inside)
    return nodes.take(rows[np.argsort(nodes.start_ms[rows], kind="stable")])


def _of_hour(share: _Hour) -> Rhythm | None:
    hour = share.span
    series = _series(share.nodes, hour)
    if not series:
        return None
    try:
        line = strongest_line(together(series))
        coherence = phase_coherence(series, line.period_s)
    except SeriesError:
        return None
    if coherence.value is None:
        return Rhythm(hour[0], line, coherence, 1.0)
    strength = coherence.stretches * coherence.nodes * coherence.value**2
    tried = share.looked * line.samples / 2
    chance = float(tried * gammaincc(coherence.stretches, strength))
    return Rhythm(hour[0], line, coherence, min(1.0, chance))


def _series(nodes: NodeWindows, hour: Span) -> list[Series]:
    """Return each node's power in an hour, s from its beginning: at the wall, or else its chips' together."""
    of_node: dict[int, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    told = dict(_power(nodes, hour))
    for row, node in enumerate(nodes.node.tolist()):
        if row in told:
            of_node.setdefault(node, []).append(told[row])
    found: list[Series] = []
    for at in sorted(of_node):
        times = np.concatenate([times for times, _ in of_node[at]])
        watts = np.concatenate([watts for _, watts in of_node[at]])
        fresh = np.diff(times, prepend=-1.0) > 0
        if fresh.sum() > 1:
            found.append(Series(times[fresh], watts[fresh]))
    return found


def _power(
    nodes: NodeWindows, hour: Span
) -> Iterator[tuple[int, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
    """Yield rows of windows, each with the times of its readings in an hour and their watts.

    Windows whose series have one shape are worked on together.
    """
    wall, chips = nodes.wall_slots.octets, nodes.chip_slots.octets
    whose = np.where(wall.length > 0, 1, nodes.chips)
    octets = np.where(wall.length > 0, wall.length, chips.length)
    shapes = np.stack([wall.length > 0, whose, octets, nodes.slot_ms], axis=1)
    kinds, of_row = np.unique(shapes, axis=0, return_inverse=True)
    for kind, (walled, count, length, slot_ms) in enumerate(kinds.tolist()):
        if not count or not length:
            continue
        rows = np.flatnonzero(of_row == kind)
        said = (wall if walled else chips).take(rows).all_held().columns(0, length)
        each = said.view("<u2").reshape(len(rows), count, -1)
        watts, known = each.sum(axis=1, dtype=np.float64), (each != MISSING_SLOT).all(axis=1)
        if slot_ms < GRID_MS:
            gridded = [_on_grid(*one, slot_ms) for one in zip(watts, known, strict=True)]
            watts, known = (np.stack(column) for column in zip(*gridded, strict=True))
            slot_ms = GRID_MS  # noqa: PLW2901 - the grid's
        middle = nodes.start_ms[rows, None] + (np.arange(watts.shape[1]) + 0.5) * slot_ms
        known &= (middle >= hour[0]) & (middle < hour[1])
        for at, row in enumerate(rows.tolist()):
            inside = known[at]
            yield row, ((middle[at][inside] - hour[0]) / 1000, watts[at][inside])


def _on_grid(
    watts: NDArray[np.float64], known: NDArray[np.bool_], slot_ms: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return slots as means of the grid's, and which of those hold a reading; one begins with the window."""
    cell = np.arange(len(watts)) * slot_ms // GRID_MS
    count = np.bincount(cell, weights=known)
    total = np.bincount(cell, weights=np.where(known, watts, 0.0))
    return total / np.maximum(count, 1), count > 0
