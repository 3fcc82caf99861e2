"""Some of the windows of a set of columns, in the same order."""

import numpy as np

from verifier.accounts.columns import ChipWindows, NodeWindows, Windows
from verifier.evidence.records import Bools


def select(windows: Windows, keep: Bools) -> Windows:
    """Return the node windows for which ``keep`` holds, [windows], with their chips."""
    if bool(keep.all()):
        return windows
    nodes, chips = windows.nodes, windows.chips
    rows = np.flatnonzero(keep)
    kept = keep[chips.window]
    place = (np.cumsum(keep) - 1).astype(np.int64)
    return Windows(
        ChipWindows(
            node=chips.node[kept],
            window=place[chips.window[kept]],
            chip=chips.chip[kept],
            start_ms=chips.start_ms[kept],
            end_ms=chips.end_ms[kept],
            features=chips.features[kept],
            energy_start_mj=chips.energy_start_mj[kept],
            energy_end_mj=chips.energy_end_mj[kept],
            energy_start_at=chips.energy_start_at[kept],
            energy_end_at=chips.energy_end_at[kept],
            boot=chips.boot[kept],
            model=chips.model[kept],
        ),
        NodeWindows(
            node=nodes.node[rows],
            start_ms=nodes.start_ms[rows],
            end_ms=nodes.end_ms[rows],
            chips=nodes.chips[rows],
            boot=nodes.boot[rows],
            roster=nodes.roster[rows],
            wall_energy_j=nodes.wall_energy_j[rows],
            wall_covered_ms=nodes.wall_covered_ms[rows],
            wall_resolution_w=nodes.wall_resolution_w[rows],
            samples_expected=nodes.samples_expected[rows],
            samples_taken=nodes.samples_taken[rows],
            largest_gap_ms=nodes.largest_gap_ms[rows],
            slot_ms=nodes.slot_ms[rows],
            wall_slots=nodes.wall_slots.take(rows),
            chip_slots=nodes.chip_slots.take(rows),
        ),
    )
