"""Energy at a node's wall: within a period, and what it allows the chips behind it.

A chip's energy is part of its node's, so that wall energy bounds all of a node's chips together.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from statements.features import MISSING_SLOT
from verifier.accounts.columns import Bools, Float64, Int64, NodeWindows, Uint16

ROUNDING_W: Final = 0.5
"""A slot is rounded to whole watts: its mean may be this much higher."""

MOST_NODE_W: Final = 1e6
"""No node draws more: a rack of 72 chips draws about 0.13 MW. Beyond it a reading is impossible."""


@dataclass(frozen=True, slots=True, eq=False)
class WallEnergy:
    """Wall energy of each node window within a period, [windows] each.

    ``energy_j`` is what was measured there, shared out by the slots where a window lies across an
    edge of the period; ``most_j`` is at least what the covered part drew there; both NaN where
    nothing was measured. ``uncovered_s`` is the time within the period that ``most_j`` may not
    cover.
    """

    energy_j: Float64
    most_j: Float64
    uncovered_s: Float64


def overlap_ms(start_ms: Int64, end_ms: Int64, period: tuple[int, int]) -> Int64:
    """Return how much of each [start, end) lies in ``period``, ms."""
    most: Int64 = np.minimum(end_ms, period[1]) - np.maximum(start_ms, period[0])
    return np.maximum(most, np.int64(0))


def impossible_wall(nodes: NodeWindows) -> Bools:
    """Return which windows give wall energy that cannot be.

    Nothing at all, below 0, not finite, beyond any node's, or of more time than the window has.
    """
    length = nodes.end_ms - nodes.start_ms
    energy = nodes.wall_energy_j
    impossible = (energy <= 0) | (energy > MOST_NODE_W * length / 1000)
    return impossible | (nodes.wall_covered_ms > length)


def _shares(slots: Uint16, slot_ms: int, first_ms: int, last_ms: int) -> Float64:
    """Return how much of each slot lies in [first, last), ms from the window's start."""
    begins = np.arange(len(slots)) * slot_ms
    inside = np.minimum(begins + slot_ms, last_ms) - np.maximum(begins, first_ms)
    shares: Float64 = np.maximum(inside, 0).astype(np.float64)
    return shares


def _share_of_energy(slots: Uint16, slot_ms: int, first_ms: int, last_ms: int) -> float | None:
    """Return the share of the slots' energy that lies in [first, last); None where it has none."""
    watts = np.where(slots == MISSING_SLOT, 0, slots).astype(np.float64)
    whole = float(watts.sum()) * slot_ms
    if whole == 0:
        return None
    return min(1.0, float((watts * _shares(slots, slot_ms, first_ms, last_ms)).sum()) / whole)


def _most_energy(slots: Uint16, slot_ms: int, first_ms: int, last_ms: int) -> float:
    """Return J that [first, last) drew at most if each hole drew the larger of its neighbours."""
    known = slots != MISSING_SLOT
    if not known.any():
        return float("inf")
    places = np.arange(len(slots))
    before = np.maximum.accumulate(np.where(known, places, -1))
    after = np.minimum.accumulate(np.where(known, places, len(slots))[::-1])[::-1]
    left = np.where(before >= 0, slots[np.maximum(before, 0)], 0)
    right = np.where(after < len(slots), slots[np.minimum(after, len(slots) - 1)], 0)
    watts = np.maximum(left, right).astype(np.float64) + ROUNDING_W
    return float((watts * _shares(slots, slot_ms, first_ms, last_ms)).sum()) / 1000


def wall_energy(nodes: NodeWindows, period: tuple[int, int]) -> WallEnergy:
    """Return the wall energy of each window within ``period``.

    Of a window that lies across an edge, the part inside is bounded by its slots, with what of the
    window's energy no slot shows, and by the window's whole energy, whichever is less; all of its
    uncovered time counts as inside as far as it fits, because it is not known where it lies.
    """
    length = nodes.end_ms - nodes.start_ms
    inside = overlap_ms(nodes.start_ms, nodes.end_ms, period)
    usable: Bools = (
        ~np.isnan(nodes.wall_energy_j) & ~impossible_wall(nodes) & (nodes.wall_covered_ms > 0)
    )
    covered = np.where(usable, np.clip(nodes.wall_covered_ms, 0, length), 0)
    energy = np.where(usable & (inside > 0), nodes.wall_energy_j, np.nan)
    most = energy.copy()
    for place in np.flatnonzero(usable & (inside > 0) & (inside < length)).tolist():
        first = max(0, period[0] - int(nodes.start_ms[place]))
        last = first + int(inside[place])
        slots, slot_ms = nodes.wall_slots[place], int(nodes.slot_ms[place])
        share = _share_of_energy(slots, slot_ms, first, last) if len(slots) else None
        if share is None:
            share = float(inside[place]) / float(length[place])
        else:
            within = _most_energy(slots, slot_ms, first, last)
            without = _most_energy(slots, slot_ms, 0, first)
            without += _most_energy(slots, slot_ms, last, int(length[place]))
            # Energy that no slot shows may lie on either side of the edge.
            most[place] = min(most[place], max(within, most[place] - without))
        energy[place] *= share
    uncovered = np.minimum(length - covered, inside) / 1000
    return WallEnergy(energy, most, uncovered)
