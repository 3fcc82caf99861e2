"""One row of the feature matrix: what a window's samples say of one chip. Pure."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from statements.features import FEATURES, TENSOR_BINS

Sample = tuple[int, float]
Samples = Mapping[str, Sequence[Sample]]

_MEANS: Final = {
    "power_mean": "power_w",
    "temperature_mean": "temperature_c",
    "utilisation_mean": "utilisation",
    "sm_active_mean": "sm_active",
    "tensor_active_mean": "tensor_active",
    "hmma_active_mean": "hmma_active",
    "imma_active_mean": "imma_active",
    "dmma_active_mean": "dmma_active",
    "fp16_active_mean": "fp16_active",
    "fp32_active_mean": "fp32_active",
    "fp64_active_mean": "fp64_active",
    "dram_active_mean": "dram_active",
    "sm_clock_mean": "sm_clock_mhz",
    "memory_used_mean": "memory_used_bytes",
    "throttled_power": "throttle_power",
    "throttled_heat": "throttle_thermal",
    "throttled_idle": "throttle_idle",
}
_LARGEST: Final = {
    "power_max": "power_w",
    "temperature_max": "temperature_c",
    "memory_used_max": "memory_used_bytes",
    "processes_max": "processes",
}
_MOVED: Final = {
    "pcie_sent": "pcie_tx_bytes",
    "pcie_received": "pcie_rx_bytes",
    "nvlink_sent": "nvlink_tx_bytes",
    "nvlink_received": "nvlink_rx_bytes",
}


_EXCLUDES: Final = frozenset(
    channel
    for channel in _MEANS.values()
    if channel.endswith("_active") or channel in {"utilisation", "sm_clock_mhz"}
) - {"dram_active"}
"""The channels by which an auditor excludes that a chip did more."""
_ABOUT_BEFORE: Final = "_active"
"""How channels end whose samples are about the time before them: GPM, and whoever averages counters."""


def _weights(times: Sequence[int], edge_ms: int, hold_ms: int) -> list[int]:
    """Return how long each sample stands, ms: until the next, at most the hold.

    The last stands until the edge of the window, or as long as the one before it where that is more: the next sample
    is not known here.
    """
    if not times:
        return []
    apart = [after - before for before, after in pairwise(times)]
    last = max(edge_ms - times[-1], *apart[-1:], 1)
    return [min(one, hold_ms) for one in (*apart, last)]


def _weights_before(times: Sequence[int], edge_ms: int, hold_ms: int) -> list[int]:
    """Return how long before it each sample is about: the same, backwards from the window's start."""
    mirrored = [-time_ms for time_ms in reversed(times)]
    return _weights(mirrored, -edge_ms, hold_ms)[::-1]


def _mean(samples: Sequence[Sample], weights: Sequence[int]) -> float:
    if not samples:
        return math.nan
    total = sum(weights)
    return sum(weight * value for weight, (_, value) in zip(weights, samples, strict=True)) / total


def _largest(samples: Sequence[Sample]) -> float:
    return max((value for _, value in samples), default=math.nan)


def _deviation(samples: Sequence[Sample]) -> float:
    if not samples:
        return math.nan
    mean = math.fsum(value for _, value in samples) / len(samples)
    return math.sqrt(math.fsum((value - mean) ** 2 for _, value in samples) / len(samples))


def _bins(samples: Sequence[Sample]) -> list[float]:
    if not samples:
        return [math.nan] * len(TENSOR_BINS)
    counts = [0] * len(TENSOR_BINS)
    for _, value in samples:
        counts[bisect_right(TENSOR_BINS, value) - 1] += 1
    return [count / len(samples) for count in counts]


def _clock_under_tensor(samples: Samples, weights: Sequence[int]) -> float:
    """Return the mean SM clock weighted by tensor activity: each sample with the mean clock of the time it is about.

    Activity is a share of cycles: with the mean clock of the same time it gives the cycles, whatever happened within.
    Activity in whose time no clock was read does not count.
    """
    clocks = samples.get("sm_clock_mhz", ())
    times = [time_ms for time_ms, _ in clocks]
    total = weighed = 0.0
    for weight, (at_ms, active) in zip(weights, samples.get("tensor_active", ()), strict=True):
        until = bisect_right(times, at_ms)
        since = bisect_right(times, at_ms - weight, hi=until)
        if until > since:
            clock = sum(clock for _, clock in clocks[since:until]) / (until - since)
            total += weight * active
            weighed += weight * active * clock
    return weighed / total if total else math.nan


def chip_row(
    samples: Samples, window: tuple[int, int], hold_ms: int, moved: Mapping[str, float]
) -> tuple[list[float], float]:
    """Return a chip's features in the order of the feature set, NaN where there is no sample; and what they speak of.

    That is the least share of the window, 0 to 1, that the samples of a channel stand for by which an auditor excludes
    that the chip did more; 1 where there is no such channel, since nothing is excluded then.

    ``samples`` are the window's, by channel, in order of time; ``window`` its start and end, Unix milliseconds;
    ``hold_ms`` how long a sample may stand; ``moved`` what each cumulative counter grew by.
    """
    start_ms, end_ms = window
    weights: dict[str, list[int]] = {}
    for channel in {*_MEANS.values()} & samples.keys():
        times = [time_ms for time_ms, _ in samples[channel]]
        if channel.endswith(_ABOUT_BEFORE):
            weights[channel] = _weights_before(times, start_ms, hold_ms)
        else:
            weights[channel] = _weights(times, end_ms, hold_ms)
    bins = _bins(samples.get("tensor_active", ()))
    compute: dict[str, Callable[[], float]] = {
        "power_deviation": lambda: _deviation(samples.get("power_w", ())),
        "sm_clock_tensor_mean": lambda: _clock_under_tensor(
            samples, weights.get("tensor_active", ())
        ),
    }
    row: list[float] = []
    for feature in FEATURES:
        name = feature.name
        if name in _MEANS:
            channel = _MEANS[name]
            row.append(_mean(samples.get(channel, ()), weights.get(channel, ())))
        elif name in _LARGEST:
            row.append(_largest(samples.get(_LARGEST[name], ())))
        elif name in _MOVED:
            row.append(moved.get(_MOVED[name], math.nan))
        elif name.startswith("tensor_bin_"):
            row.append(bins[int(name.removeprefix("tensor_bin_"))])
        else:
            row.append(compute[name]())
    spoken = [sum(weights[channel]) for channel in _EXCLUDES & weights.keys()]
    return row, min([1.0, *(of / (end_ms - start_ms) for of in spoken)])
