"""The quantities that sources read, of chips and of the node.

A channel has one name and one unit everywhere: in recordings, in sources, in windows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from statements.features import MISSING_SLOT

NODE: Final = -1
"""The row of readings that are of the node itself rather than of a chip."""
MOST_SLOT_WATTS: Final = MISSING_SLOT - 1
"""The most that a slot of a power series can say."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One quantity.

    ``zero_is_missing``: no working device reads zero here, so that zero is a sentinel.
    ``at_most``: readings above it are sentinels. It is finite, so that every number fits its field.
    """

    name: str
    unit: str
    at_most: float
    zero_is_missing: bool = False


def _fraction(name: str) -> Channel:
    return Channel(name, "1", at_most=1.0)


def _counter(name: str) -> Channel:
    return Channel(name, "byte", at_most=2**63)


CHIP_CHANNELS: Final[tuple[Channel, ...]] = (
    Channel("power_w", "W", zero_is_missing=True, at_most=MOST_SLOT_WATTS),
    Channel("energy_mj", "mJ", zero_is_missing=True, at_most=2**63),
    Channel("temperature_c", "°C", zero_is_missing=True, at_most=250),
    _fraction("utilisation"),
    _fraction("sm_active"),
    _fraction("tensor_active"),
    _fraction("hmma_active"),
    _fraction("imma_active"),
    _fraction("dmma_active"),
    _fraction("fp16_active"),
    _fraction("fp32_active"),
    _fraction("fp64_active"),
    _fraction("dram_active"),
    Channel("sm_clock_mhz", "MHz", zero_is_missing=True, at_most=20_000),
    Channel("memory_used_bytes", "byte", at_most=2**62),
    _counter("pcie_tx_bytes"),
    _counter("pcie_rx_bytes"),
    _counter("nvlink_tx_bytes"),
    _counter("nvlink_rx_bytes"),
    _fraction("throttle_power"),
    _fraction("throttle_thermal"),
    _fraction("throttle_idle"),
    Channel("processes", "1", at_most=1_000_000),
)

NODE_CHANNELS: Final[tuple[Channel, ...]] = (
    Channel("wall_w", "W", zero_is_missing=True, at_most=10_000_000),
    Channel("wall_resolution_w", "W", zero_is_missing=True, at_most=10_000_000),
    Channel("cpu_energy_mj", "mJ", zero_is_missing=True, at_most=2**63),
    _counter("ib_tx_bytes"),
    _counter("ib_rx_bytes"),
    _counter("eth_tx_bytes"),
    _counter("eth_rx_bytes"),
)

CHANNELS: Final[Mapping[str, Channel]] = {
    channel.name: channel for channel in CHIP_CHANNELS + NODE_CHANNELS
}
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    channel.name: (
        math.nextafter(0.0, 1.0) if channel.zero_is_missing else 0.0,
        float(channel.at_most),
    )
    for channel in CHIP_CHANNELS + NODE_CHANNELS
}
"""The least and the most that a reading of each channel can be."""
CHIP_CHANNEL_NAMES: Final = frozenset(channel.name for channel in CHIP_CHANNELS)
NODE_CHANNEL_NAMES: Final = frozenset(channel.name for channel in NODE_CHANNELS)


class Reading(NamedTuple):
    """What one source read of one chip, or of the node, at one instant.

    ``time_ms`` is in Unix milliseconds, except inside a recording, where it counts from the
    recording's start. ``chip`` is the row of the chip, or NODE. ``values`` holds only what was
    read, by channel name: a missing channel is absent.
    """

    time_ms: int
    chip: int
    values: Mapping[str, float]


def clean(name: str, value: float) -> float | None:
    """Return ``value``, or None where it is a sentinel of channel ``name`` rather than a reading.

    Negative and non-finite values are sentinels of every channel.
    """
    least, most = BOUNDS[name]
    return value if least <= value <= most else None  # what is not a number is neither
