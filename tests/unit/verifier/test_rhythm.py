"""Power of many windows, worked on together, is what each window says by itself."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protos.stillwatch.statement.v1 import summary_pb2
from statements.features import MISSING_SLOT, WIDTH
from verifier.accounts.columns import ColumnsBuilder, NodeWindows
from verifier.rhythm import _on_grid, _series, _touching

MINUTE = 60_000
HOUR = (0, 60 * MINUTE)


@st.composite
def hours(draw: st.DrawFn) -> NodeWindows:
    """Windows of a few nodes, of several numbers of chips and lengths of slots, at the wall or not, in any order."""
    builder = ColumnsBuilder()
    minutes = st.tuples(st.integers(0, 2), st.integers(-1, 60))
    for node, minute in draw(st.lists(minutes, max_size=8, unique=True)):
        chips, slot_ms = draw(st.integers(0, 3)), draw(st.sampled_from([250, 500, 7_000, 30_000]))
        slots = -(-MINUTE // slot_ms)
        made = summary_pb2.WorkloadSummary(
            feature_set=1, boot_id=bytes(16), chip_features=bytes(4 * WIDTH * chips)
        )
        chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

        def series(count: int, chance: np.random.Generator = chance, slots: int = slots) -> bytes:
            said = chance.integers(0, 800, count * slots)
            said[chance.random(len(said)) < 0.1] = MISSING_SLOT
            return said.astype("<u2").tobytes()

        if draw(st.booleans()):
            made.power.slot_ms = slot_ms
            made.power.chips = series(chips) if draw(st.booleans()) else b""
            made.power.node = series(1) if draw(st.booleans()) else b""
        start = max(0, minute * MINUTE - 1_000)
        builder.add(node, start, start + MINUTE, made, [0] * chips)
    return builder.build().nodes


def _one_by_one(nodes: NodeWindows) -> list[tuple[list[float], list[float]]]:
    of_node: dict[int, list[tuple[float, float]]] = {}
    for row in range(len(nodes)):
        slots, chips, slot_ms = (
            nodes.wall_slots[row],
            nodes.chip_slots[row],
            int(nodes.slot_ms[row]),
        )
        each = slots[None] if len(slots) else chips
        if not each.size:
            continue
        total = each.astype(np.float64).sum(axis=0)
        known = (each != MISSING_SLOT).all(axis=0)
        if slot_ms < 1000:
            total, known = _on_grid(total, known, slot_ms)
            slot_ms = 1000
        for at, (watt, there) in enumerate(zip(total.tolist(), known.tolist(), strict=True)):
            middle = int(nodes.start_ms[row]) + (at + 0.5) * slot_ms
            if there and HOUR[0] <= middle < HOUR[1]:
                of_node.setdefault(int(nodes.node[row]), []).append((middle / 1000, watt))
    found = []
    for node in sorted(of_node):
        fresh, before = [], -1.0
        for time, watt in of_node[node]:
            if time > before:
                fresh.append((time, watt))
            before = time
        if len(fresh) > 1:
            found.append(([time for time, _ in fresh], [watt for _, watt in fresh]))
    return found


@given(hours())
def test_power_worked_on_together_is_what_each_window_says(nodes: NodeWindows) -> None:
    touching = _touching(nodes, HOUR)
    found = [(one.times_s.tolist(), one.watts.tolist()) for one in _series(touching, HOUR)]
    assert found == _one_by_one(touching)
