"""What a window says of a chip that the stand-in driver replays, beside what was recorded."""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest

from attestor.channels import Reading
from attestor.window import Carried, Rig, Span, summarise
from statements.features import COLUMN, unpack_rows
from tests.unit.attestor.nvml_probe import (
    BYTES,
    PERIOD_MS,
    SHARES,
    THROTTLES,
    Probe,
    active,
    lively,
)

START, END = 20_000, 80_000
"""Of the replay; a million later is a window of the agent's clock."""
RECORDED = [lively(at) for at in range(START, END, PERIOD_MS)]
FETCHED = (*range(0, 11_000, 1_000), *range(10_950, END + 1_000, 1_000))
POLLED = range(START - 1_000, END + PERIOD_MS, PERIOD_MS)


@pytest.fixture(params=[FETCHED, POLLED], ids=["driver", "polled"])
def told(
    request: pytest.FixtureRequest, probe: Probe, record_lively: Callable[..., Path]
) -> dict[str, float]:
    """The features of a window of a minute, of samples that the driver kept and of samples that were asked for."""
    batches = probe(
        *request.param,
        recording=record_lively(END // 1_000 + 2, frozenset()),
        polled=request.param is POLLED,
    )["batches"]
    assert not any(batch["failed"] for batch in batches)
    readings = [Reading(*reading) for batch in batches for reading in batch["readings"]]
    span = Span(1_000_000 + START, 1_000_000 + END)
    summary, _ = summarise(
        span,
        Rig(bytes(32), 1, bytes(16), expected_per_s=1_000 / PERIOD_MS, sample_ms=PERIOD_MS),
        [reading for reading in readings if reading.time_ms >= span.start_ms],
        Carried().after(readings, span.start_ms),
    )
    assert (summary.samples_taken, summary.samples_expected) == (600, 600)
    row = unpack_rows(summary.chip_features, 1)[0]
    return {name: row[column] for name, column in COLUMN.items()}


def test_activity_is_what_was_recorded(
    told: dict[str, float], request: pytest.FixtureRequest
) -> None:
    apart = 1_000 if "driver" in request.node.name else 200
    for name in SHARES:
        recorded = fmean(active(name, at, at + apart) for at in range(START, END, apart))
        assert told[f"{name}_mean"] == pytest.approx(recorded, rel=0.005), name


def test_activity_and_the_clock_that_it_is_weighed_with_give_the_cycles(
    told: dict[str, float],
) -> None:
    recorded = fmean(values["tensor_active"] * values["sm_clock_mhz"] for values in RECORDED)
    cycles = told["tensor_active_mean"] * told["sm_clock_tensor_mean"]
    assert cycles == pytest.approx(recorded, rel=0.005)


def test_bytes_moved_are_what_was_recorded(told: dict[str, float]) -> None:
    features = ("pcie_sent", "pcie_received", "nvlink_sent", "nvlink_received")
    for name, feature in zip(BYTES, features, strict=True):
        assert told[feature] == lively(END)[name] - lively(START)[name]


def test_shares_of_throttling_are_what_was_recorded(
    told: dict[str, float], request: pytest.FixtureRequest
) -> None:
    """A share p of n samples strays by the root of p (1 - p) / n: three times that of 60, and nothing of all 600."""
    error = 3 * (0.3 * 0.7 / 60) ** 0.5 if "driver" in request.node.name else 1e-6
    features = ("throttled_power", "throttled_heat", "throttled_idle")
    for name, feature in zip(THROTTLES, features, strict=True):
        assert told[feature] == pytest.approx(fmean(v[name] for v in RECORDED), abs=error), name
