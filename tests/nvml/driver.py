"""Builds the stand-in driver, and flattens recordings into what it reads."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

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
    with RecordingReader(recording) as reader, out.open("w") as file:
        file.write(f"chips {len(reader.header.chips)}\n")
        for row, chip in enumerate(reader.header.chips):
            file.write(f"chip {row} {chip.uuid} {chip.model}\n")
        for reading in reader:
            if reading.chip >= 0:
                values = [
                    round(reading.values[name] * factor) if name in reading.values else -1
                    for name, factor in CHANNELS
                ]
                cells = " ".join(map(str, (reading.time_ms, reading.chip, *values)))
                file.write(f"row {cells}\n")
