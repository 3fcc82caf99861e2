"""A driver for a machine without one: plays a made-up recording of one chip. It supports no claim about chips."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from attestor.channels import Reading
from attestor.recording import RecordedChip, RecordingHeader, RecordingReader, RecordingWriter
from tests.nvml.driver import build, flatten

MODEL: Final = "FAKE H100, no chip at all"
ORIGIN: Final = "a fake driver: no chip was read, and nothing follows for any"
_PERIOD_MS: Final = 100
_SECONDS: Final = 900
_CONSTANT: Final = {
    "utilisation": 0.97,
    "sm_active": 0.9,
    "tensor_active": 0.5,
    "hmma_active": 0.5,
    "imma_active": 0.0,
    "dmma_active": 0.0,
    "fp16_active": 0.01,
    "fp32_active": 0.1,
    "fp64_active": 0.0,
    "dram_active": 0.4,
    "sm_clock_mhz": 1755.0,
    "temperature_c": 55.0,
    "memory_used_bytes": 40e9,
    "processes": 1.0,
    "throttle_power": 0.0,
    "throttle_thermal": 0.0,
    "throttle_idle": 0.0,
}
"""What the chip that is not there says of itself all the time."""
_A_SECOND: Final = {
    "pcie_tx_bytes": 2e6,
    "pcie_rx_bytes": 3e6,
    "nvlink_tx_bytes": 0.0,
    "nvlink_rx_bytes": 0.0,
}
"""By how much its counters rise in a second."""


def _readings() -> Iterator[Reading]:
    energy_mj = 1_000_000.0
    for at_ms in range(0, _SECONDS * 1000, _PERIOD_MS):
        power_w = 400.0 + 200.0 * math.sin(at_ms / 3_000)
        energy_mj += power_w * _PERIOD_MS
        counters = {name: rate * at_ms / 1000 for name, rate in _A_SECOND.items()}
        values = {**_CONSTANT, **counters, "power_w": power_w, "energy_mj": round(energy_mj)}
        yield Reading(at_ms, 0, values)


def fake_driver(folder: Path) -> dict[str, str]:
    """Build the driver in ``folder``; return the environment variables by which processes find it."""
    library = build(folder)
    recording, flat = folder / "made-up.csv.gz", folder / "made-up.txt"
    header = RecordingHeader(
        telemetry="simulated",
        origin=ORIGIN,
        licence="CC0-1.0",
        chips=(RecordedChip("GPU-fake-0", MODEL),),
        driver="",
        period_ms=_PERIOD_MS,
    )
    channels = (*_CONSTANT, *_A_SECOND, "power_w", "energy_mj")
    with RecordingWriter(recording, header, channels) as writer:
        for reading in _readings():
            writer.write(reading)
    flatten(recording, flat)
    return {"LD_LIBRARY_PATH": str(library.parent), "FAKE_NVML_DATA": str(flat)}


def confess(recording: Path) -> None:
    """Have a recording of the fake driver say that it is simulated: the recorder took the driver at its word."""
    honest = recording.with_name(f"honest-{recording.name}")
    with RecordingReader(recording) as reader:
        header = replace(reader.header, telemetry="simulated")
        with RecordingWriter(honest, header, reader.channels) as writer:
            for reading in reader:
                writer.write(reading)
    honest.replace(recording)
