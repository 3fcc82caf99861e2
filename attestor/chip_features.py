"""One row of the feature matrix: what a window's samples say of one chip. Pure."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
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


def _weights(samples: Sequence[Sample], end_ms: int, hold_ms: int) -> list[int]:
    """Return how long each sample stands: until the next or the window's end, at most the hold."""
    ends = [time_ms for time_ms, _ in samples[1:]] + [end_ms]
    return [
        min(until - time_ms, hold_ms) for (time_ms, _), until in zip(samples, ends, strict=True)
    ]


def _mean(samples: Sequence[Sample], end_ms: int, hold_ms: int) -> float:
    if not samples:
        return math.nan
    weights = _weights(samples, end_ms, hold_ms)
    total = sum(weights)
    if not total:
        return samples[-1][1]
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


def _clock_under_tensor(samples: Samples) -> float:
    """Return the mean SM clock weighted by tensor activity, over instants at which both were read."""
    clocks = dict(samples.get("sm_clock_mhz", ()))
    both = [(clocks[at], active) for at, active in samples.get("tensor_active", ()) if at in clocks]
    total = sum(active for _, active in both)
    return sum(clock * active for clock, active in both) / total if total else math.nan


def chip_row(
    samples: Samples, end_ms: int, hold_ms: int, moved: Mapping[str, float]
) -> list[float]:
    """Return a chip's features in the order of the feature set, NaN where there is no sample.

    ``samples`` are the window's, by channel, in order of time; ``end_ms`` the window's end;
    ``hold_ms`` how long a sample may stand; ``moved`` what each cumulative counter grew by.
    """
    bins = _bins(samples.get("tensor_active", ()))
    compute: dict[str, Callable[[], float]] = {
        "power_deviation": lambda: _deviation(samples.get("power_w", ())),
        "sm_clock_tensor_mean": lambda: _clock_under_tensor(samples),
    }
    row: list[float] = []
    for feature in FEATURES:
        name = feature.name
        if name in _MEANS:
            row.append(_mean(samples.get(_MEANS[name], ()), end_ms, hold_ms))
        elif name in _LARGEST:
            row.append(_largest(samples.get(_LARGEST[name], ())))
        elif name in _MOVED:
            row.append(moved.get(_MOVED[name], math.nan))
        elif name.startswith("tensor_bin_"):
            row.append(bins[int(name.removeprefix("tensor_bin_"))])
        else:
            row.append(compute[name]())
    return row
