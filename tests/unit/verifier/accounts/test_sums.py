"""A node's sums, worked out for all of its windows at once, are those of its windows one by one."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from verifier.accounts.interval import Intervals, Term
from verifier.accounts.node import Bounded, _sum_windows

floats = st.floats(0, 1e20, allow_nan=False)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Bounded, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """What was worked out of some windows of 0 to 4 chips each, and where their chips begin."""
    chips = draw(st.lists(st.integers(0, 4), min_size=1, max_size=8))
    count, rows = len(chips), sum(chips)

    def column(
        values: st.SearchStrategy[float], size: int
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array(draw(st.lists(values, min_size=size, max_size=size)), dtype=np.float64)

    def flags() -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), dtype=np.bool_)

    none = np.zeros(rows)
    upper = column(floats, rows)
    found = Intervals(
        seconds=none,
        lower=upper * column(st.floats(0, 1), rows),
        estimate=upper * column(st.floats(0, 1), rows),
        upper=upper,
        terms=np.zeros((rows, 3)),
        binds=np.array(
            draw(st.lists(st.sampled_from(Term), min_size=rows, max_size=rows)), np.int8
        ),
        idle=flags(),
        contradicted=np.zeros(rows, dtype=np.bool_),
    )
    bounded = Bounded(
        intervals=found,
        seen=none,
        activity=flags(),
        counter=flags(),
        wall_flop=column(floats | st.just(math.inf), count),
        wall_typical_flop=column(floats | st.just(math.nan), count),
        wall_energy_j=np.zeros(count),
        wall_floor_flop=np.zeros(count),
        wall_s=np.zeros(count),
        odd_chips={},
        odd_walls={},
    )
    return bounded, np.concatenate([[0], np.cumsum(chips)]).astype(np.int64)


@given(cases(), st.data())
def test_sums_of_all_windows_at_once_are_those_one_by_one(
    case: tuple[Bounded, np.ndarray[tuple[int], np.dtype[np.int64]]], data: st.DataObject
) -> None:
    bounded, first = case
    found, windows = bounded.intervals, range(len(first) - 1)
    kept = data.draw(st.lists(st.sampled_from(windows), unique=True))
    lower: list[list[float]] = [[], []]
    estimate: list[list[float]] = [[], []]
    upper: list[float] = []
    bound: list[list[float]] = [[] for _ in Term]
    for row in kept:
        rows = slice(int(first[row]), int(first[row + 1]))
        wall, by_chips = float(bounded.wall_flop[row]), math.fsum(found.upper[rows].tolist())
        most = min(by_chips, wall)
        upper.append(most)
        if wall < by_chips:
            bound[Term.ENERGY_FLOOR].append(wall)
        else:
            for term, flop in zip(
                found.binds[rows].tolist(), found.upper[rows].tolist(), strict=True
            ):
                bound[term].append(flop)
        typical = float(bounded.wall_typical_flop[row])
        blind = not bounded.activity[rows].any() and not bounded.counter[rows].any()
        busy = ~found.idle[rows]
        for place, some in enumerate((np.ones_like(busy), busy)):
            least = min(math.fsum(found.lower[rows][some].tolist()), most)
            likely = math.fsum(found.estimate[rows][some].tolist())
            if blind and not math.isnan(typical):
                likely = typical
            lower[place].append(least)
            estimate[place].append(min(max(likely, least), most))
    sums = _sum_windows(bounded, first, np.array(kept, dtype=np.int64))
    assert sums.upper == math.fsum(upper)
    assert [sums.lower, sums.capable_lower] == [math.fsum(part) for part in lower]
    assert [sums.estimate, sums.capable_estimate] == [math.fsum(part) for part in estimate]
    assert list(sums.bound) == [math.fsum(part) for part in bound]
