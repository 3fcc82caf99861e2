"""Recordings, clocks and drivers for the agent's tests."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from attestor.channels import Reading
from attestor.recording import RecordedChip, RecordingHeader, RecordingWriter
from tests.nvml.driver import build
from tests.unit.attestor.nvml_probe import probe, record_lively
from tests.unit.statements.conftest import ledger

__all__ = ["ledger", "probe", "record_lively"]  # fixtures of other modules

CHANNELS = (
    "power_w",
    "energy_mj",
    "utilisation",
    "sm_clock_mhz",
    "memory_used_bytes",
    "temperature_c",
    "processes",
    "wall_w",
)


def header(chips: int = 2, period_ms: int = 1000) -> RecordingHeader:
    return RecordingHeader(
        telemetry="simulated",
        origin="made by the tests",
        licence="Apache-2.0",
        chips=tuple(RecordedChip(f"GPU-{row}", "NVIDIA H100 80GB HBM3") for row in range(chips)),
        driver="550.0",
        period_ms=period_ms,
    )


def plain_readings(chips: int, seconds: int, period_ms: int = 1000) -> Iterable[Reading]:
    """Chips at 300 W + 10 W a row, counted exactly, beside a wall at 5 kW."""
    for time_ms in range(0, seconds * 1000 + 1, period_ms):
        for row in range(chips):
            watts = 300 + 10 * row
            yield Reading(
                time_ms,
                row,
                {
                    "power_w": watts,
                    "energy_mj": 1_000_000 + watts * time_ms,
                    "utilisation": 0.5,
                    "sm_clock_mhz": 1980,
                    "memory_used_bytes": 40_000_000_000,
                    "temperature_c": 55,
                    "processes": 1,
                },
            )
        yield Reading(time_ms, -1, {"wall_w": 5000})


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Write a plain recording: chips, seconds, period_ms."""

    def write(chips: int = 2, seconds: int = 120, period_ms: int = 1000) -> Path:
        path = tmp_path / f"recording-{chips}-{seconds}-{period_ms}.csv.gz"
        with RecordingWriter(path, header(chips, period_ms), CHANNELS) as writer:
            for reading in plain_readings(chips, seconds, period_ms):
                writer.write(reading)
        return path

    return write


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in driver, whole."""
    return build(tmp_path_factory.mktemp("driver")).parent


@pytest.fixture(scope="session")
def old_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stand-in driver that lacks the energy counter's symbol."""
    return build(tmp_path_factory.mktemp("old-driver"), ["ENERGY"]).parent
