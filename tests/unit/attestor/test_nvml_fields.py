"""Bytes moved, and why clocks are held down: what a driver tells of several things at once."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pynvml
import pytest

from attestor.nvml.reasons import throttles
from tests.nvml.driver import build
from tests.unit.attestor.nvml_probe import BYTES, THROTTLES, Probe, lively

INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, LOST, UNKNOWN = 2, 3, 4, 15, 999
FIELDS = dict(zip(BYTES, (197, 198, 138, 139), strict=True))
ALL: frozenset[str] = frozenset()
RecordLively = Callable[..., Path]
SECONDS = (0, 1_000, 2_000, 3_000)


def told(reading: Sequence[object], names: Sequence[str]) -> dict[str, float]:
    values = reading[2]
    assert isinstance(values, dict)
    return {name: values[name] for name in names if name in values}


def recorded(at: int, row: int, names: Sequence[str]) -> dict[str, float]:
    values = lively(at, row)
    return {name: values[name] for name in names}


def test_bytes_moved_arrive_in_bytes_once_a_second(
    probe: Probe, record_lively: RecordLively
) -> None:
    times = (0, 100, 900, 1_000)
    batches = probe(*times, recording=record_lively(3, ALL, ALL), polled=True)["batches"]
    for at, batch in zip(times, batches, strict=True):
        for reading in batch["readings"]:
            expected = recorded(at, reading[1], BYTES) if at % 1_000 == 0 else {}
            assert told(reading, BYTES) == expected


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_fails_is_missing_and_the_others_are_read(
    probe: Probe, record_lively: RecordLively, name: str
) -> None:
    found = probe(
        *SECONDS,
        recording=record_lively(5, ALL, ALL),
        fail=f"field-{FIELDS[name]}:0:1:2500,field-{FIELDS[name]}:{UNKNOWN}:1:1500",
    )
    _, well, failing, again = found["batches"]
    assert set(told(well["readings"][1], BYTES)) == set(BYTES)
    assert set(told(failing["readings"][0], BYTES)) == set(BYTES)
    assert set(told(failing["readings"][1], BYTES)) == set(BYTES) - {name}
    (line,) = failing["failed"]
    assert line.startswith(f"nvml: GPU-1 {name}: NVML error {UNKNOWN}")
    assert told(again["readings"][1], BYTES) == recorded(3_000, 1, BYTES)
    assert name in found["chips"][1][7]


@pytest.mark.parametrize("code", [INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION])
def test_a_field_that_is_refused_at_the_start_is_not_offered_nor_asked_for(
    probe: Probe, record_lively: RecordLively, code: int
) -> None:
    found = probe(
        *SECONDS,
        recording=record_lively(5, ALL, ALL),
        fail=f"field-138:{UNKNOWN}:0:500,field-138:{code}:0",
    )
    assert set(found["at_first"][0]) & set(BYTES) == set(BYTES) - {"nvlink_tx_bytes"}
    assert set(BYTES) <= set(found["at_first"][1])
    for batch in found["batches"]:
        assert set(told(batch["readings"][0], BYTES)) == set(BYTES) - {"nvlink_tx_bytes"}
        assert batch["failed"] == []


def test_a_counter_of_32_bits_is_not_offered_since_it_goes_round_unseen(
    probe: Probe, record_lively: RecordLively
) -> None:
    found = probe(
        *SECONDS,
        recording=record_lively(5, ALL),
        asked={"FAKE_NVML_NARROW": "197,198"},
    )
    assert set(found["at_first"][0]) & set(BYTES) == {"nvlink_tx_bytes", "nvlink_rx_bytes"}
    for batch in found["batches"]:
        assert set(told(batch["readings"][0], BYTES)) == {"nvlink_tx_bytes", "nvlink_rx_bytes"}
        assert batch["failed"] == []


@pytest.mark.parametrize("value", ["-1", "1e19"])
def test_a_counter_that_cannot_be_is_missing(
    probe: Probe, record_lively: RecordLively, value: str
) -> None:
    found = probe(
        *(0, 1_000),
        recording=record_lively(3, ALL),
        asked={"FAKE_NVML_TELL": f"field-139:{value}"},
    )
    batch = found["batches"][1]
    assert set(told(batch["readings"][0], BYTES)) == set(BYTES) - {"nvlink_rx_bytes"}
    assert batch["failed"] == []


@pytest.mark.parametrize(
    ("omitted", "lacking"),
    [
        (["FIELDS"], BYTES),
        (["EVENT_REASONS"], ()),
        (["THROTTLE_REASONS"], ()),
        (["EVENT_REASONS", "THROTTLE_REASONS"], THROTTLES),
    ],
)
def test_a_driver_that_lacks_a_symbol_lacks_what_only_that_tells(
    probe: Probe,
    record_lively: RecordLively,
    tmp_path: Path,
    omitted: list[str],
    lacking: tuple[str, ...],
) -> None:
    found = probe(
        *(0, 1_000),
        recording=record_lively(3, ALL),
        library=build(tmp_path / "driver", omitted).parent,
    )
    names = (*BYTES, *THROTTLES)
    assert set(found["chips"][0][7]) & set(names) == set(names) - set(lacking)
    for at, batch in zip((0, 1_000), found["batches"], strict=True):
        there = [name for name in names if name not in lacking]
        assert told(batch["readings"][0], names) == recorded(at, 0, there)
        assert batch["failed"] == []


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION, UNKNOWN])
def test_fields_that_are_all_refused_are_not_offered_unless_it_is_for_a_while(
    probe: Probe, record_lively: RecordLively, code: int
) -> None:
    found = probe(
        *SECONDS,
        recording=record_lively(5, ALL),
        fail=f"nvmlDeviceGetFieldValues:0:0:1500,nvmlDeviceGetFieldValues:{code}:0",
    )
    for_good = code != UNKNOWN
    assert bool(set(found["at_first"][0]) & set(BYTES)) != for_good
    assert bool(told(found["batches"][3]["readings"][0], BYTES)) != for_good
    assert [len(batch["failed"]) for batch in found["batches"]] == [1 - for_good] * 2 + [0, 0]


def test_reasons_are_read_whenever_a_chip_is_polled(
    probe: Probe, record_lively: RecordLively
) -> None:
    times = range(0, 1_000, 100)
    batches = probe(*times, recording=record_lively(3, ALL, ALL), polled=True)["batches"]
    for at, batch in zip(times, batches, strict=True):
        for reading in batch["readings"]:
            assert told(reading, THROTTLES) == recorded(at, reading[1], THROTTLES)


def test_reasons_that_fail_cost_themselves_alone(probe: Probe, record_lively: RecordLively) -> None:
    found = probe(
        *(0, 1_000),
        recording=record_lively(3, ALL, ALL),
        fail=f"nvmlDeviceGetCurrentClocksEventReasons:{UNKNOWN}:1:500",
    )
    well, failing = found["batches"][1]["readings"]
    assert set(told(well, THROTTLES)) == set(THROTTLES)
    assert told(failing, THROTTLES) == {}
    assert set(told(failing, BYTES)) == set(BYTES)
    (line,) = found["batches"][1]["failed"]
    assert line.startswith(f"nvml: GPU-1 clock reasons: NVML error {UNKNOWN}")


@pytest.mark.parametrize(
    "fail",
    [
        f"field-197:{LOST}:1:500",
        f"nvmlDeviceGetFieldValues:{LOST}:1:500",
        f"nvmlDeviceGetCurrentClocksEventReasons:{LOST}:1:500",
    ],
)
def test_a_chip_that_is_lost_to_one_of_them_costs_its_row_alone(
    probe: Probe, record_lively: RecordLively, fail: str
) -> None:
    found = probe(*SECONDS, recording=record_lively(5, ALL, ALL), fail=fail)
    for batch in found["batches"][1:]:
        assert set(told(batch["readings"][0], BYTES)) == set(BYTES)
        (line,) = batch["failed"]
        assert "GPU-1 is lost" in line
    assert {reading[1] for reading in found["batches"][2]["readings"]} == {0}


@pytest.mark.parametrize("fail", [f"field-197:{LOST}:0", f"nvmlDeviceGetFieldValues:{LOST}:0"])
def test_a_chip_that_is_lost_while_they_are_tried_is_named_and_the_other_is_read(
    probe: Probe, record_lively: RecordLively, fail: str
) -> None:
    found = probe(0, recording=record_lively(3, ALL, ALL), fail=fail)
    assert [chip[0] for chip in found["chips"]] == ["GPU-1"]
    assert "index 0" in found["batches"][0]["failed"][0]


def test_a_chip_that_tells_none_of_them_offers_none(
    probe: Probe, record_lively: RecordLively
) -> None:
    lacking = frozenset((*BYTES, *THROTTLES))
    found = probe(*(0, 1_000), recording=record_lively(3, lacking, ALL))
    without, having = found["at_first"]
    assert set(having) - set(without) == lacking
    assert [batch["failed"] for batch in found["batches"]] == [[], []]


def test_reasons_that_are_a_sentinel_are_missing(probe: Probe, record_lively: RecordLively) -> None:
    found = probe(
        0, recording=record_lively(3, ALL), asked={"FAKE_NVML_TELL": "reasons:4294967295"}
    )
    assert told(found["batches"][0]["readings"][0], THROTTLES) == {}


SW_POWER, HW_SLOWDOWN, SW_THERMAL, HW_THERMAL, POWER_BRAKE, IDLE = 0x4, 0x8, 0x20, 0x40, 0x80, 0x1
POWER, THERMAL, WORK = THROTTLES


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (0, set()),
        (IDLE, {WORK}),
        (SW_POWER, {POWER}),
        (POWER_BRAKE | HW_SLOWDOWN, {POWER}),
        (HW_SLOWDOWN, {POWER}),
        (SW_THERMAL, {THERMAL}),
        (HW_THERMAL | HW_SLOWDOWN, {THERMAL}),
        (HW_THERMAL | HW_SLOWDOWN | POWER_BRAKE, {POWER, THERMAL}),
        (SW_THERMAL | HW_SLOWDOWN, {POWER, THERMAL}),
        (IDLE | SW_POWER | SW_THERMAL, {POWER, THERMAL, WORK}),
        (0x2 | 0x10 | 0x100 | 0x200 | 0x400, set()),
    ],
)
def test_each_reason_is_for_power_for_heat_or_for_want_of_work(bits: int, names: set[str]) -> None:
    assert throttles(bits) == {name: float(name in names) for name in THROTTLES}


def test_the_bits_are_those_of_nvidias_own_binding() -> None:
    assert [
        getattr(pynvml, f"nvmlClocksEventReason{name}")
        for name in (
            *("SwPowerCap", "HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown"),
            *("HwPowerBrakeSlowdown", "GpuIdle"),
        )
    ] == [SW_POWER, HW_SLOWDOWN, SW_THERMAL, HW_THERMAL, POWER_BRAKE, IDLE]


@pytest.mark.parametrize("bits", [2**64 - 1, 2**32 - 1])
def test_all_reasons_at_once_are_a_sentinel(bits: int) -> None:
    assert throttles(bits) == {}
