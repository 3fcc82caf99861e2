"""A source that reads a stand-in for NVIDIA's driver, in a process of its own: the library is loaded once in each."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from attestor.channels import Reading
from attestor.recording import RecordedChip, RecordingHeader, RecordingWriter
from tests.nvml.driver import flatten

SCRIPT = """
import ctypes, json, sys
from pathlib import Path
from attestor.errors import SourceError
from attestor.sources.nvml import NvmlSource

try:
    source = NvmlSource(
        period_ms=100, kept_samples=len(sys.argv) == 3, boot_id_path=Path(sys.argv[1])
    )
except SourceError as error:
    try:
        left = ctypes.CDLL("libnvidia-ml.so.1").fake_initialised()
    except (OSError, AttributeError):
        left = 0
    print(json.dumps({"reason": error.reason, "message": str(error), "left_open": left}))
    sys.exit()
driver = ctypes.CDLL("libnvidia-ml.so.1")
at_first = [sorted(c.channels) for c in source.description.chips]
batches = []
for at in json.loads(sys.argv[2]):
    driver.fake_set_time_ms(ctypes.c_longlong(at))
    try:
        batch = source.read(1_000_000 + at)
    except SourceError as error:
        batches.append({"reason": error.reason, "message": str(error)})
        continue
    batches.append({
        "readings": [[r.time_ms, r.chip, dict(r.values)] for r in batch.readings],
        "failed": list(batch.failed),
        "poll_ms": source.description.poll_ms,
        "offered": [sorted(c.channels) for c in source.description.chips],
        "partitioned": [c.partitioned for c in source.description.chips],
        "allocated": driver.fake_gpm_allocated(),
    })
description = source.description
print(json.dumps({
    "chips": [
        [c.uuid, c.model, c.power_limit_w, c.max_sm_clock_mhz, c.memory_bytes, c.partitioned,
         c.firmware, sorted(c.channels)]
        for c in description.chips
    ],
    "driver": description.driver,
    "boot_id": description.boot_id.hex(),
    "at_first": at_first,
    "batches": batches,
}))
source.close()
source.close()
assert driver.fake_initialised() == 0
assert (driver.fake_gpm_allocated(), driver.fake_gpm_leaked()) == (0, 0)
"""

Probe = Callable[..., Any]


@pytest.fixture
def probe(driver: Path, record: Callable[..., Path], tmp_path: Path, root: Path) -> Probe:
    """Open NVML in a process of its own, and read at the replay times given; ``asked``: of the driver's environment."""

    def run(
        *times: object,
        library: Path | None = driver,
        fail: str = "",
        recording: Path | None = None,
        boot_id: str = "01234567-89ab-cdef-0123-456789abcdef\n",
        script: str = SCRIPT,
        polled: bool = False,
        asked: Mapping[str, str] | None = None,
    ) -> Any:  # what the script prints
        flatten(recording or record(chips=2, seconds=10), tmp_path / "flat")
        boot = tmp_path / "boot_id"
        boot.write_text(boot_id)
        environment = {
            **{name: os.environ[name] for name in os.environ if name != "LD_LIBRARY_PATH"},
            "PYTHONPATH": str(root),
            "FAKE_NVML_DATA": str(tmp_path / "flat"),
            "FAKE_NVML_FAIL": fail,
            **(asked or {}),
        }
        if library is not None:
            environment["LD_LIBRARY_PATH"] = str(library)
        done = subprocess.run(
            [sys.executable, "-c", script, str(boot), json.dumps(times), *["polled"] * polled],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


PERIOD_MS = 100
SHARES = {
    "sm_active": (2, 0.9),
    "tensor_active": (5, 0.8),
    "hmma_active": (7, 0.7),
    "imma_active": (9, 0.2),
    "dmma_active": (6, 0.1),
    "fp16_active": (13, 0.05),
    "fp32_active": (12, 0.3),
    "fp64_active": (11, 0.15),
    "dram_active": (10, 0.6),
}
"""The activity channels: the number of each one's metric, and its share of a lively chip's activity."""
THROTTLES = ("throttle_power", "throttle_thermal", "throttle_idle")
BYTES = ("pcie_tx_bytes", "pcie_rx_bytes", "nvlink_tx_bytes", "nvlink_rx_bytes")
PROFILED = frozenset(SHARES) | frozenset(THROTTLES) | frozenset(BYTES)


def lively(at_ms: int, row: int = 0) -> dict[str, float]:
    """Return what a chip reads that is never still: activity that leaps, and moves with the clock's slow wave."""
    tick = at_ms // PERIOD_MS
    wave = abs(tick % 50 - 25) / 25
    busy = (wave + (tick * 37 + row * 11) % 97 / 100) / 2
    chance = random.Random(tick * 64 + row)
    return {
        "power_w": 100 + (tick * 7 + row) % 601,
        "energy_mj": 1_000_000 + 300 * at_ms,
        "utilisation": (tick + row) % 101 / 100,
        "sm_clock_mhz": 400 + round(1_500 * wave),
        **{name: round(busy * factor, 6) for name, (_, factor) in SHARES.items()},
        **{name: float(chance.random() < 0.3) for name in THROTTLES},
        **{name: (place + 1) * 1024 * at_ms for place, name in enumerate(BYTES)},
    }


def active(name: str, since_ms: int, until_ms: int, row: int = 0) -> float:
    """Return the share of a lively chip's cycles between two instants in which a channel was active."""
    cycles = busy = 0.0
    for at in range(since_ms, until_ms):
        values = lively(at - at % PERIOD_MS, row)
        cycles += values["sm_clock_mhz"]
        busy += values["sm_clock_mhz"] * values[name]
    return busy / cycles


def _header(chips: int) -> RecordingHeader:
    return RecordingHeader(
        telemetry="simulated",
        origin="made by the tests",
        licence="Apache-2.0",
        chips=tuple(RecordedChip(f"GPU-{row}", "NVIDIA H100 80GB HBM3") for row in range(chips)),
        driver="550.0",
        period_ms=PERIOD_MS,
    )


@pytest.fixture
def record_lively(tmp_path: Path) -> Callable[..., Path]:
    """Write a recording of lively chips: seconds, and the channels that each chip lacks."""

    def write(seconds: int, *lacking: frozenset[str]) -> Path:
        path = tmp_path / "lively.csv.gz"
        with RecordingWriter(path, _header(len(lacking)), sorted(lively(0))) as writer:
            for at in range(0, seconds * 1_000 + 1, PERIOD_MS):
                for row, lacks in enumerate(lacking):
                    values = {k: v for k, v in lively(at, row).items() if k not in lacks}
                    writer.write(Reading(at, row, values))
        return path

    return write
