"""Periods and coherence, on series whose truth is known."""

import numpy as np
import pytest

from statements.features import MISSING_SLOT
from verifier.workload.coherence import phase_coherence, shifted
from verifier.workload.errors import SeriesError
from verifier.workload.period import (
    CYCLES,
    Series,
    from_slots,
    strongest_line,
    together,
    within,
)


def wave(
    period_s: float, seconds: int, phase: float = 0.0, noise_w: float = 50.0, seed: int = 0
) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    times = np.arange(seconds) + 0.5
    draw = np.random.default_rng(seed)
    watts = 6000 + 400 * np.sin(2 * np.pi * (times / period_s + phase))
    noisy = np.asarray(watts + draw.normal(0, noise_w, seconds), dtype=np.float64)
    return noisy.round().astype(np.uint16)


def test_a_period_is_found_between_the_bins() -> None:
    line = strongest_line(from_slots(wave(10.77, 1800), 1000))
    assert line.period_s == pytest.approx(10.77, rel=0.005)
    assert line.share > 0.9


def test_holes_are_not_filled_and_do_not_move_the_period() -> None:
    slots = wave(10.77, 1800)
    slots[np.random.default_rng(1).random(1800) < 0.4] = MISSING_SLOT
    line = strongest_line(from_slots(slots, 1000))
    assert line.period_s == pytest.approx(10.77, rel=0.005)
    assert line.samples == int((slots != MISSING_SLOT).sum())


def test_sampling_every_two_seconds_looks_for_nothing_faster_than_four() -> None:
    slots = wave(10.77, 1800)
    slots[1::2] = MISSING_SLOT
    line = strongest_line(from_slots(slots, 1000))
    assert line.shortest_s == 4.0
    assert line.period_s == pytest.approx(10.77, rel=0.005)


def test_a_long_hole_is_not_time_in_which_a_period_was_seen() -> None:
    draw = np.random.default_rng(11).normal(0, 5, 60)
    times = np.concatenate([np.arange(30.0), np.arange(680.0, 710.0)])
    climbing = Series(times, 1500 + 20 * np.arange(60.0) + draw)
    assert strongest_line(climbing).longest_s == pytest.approx(60 / CYCLES)


def test_what_nodes_did_together_is_not_moved_by_a_node_that_ends_early() -> None:
    first, second = from_slots(wave(10.77, 1200, seed=1), 1000), from_slots(wave(10.77, 400), 1000)
    raised = Series(second.times_s, second.watts + 3000)
    both = together([first, raised])
    assert len(both.times_s) == 1200
    assert abs(both.watts[:400].mean() - both.watts[400:].mean()) < 20
    assert strongest_line(both).period_s == pytest.approx(10.77, rel=0.005)


def test_windows_are_whole_and_hold_enough_samples() -> None:
    slots = wave(10.77, 310)
    slots[60:115] = MISSING_SLOT
    cut = within(from_slots(slots, 1000), 60.0)
    assert [len(window.times_s) for window in cut] == [60, 60, 60, 60]


def test_noise_alone_carries_no_line() -> None:
    draw = np.random.default_rng(3).normal(6000, 100, 1800)
    assert strongest_line(Series(np.arange(1800.0), draw)).share < 0.05


@pytest.mark.parametrize(
    ("slots", "reason"),
    [
        (np.full(600, 6000, np.uint16), "CONSTANT"),
        (np.full(600, MISSING_SLOT, np.uint16), "TOO_FEW_SAMPLES"),
        (wave(10.77, 18)[:17], None),
    ],
)
def test_a_series_without_a_period_says_so(
    slots: "np.ndarray[tuple[int], np.dtype[np.uint16]]", reason: str | None
) -> None:
    if reason is None:
        assert strongest_line(from_slots(slots, 1000)).longest_s < 10.77
        return
    with pytest.raises(SeriesError) as caught:
        strongest_line(from_slots(slots, 1000))
    assert caught.value.reason == reason


def test_nodes_of_one_job_cohere_and_their_shifts_do_not() -> None:
    nodes = [from_slots(wave(10.77, 900, seed=seed), 1000) for seed in range(32)]
    draw = np.random.default_rng(5)
    together = phase_coherence(nodes, 10.77).value
    apart = [
        phase_coherence(shifted(nodes, draw.uniform(0, 900, 32).tolist()), 10.77).value
        for _ in range(10)
    ]
    assert together is not None
    assert together > 0.95
    assert np.mean(np.array(apart, dtype=np.float64)) < 0.3


def test_separate_jobs_of_one_period_do_not_cohere() -> None:
    phases = np.random.default_rng(7).random(32)
    nodes = [from_slots(wave(10.77, 900, phase=p, seed=i), 1000) for i, p in enumerate(phases)]
    coherence = phase_coherence(nodes, 10.77)
    assert coherence.value is not None
    assert coherence.value < 0.4
    assert coherence.unrelated == pytest.approx(0.157, abs=0.01)


def test_one_node_has_nothing_to_cohere_with() -> None:
    coherence = phase_coherence([from_slots(wave(10.77, 900), 1000)], 10.77)
    assert coherence.value is None
    assert coherence.words == "not defined"


def test_nodes_that_share_no_time_are_an_error() -> None:
    first = from_slots(wave(10.77, 300), 1000)
    with pytest.raises(SeriesError):
        phase_coherence([first, from_slots(wave(10.77, 300), 1000, start_s=10_000)], 10.77)
