"""Whether nodes share the phase of a line: the sign of one job across them.

In each stretch of time every node's phase at the line's frequency is a unit vector, and the length
of their mean is the coherence: 1 where all agree, about 0.9 / sqrt(nodes) where they are unrelated.
Nodes of one job step together; the same nodes moved against each other in time do not, which is the
control. One node has no phase to agree with: then coherence is not defined.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from verifier.workload.errors import SeriesError
from verifier.workload.period import LEAST_SAMPLES, Series, without_drift

STRETCH_S: Final = 300.0
"""Length of the stretches within which phases are compared, less where the series are shorter:
steps may drift between them."""


@dataclass(frozen=True, slots=True)
class Coherence:
    """Mean over ``stretches`` of the agreement of phase among ``nodes``, 0 to 1.

    ``unrelated`` is what unrelated nodes show on average. ``value`` is None where there are fewer
    than two nodes: not defined.
    """

    value: float | None
    nodes: int
    stretches: int
    unrelated: float | None

    @property
    def words(self) -> str:
        """The value, or that there is none."""
        return "not defined" if self.value is None else f"{self.value:.2f}"


def shifted(nodes: Sequence[Series], by_s: Sequence[float]) -> list[Series]:
    """Return each series moved in time, what leaves at the end coming in at the start: the control."""
    moved: list[Series] = []
    for series, offset in zip(nodes, by_s, strict=True):
        start = float(series.times_s[0])
        length = float(series.times_s[-1]) - start + series.spacing_s
        times = start + np.mod(series.times_s - start + offset, length)
        order = np.argsort(times, kind="stable")
        moved.append(Series(times[order], series.watts[order]))
    return moved


def _phase(series: Series, frequency: float, start_s: float, end_s: float) -> complex | None:
    first, last = np.searchsorted(series.times_s, [start_s, end_s])
    if last - first < max(LEAST_SAMPLES, (end_s - start_s) / series.spacing_s / 2):
        return None
    times, watts = series.times_s[first:last] - start_s, series.watts[first:last]
    angle = 2 * np.pi * frequency * times
    design = np.stack([np.cos(angle), np.sin(angle), np.ones_like(angle)], axis=1)
    (cosine, sine, _), *_ = np.linalg.lstsq(design, watts, rcond=None)
    size = math.hypot(cosine, sine)
    return complex(cosine / size, sine / size) if size else None


def phase_coherence(nodes: Sequence[Series], period_s: float) -> Coherence:
    """Return the coherence of ``nodes``, whose times share one origin, at ``period_s``.

    Raises :class:`SeriesError` when two nodes or more have no stretch in common.
    """
    if len(nodes) < 2:
        return Coherence(None, len(nodes), 0, None)
    flat = [without_drift(series) for series in nodes]
    start = min(float(series.times_s[0]) for series in flat)
    end = max(float(series.times_s[-1]) for series in flat)
    stretch_s = min(STRETCH_S, end - start)
    lengths: list[float] = []
    counts: list[int] = []
    for stretch in range(max(1, int((end - start) // STRETCH_S))):
        begin = start + stretch * stretch_s
        found = [_phase(series, 1 / period_s, begin, begin + stretch_s) for series in flat]
        phases = [phase for phase in found if phase is not None]
        if len(phases) >= 2:
            lengths.append(abs(sum(phases)) / len(phases))
            counts.append(len(phases))
    if not lengths:
        raise SeriesError(
            "NO_COMMON_TIME", f"{len(nodes)} nodes share no {stretch_s:.0f} s of samples"
        )
    unrelated = math.fsum(math.sqrt(math.pi / (4 * n)) for n in counts) / len(counts)
    return Coherence(math.fsum(lengths) / len(lengths), len(nodes), len(lengths), unrelated)
