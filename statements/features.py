"""Feature set 1: what a workload summary says of each chip and window.

A matrix has a row a chip and a column a feature: little-endian float32, NaN where the hardware does not say. Means,
deviations and shares are over the window, weighted by time. Activity is the share of cycles, 0 to 1, as NVIDIA's
profiling metrics (GPM, DCGM 1001-1016) define it.
"""

import array
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from statements.errors import FeatureError

FEATURE_SET = 1
MISSING = float("nan")
MISSING_COUNTER = 2**64 - 1
"""An absolute counter that was not read."""
MISSING_SLOT = 65_535
"""A slot of a power series in which there was no sample."""
TENSOR_BINS = (0.0, 0.05, 0.25, 0.5)
"""Lower edges of the four bins of the tensor activity histogram."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column: its name, its unit, and what it is."""

    name: str
    unit: str
    meaning: str


FEATURES: tuple[Feature, ...] = (
    Feature("power_mean", "W", "board power, mean"),
    Feature("power_max", "W", "board power, largest sample"),
    Feature("power_deviation", "W", "board power, standard deviation of samples"),
    Feature("temperature_mean", "degC", "GPU temperature, mean"),
    Feature("temperature_max", "degC", "GPU temperature, largest sample"),
    Feature("utilisation_mean", "1", "share of time in which any kernel ran; not how much it did"),
    Feature("sm_active_mean", "1", "share of cycles in which an SM had a warp, mean of SMs"),
    Feature("tensor_active_mean", "1", "any tensor pipe"),
    Feature("hmma_active_mean", "1", "16-bit (and TF32) tensor pipe"),
    Feature("imma_active_mean", "1", "integer (and FP8) tensor pipe"),
    Feature("dmma_active_mean", "1", "FP64 tensor pipe"),
    Feature("fp16_active_mean", "1", "FP16 pipe"),
    Feature("fp32_active_mean", "1", "FP32 pipe"),
    Feature("fp64_active_mean", "1", "FP64 pipe"),
    Feature("dram_active_mean", "1", "memory interface"),
    Feature("tensor_bin_0", "1", "share of samples with tensor activity below 0.05"),
    Feature("tensor_bin_1", "1", "share of samples with tensor activity in [0.05, 0.25)"),
    Feature("tensor_bin_2", "1", "share of samples with tensor activity in [0.25, 0.5)"),
    Feature("tensor_bin_3", "1", "share of samples with tensor activity of 0.5 or more"),
    Feature("sm_clock_mean", "MHz", "SM clock, mean"),
    Feature("sm_clock_tensor_mean", "MHz", "SM clock, mean weighted by tensor activity"),
    Feature("memory_used_mean", "B", "memory in use, mean"),
    Feature("memory_used_max", "B", "memory in use, largest sample"),
    Feature("pcie_sent", "B", "PCIe bytes sent"),
    Feature("pcie_received", "B", "PCIe bytes received"),
    Feature("nvlink_sent", "B", "NVLink bytes sent"),
    Feature("nvlink_received", "B", "NVLink bytes received"),
    Feature("throttled_power", "1", "share of the window throttled for power"),
    Feature("throttled_heat", "1", "share of the window throttled for heat"),
    Feature("throttled_idle", "1", "share of the window at idle clocks"),
    Feature("processes_max", "1", "compute processes, most at once"),
)
WIDTH = len(FEATURES)
COLUMN = {feature.name: column for column, feature in enumerate(FEATURES)}
"""The column of each feature, by name."""


def pack_rows(rows: Sequence[Sequence[float]]) -> bytes:
    """Return the matrix of one row a chip, each of :data:`WIDTH` values.

    Raises :class:`FeatureError` when a row has another length.
    """
    matrix = array.array("f")
    for row in rows:
        if len(row) != WIDTH:
            raise FeatureError("FEATURE_WIDTH", f"a row has {WIDTH} features, this has {len(row)}")
        matrix.extend(row)
    if sys.byteorder == "big":
        matrix.byteswap()
    return matrix.tobytes()


def unpack_rows(data: bytes, chips: int) -> list[list[float]]:
    """Return one row a chip.

    Raises :class:`FeatureError` when the length is not that of ``chips`` rows.
    """
    if len(data) != 4 * WIDTH * chips:
        raise FeatureError(
            "FEATURE_WIDTH", f"{chips} chips need {4 * WIDTH * chips} bytes, this has {len(data)}"
        )
    matrix = array.array("f")
    matrix.frombytes(data)
    if sys.byteorder == "big":
        matrix.byteswap()
    return [list(matrix[row * WIDTH : (row + 1) * WIDTH]) for row in range(chips)]
