"""Builds the stand-in driver, and flattens recordings into what it reads."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from attestor.channels import Reading
from attestor.recording import RecordingReader

SOURCE = Path(__file__).with_name("libnvidia_ml.c")
# Channel of a recording, and the factor to what NVML answers in.
CHANNELS = (
    ("power_w", 1000.0),
    ("energy_mj", 1.0),
    ("utilisation", 100.0),
    ("sm_clock_mhz", 1.0),
    ("memory_used_bytes", 1.0),
    ("temperature_c", 1.0),
    ("processes", 1.0),
)
# GPM's channels in millionths, in the driver's own order; of the bytes, those over NVLink are told in KiB.
GPM_CHANNELS = (
    "sm_active",
    "tensor_active",
    "hmma_active",
    "imma_active",
    "dmma_active",
    "fp16_active",
    "fp32_active",
    "fp64_active",
    "dram_active",
)
BYTE_CHANNELS = (
    ("pcie_tx_bytes", 1.0),
    ("pcie_rx_bytes", 1.0),
    ("nvlink_tx_bytes", 1 / 1024),
    ("nvlink_rx_bytes", 1 / 1024),
)
# What throttles, and one of the bits that NVML tells for it: a software power cap, a software slowdown, idleness.
REASONS = (("throttle_power", 0x4), ("throttle_thermal", 0x20), ("throttle_idle", 0x1))


def build(folder: Path, omit: Sequence[str] = ()) -> Path:
    """Compile the driver into ``folder`` without the symbols in ``omit``: any OMIT_… of the source."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(
        [
            "gcc",
            *("-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", "-Wall", "-Wextra", "-Werror"),
            *("-shared", "-fPIC"),
            *(f"-DOMIT_{name}" for name in omit),
            *("-o", str(library), str(SOURCE)),
        ],
        check=True,
    )
    return library


def flatten(recording: Path, out: Path) -> None:
    """Write what the driver reads of a recording: chips and their rows, -1 where missing."""
    columns = (*CHANNELS, *((name, 1e6) for name in GPM_CHANNELS))
    with RecordingReader(recording) as reader, out.open("w") as file:
        file.write(f"chips {len(reader.header.chips)}\n")
        for row, chip in enumerate(reader.header.chips):
            file.write(f"chip {row} {chip.uuid} {chip.model}\n")
        for reading in reader:
            if reading.chip >= 0:
                cells = [
                    reading.time_ms,
                    reading.chip,
                    *_cells(reading, columns),
                    _reasons(reading),
                    *_cells(reading, BYTE_CHANNELS),
                ]
                file.write(f"row {' '.join(map(str, cells))}\n")


def _cells(reading: Reading, columns: Sequence[tuple[str, float]]) -> list[int]:
    return [
        round(reading.values[name] * factor) if name in reading.values else -1
        for name, factor in columns
    ]


def _reasons(reading: Reading) -> int:
    if not any(name in reading.values for name, _ in REASONS):
        return -1
    return sum(bit for name, bit in REASONS if reading.values.get(name, 0) >= 0.5)
