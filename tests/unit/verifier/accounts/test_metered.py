"""Energy from absolute counters of meters that others hold, and what it allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.accounts.chips import Chip
from verifier.accounts.metered import MeterCount, MeterRecord, energy_at_most_j, metered_flop
from verifier.ruleset import own_ruleset

H100: Chip = own_ruleset().table.lookup("NVIDIA H100 80GB HBM3")


def record(*counts: tuple[int, int], bound: float = 0.0) -> MeterRecord:
    return MeterRecord(tuple(MeterCount(*count) for count in counts), bound)


def test_a_span_is_bounded_by_the_readings_around_it() -> None:
    read = record((0, 0), (100, 5_000), (200, 9_000), (300, 20_000))
    assert energy_at_most_j(read, (100, 200)) == 4.0
    assert energy_at_most_j(read, (150, 250)) == 15.0
    assert energy_at_most_j(read, (0, 300)) == 20.0


def test_a_counter_that_errs_low_counted_less_than_there_was() -> None:
    assert energy_at_most_j(record((0, 0), (10, 9_900), bound=0.01), (0, 10)) == pytest.approx(10)


@pytest.mark.parametrize(
    "read",
    [
        record(),
        record((50, 0), (200, 1)),
        record((0, 0), (150, 1)),
        record((0, 5), (150, 2), (200, 9)),
        record((0, 7), (100, 7), (200, 7)),
        record((0, 0), (200, 1), bound=1.0),
    ],
)
def test_a_meter_that_was_not_read_around_a_span_or_went_back_or_stood_still_says_nothing(
    read: MeterRecord,
) -> None:
    assert energy_at_most_j(read, (10, 190)) is None
    assert metered_flop([read], [(10, 190)], [H100]) is None


def test_flop_are_bounded_by_all_energy_at_the_thriftiest_chip() -> None:
    one, two = record((0, 0), (10, 2_000)), record((0, 0), (10, 1_000))
    assert metered_flop([one, two], [(0, 10)], [H100]) == pytest.approx(3 / 0.20e-12)
    assert metered_flop([one, record()], [(0, 10)], [H100]) is None
    assert metered_flop([], [(0, 10)], [H100]) is None
    assert metered_flop([one], [(0, 10)], []) is None


@given(
    steps=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 10_000)), min_size=2, max_size=12),
    data=st.data(),
)
def test_fewer_readings_never_lower_what_can_have_been_drawn(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    at, energy, counts = 0, 0, []
    for wait, used in steps:
        at, energy = at + wait, energy + used
        counts.append((at, energy))
    start = data.draw(st.integers(counts[0][0], counts[-1][0] - 1))
    end = data.draw(st.integers(start + 1, counts[-1][0]))
    inner = data.draw(
        st.sets(st.integers(1, len(counts) - 1).filter(lambda i: i < len(counts) - 1))
    )
    fewer = [count for place, count in enumerate(counts) if place not in inner]
    whole = energy_at_most_j(record(*counts), (start, end))
    less = energy_at_most_j(record(*fewer), (start, end))
    assert whole is not None
    assert less is not None
    assert less >= whole
