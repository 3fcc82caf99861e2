"""What cannot be true of the evidence, or does not fit together: structured, for checks to weigh.

An observation lowers no upper bound and raises no lower one. What is impossible counts as missing
in the bounds; here it is said.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from verifier.accounts.chips import ChipTable
from verifier.accounts.columns import NO_COUNTER, Bools, ChipWindows, Int64, Windows
from verifier.accounts.interval import (
    ACTIVITY_SLACK,
    CLOCK_SLACK,
    energy_j,
    feature,
    stuck_rows,
)
from verifier.accounts.wall import impossible_wall

ACTIVITIES: Final = (
    "utilisation_mean",
    "sm_active_mean",
    "tensor_active_mean",
    "hmma_active_mean",
    "imma_active_mean",
    "dmma_active_mean",
    "fp16_active_mean",
    "fp32_active_mean",
    "fp64_active_mean",
    "dram_active_mean",
)
WALL_TOLERANCE: Final = 0.05
"""Chips' energy may exceed their node's by this share, for two meters and readings at two times."""


class Impossible(Enum):
    """What was observed."""

    ACTIVITY = "IMPOSSIBLE_ACTIVITY"
    """A share of cycles below 0 or above 1."""
    CLOCK = "IMPOSSIBLE_CLOCK"
    """A clock below 0 or above the model's highest."""
    POWER = "IMPOSSIBLE_POWER"
    """Power of 0 or below, or not finite."""
    COUNTER_BACK = "COUNTER_WENT_BACK"
    """An energy counter fell within one boot."""
    COUNTER_STUCK = "COUNTER_STUCK"
    """An energy counter did not move between two readings: no chip that answers draws nothing."""
    COUNTER_TIME = "COUNTER_TIME"
    """An energy counter says that it was read after the edge of the window that it stands for."""
    WALL = "IMPOSSIBLE_WALL_ENERGY"
    """Wall energy of 0 or below, not finite, beyond any node's, or of more time than the window has."""
    CHIPS_BEYOND_WALL = "CHIPS_BEYOND_WALL"
    """The chips drew more than the node that holds them."""
    PROOF_BEYOND_BOUND = "PROOF_BEYOND_BOUND"
    """Activity proves more operations than energy or time allows."""
    OVERLAP = "OVERLAPPING_WINDOWS"
    """A window shares time with one that was logged before; it does not count."""
    CHIP_COUNT = "CHIP_COUNT"
    """A window has another number of chips than the node enrolled."""
    MODEL = "MODEL_DIFFERS"
    """A window names another model of chip than the node enrolled; it counts as unknown."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One kind of impossibility at one node: how often, over which time, and an example's row.

    ``node`` is the index of the node; ``windows`` the rows of its windows, at most eight of them;
    ``count`` is of all.
    """

    what: Impossible
    node: int
    count: int
    from_ms: int
    to_ms: int
    windows: tuple[int, ...]


def observe(what: Impossible, node: int, windows: Windows, rows: Int64) -> list[Observation]:
    """Return the observation that ``rows`` of node windows show it; nothing where there are none."""
    if not len(rows):
        return []
    unique = np.unique(rows)
    return [
        Observation(
            what,
            node,
            len(unique),
            int(windows.nodes.start_ms[unique].min()),
            int(windows.nodes.end_ms[unique].max()),
            tuple(unique[:8].tolist()),
        )
    ]


def impossible_rows(chips: ChipWindows, table: ChipTable) -> dict[Impossible, Bools]:
    """Return which chip windows show which impossibility by themselves."""
    activity = np.zeros(len(chips), dtype=np.bool_)
    for name in ACTIVITIES:
        value = feature(chips, name)
        activity |= (value < 0) | (value > ACTIVITY_SLACK)
    f_max = np.array([chip.f_max_hz for chip in table.chips])[chips.model]
    clock = np.zeros(len(chips), dtype=np.bool_)
    for name in ("sm_clock_mean", "sm_clock_tensor_mean"):
        value = feature(chips, name) * 1e6
        clock |= (value < 0) | (value > CLOCK_SLACK * f_max)
    power = feature(chips, "power_mean")
    known = (chips.energy_start_mj != NO_COUNTER) & (chips.energy_end_mj != NO_COUNTER)
    late = known & (
        (chips.energy_start_at > chips.start_ms)
        | (chips.energy_end_at > chips.end_ms)
        | (chips.energy_end_at < chips.energy_start_at)
    )
    return {
        Impossible.ACTIVITY: activity,
        Impossible.CLOCK: clock,
        Impossible.POWER: (power <= 0) | np.isinf(power),
        Impossible.COUNTER_BACK: known & (chips.energy_end_mj < chips.energy_start_mj),
        Impossible.COUNTER_STUCK: stuck_rows(chips),
        Impossible.COUNTER_TIME: late,
    }


def impossible_walls(windows: Windows) -> dict[Impossible, Bools]:
    """Return which node windows show which impossibility by themselves."""
    nodes = windows.nodes
    length = nodes.end_ms - nodes.start_ms
    wall = impossible_wall(nodes)
    joules, _ = energy_j(windows.chips)
    chips = np.bincount(
        windows.chips.window, weights=np.nan_to_num(joules, nan=0.0), minlength=len(nodes)
    )
    whole = nodes.wall_covered_ms >= length
    beyond = whole & ~wall & (chips / (1 + WALL_TOLERANCE) > nodes.wall_energy_j)
    return {Impossible.WALL: wall, Impossible.CHIPS_BEYOND_WALL: beyond}
