"""The strongest period in a node's power, and how much of its variance that line carries.

The spectrum is that of Lomb and Scargle (J. D. Scargle, Astrophysical Journal 263, 1982, p. 835; the
form with a floating mean: M. Zechmeister and M. Kürster, Astronomy & Astrophysics 496, 2009, p. 577),
which takes samples where they are: holes are not filled. A line is a weak sign. Serving shows lines,
training may show none; what tells one job from many is coherence across nodes.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from statements.features import MISSING_SLOT
from verifier.workload.errors import SeriesError

Float64 = NDArray[np.float64]

LONGEST_S: Final = 60.0
"""Longest period looked for; slower changes are the schedule's, not the step's."""
CYCLES: Final = 5
"""A period is looked for only where at least so many fit into the time that samples stand for."""
OVERSAMPLING: Final = 4
"""Frequencies tried for each that the series' length resolves."""
LEAST_SAMPLES: Final = 16
_BLOCK: Final = 128


@dataclass(frozen=True, slots=True)
class Series:
    """Power of one node: ``times_s`` from any origin, rising, and W at each."""

    times_s: Float64
    watts: Float64

    @property
    def spacing_s(self) -> float:
        """Median time between samples, s."""
        return float(np.median(np.diff(self.times_s)))

    @property
    def observed_s(self) -> float:
        """Time that its samples stand for, s: without the holes between them."""
        return len(self.times_s) * self.spacing_s


@dataclass(frozen=True, slots=True)
class Line:
    """The strongest line between ``shortest_s`` and ``longest_s``.

    ``share`` is the part of the variance that one sinusoid of period ``period_s`` explains, after
    slow drift is taken out, 0 to 1. ``samples`` is how many there were, ``shortest_s`` twice their
    median spacing: what is faster shows as something slower, or not at all.
    """

    period_s: float
    share: float
    samples: int
    shortest_s: float
    longest_s: float


def from_slots(slots: NDArray[np.uint16], slot_ms: int, start_s: float = 0.0) -> Series:
    """Return the series of slots that hold a reading, each at the middle of its slot."""
    known = slots != MISSING_SLOT
    places = np.flatnonzero(known).astype(np.float64)
    times: Float64 = np.asarray(start_s + (places + 0.5) * (slot_ms / 1000), dtype=np.float64)
    return Series(times, slots[known].astype(np.float64))


def together(nodes: Sequence[Series]) -> Series:
    """Return what nodes did together: at each time, the mean deviation from their own means of those read then.

    A node that was not read at some time, or whose log ends early, moves nothing by its absence.
    """
    times = np.concatenate([series.times_s for series in nodes])
    watts = np.concatenate([series.watts - series.watts.mean() for series in nodes])
    places, inverse = np.unique(times, return_inverse=True)
    mean: Float64 = np.bincount(inverse, weights=watts) / np.bincount(inverse)
    return Series(places, mean)


def within(series: Series, window_s: float) -> list[Series]:
    """Return the series cut into whole windows, each with times of its own; those too thin are left out."""
    times = series.times_s - series.times_s[0]
    edges = np.arange(0.0, float(times[-1]) + window_s / 100, window_s)
    cuts = np.searchsorted(times, edges)
    return [
        Series(series.times_s[first:last], series.watts[first:last])
        for first, last in itertools.pairwise(cuts.tolist())
        if last - first >= LEAST_SAMPLES
    ]


def without_drift(series: Series, over_s: float = LONGEST_S) -> Series:
    """Return the series less its mean over ``over_s`` around each sample."""
    times, watts = series.times_s, series.watts
    sums = np.concatenate([[0.0], np.cumsum(watts - watts.mean())])
    first = np.searchsorted(times, times - over_s / 2, side="left")
    last = np.searchsorted(times, times + over_s / 2, side="right")
    drift = (sums[last] - sums[first]) / (last - first) + watts.mean()
    return Series(times, watts - drift)


def spectrum(series: Series, first_hz: float, step_hz: float, count: int) -> Float64:
    """Return the share of variance that a sinusoid of each of ``count`` frequencies explains, 0 to 1.

    The frequencies are ``first_hz``, ``first_hz + step_hz`` and so on: with even steps all sums over samples are
    products of one table of phases with a vector (the trigonometric sums of the papers above, at f and at 2f).
    """
    times = series.times_s - series.times_s[0]
    values = series.watts - series.watts.mean()
    total = float(values @ values)
    samples = len(values)
    shares = np.zeros(count)
    if total == 0:
        return shares
    table = np.exp(2j * np.pi * step_hz * np.outer(np.arange(min(_BLOCK, count)), times))
    doubled = table * table
    for start in range(0, count, _BLOCK):
        width = min(_BLOCK, count - start)
        phase = np.exp(2j * np.pi * (first_hz + start * step_hz) * times)
        mean = table[:width] @ phase / samples
        twice = doubled[:width] @ (phase * phase)
        product = table[:width] @ (phase * values)
        cc = (samples + twice.real) / 2 - samples * mean.real**2
        ss = (samples - twice.real) / 2 - samples * mean.imag**2
        cs = twice.imag / 2 - samples * mean.real * mean.imag
        yc, ys = product.real, product.imag
        determinant = cc * ss - cs * cs
        power = ss * yc * yc + cc * ys * ys - 2 * cs * yc * ys
        sound = determinant > 1e-9 * samples * samples
        shares[start : start + width] = np.where(
            sound, power / np.where(sound, determinant, 1.0) / total, 0.0
        )
    return np.clip(shares, 0.0, 1.0)


def strongest_line(series: Series) -> Line:
    """Return the strongest line of a series.

    Raises :class:`SeriesError` when it is too short for one, or power does not change.
    """
    if len(series.times_s) < LEAST_SAMPLES:
        raise SeriesError(
            "TOO_FEW_SAMPLES", f"{len(series.times_s)} samples, at least {LEAST_SAMPLES} are needed"
        )
    length = float(series.times_s[-1] - series.times_s[0])
    shortest = 2 * series.spacing_s
    longest = min(LONGEST_S, series.observed_s / CYCLES, length / CYCLES)
    if not shortest < longest:
        raise SeriesError(
            "TOO_SHORT",
            f"{series.observed_s:.0f} s at one sample in {series.spacing_s:.1f} s show no period",
        )
    flat = without_drift(series)
    if not np.any(flat.watts - flat.watts.mean()):
        raise SeriesError("CONSTANT", "power does not change")
    step = 1 / (OVERSAMPLING * length)
    count = math.ceil((1 / shortest - 1 / longest) / step)
    shares = spectrum(flat, 1 / longest, step, count)
    best = int(np.argmax(shares))
    return Line(
        period_s=1 / (1 / longest + best * step),
        share=float(shares[best]),
        samples=len(series.times_s),
        shortest_s=shortest,
        longest_s=longest,
    )
