"""Activity by GPM: what two samples tell, what is refused, and that samples are freed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.nvml.driver import build
from tests.unit.attestor.nvml_probe import PROFILED, SHARES, THROTTLES, Probe, active

INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, LOST, UNKNOWN = 2, 3, 4, 15, 999
ALL: frozenset[str] = frozenset()
RecordLively = Callable[..., Path]
SECONDS = range(0, 6_000, 1_000)
FETCHED = (*range(0, 11_000, 1_000), 10_950, 11_950, 12_950)


def shares(reading: list[object]) -> dict[str, float]:
    values = reading[2]
    assert isinstance(values, dict)
    return {name: value for name, value in values.items() if name in SHARES}


def test_activity_is_the_share_of_the_cycles_since_the_reading_before(
    probe: Probe, record_lively: RecordLively
) -> None:
    first, second, third = probe(0, 1_000, 1_730, recording=record_lively(5, ALL, ALL))["batches"]
    assert [shares(reading) for reading in first["readings"]] == [{}, {}]
    for batch, since, until in ((second, 0, 1_000), (third, 1_000, 1_730)):
        for time_ms, row, values in batch["readings"]:
            assert time_ms == 1_000_000 + until
            assert {name: values[name] for name in SHARES} == pytest.approx(
                {name: active(name, since, until, row) for name in SHARES}, abs=1e-9
            )


def test_a_chip_that_is_polled_oftener_is_compared_every_two_periods(
    probe: Probe, record_lively: RecordLively
) -> None:
    batches = probe(*range(0, 2_000, 100), recording=record_lively(3, ALL), polled=True)["batches"]
    told = {
        time_ms - 1_000_000: values["tensor_active"]
        for batch in batches
        for time_ms, _, values in batch["readings"]
        if "tensor_active" in values
    }
    assert list(told) == list(range(200, 2_000, 200))
    for at, value in told.items():
        assert value == pytest.approx(active("tensor_active", at - 200, at), abs=1e-9)


def test_no_two_samples_are_compared_that_lie_too_near_each_other(
    probe: Probe, record_lively: RecordLively
) -> None:
    times = (0, 190, 390, 410, 560, 600)
    batches = probe(*times, recording=record_lively(3, ALL), polled=True)["batches"]
    told = {
        at: shares(batch["readings"][0]).get("tensor_active")
        for at, batch in zip(times, batches, strict=True)
    }
    since = {390: 0, 560: 390}
    for at, value in told.items():
        assert (value is not None) == (at in since)
        if value is not None:
            assert value == pytest.approx(active("tensor_active", since[at], at), abs=1e-9)
    assert not any(batch["failed"] for batch in batches)


def test_where_samples_are_fetched_activity_is_read_once_a_second_and_no_reading_is_added(
    probe: Probe, record_lively: RecordLively
) -> None:
    *_, before, last = probe(*FETCHED, recording=record_lively(15, ALL, ALL))["batches"]
    for batch, until in ((before, 11_950), (last, 12_950)):
        assert batch["poll_ms"] == 1_000
        assert len(batch["readings"]) == 2 * 10
        told = [reading for reading in batch["readings"] if shares(reading)]
        assert [(time_ms, row) for time_ms, row, _ in told] == [
            (1_000_000 + until, 0),
            (1_000_000 + until, 1),
        ]
        for _, row, values in told:
            assert values["hmma_active"] == pytest.approx(
                active("hmma_active", until - 1_000, until, row), abs=1e-9
            )


@pytest.mark.parametrize("name", SHARES)
def test_a_metric_that_fails_is_missing_and_the_others_are_read(
    probe: Probe, record_lively: RecordLively, name: str
) -> None:
    found = probe(
        *(0, 1_000, 2_000),
        recording=record_lively(3, ALL, ALL),
        fail=f"metric-{SHARES[name][0]}:{UNKNOWN}:1:1500",
    )
    well, failing = found["batches"][1:]
    assert set(shares(well["readings"][1])) == set(SHARES)
    assert set(shares(failing["readings"][0])) == set(SHARES)
    assert set(shares(failing["readings"][1])) == set(SHARES) - {name}
    (line,) = failing["failed"]
    assert line.startswith(f"nvml: GPU-1 {name}: NVML error {UNKNOWN}")
    assert name in found["chips"][1][7], "it may come back"


@pytest.mark.parametrize("code", [INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION])
def test_a_metric_that_is_refused_for_good_is_no_longer_offered_nor_asked_for(
    probe: Probe, record_lively: RecordLively, code: int
) -> None:
    found = probe(
        *SECONDS,
        recording=record_lively(6, ALL, ALL),
        fail=f"metric-9:{UNKNOWN}:0:2500,metric-9:{code}:0",
    )
    assert "imma_active" in found["at_first"][0]
    assert "imma_active" not in found["chips"][0][7]
    assert "imma_active" in found["chips"][1][7]
    assert not any(batch["failed"] for batch in found["batches"])
    for batch in found["batches"][1:]:
        assert set(shares(batch["readings"][0])) == set(SHARES) - {"imma_active"}
        assert set(shares(batch["readings"][1])) == set(SHARES)


def test_a_chip_whose_metrics_are_all_refused_is_asked_for_none_and_its_samples_are_freed(
    probe: Probe, record_lively: RecordLively
) -> None:
    refused = ",".join(f"metric-{number}:{NOT_SUPPORTED}:0" for number, _ in SHARES.values())
    found = probe(*SECONDS, recording=record_lively(6, ALL, ALL), fail=refused)
    assert not set(found["chips"][0][7]) & set(SHARES)
    assert [batch["allocated"] for batch in found["batches"]] == [4, 4, 2, 2, 2, 2]
    assert not any(batch["failed"] for batch in found["batches"])


@pytest.mark.parametrize(
    ("told", "value"),
    [("nan", None), ("-1", None), ("101.5", None), ("inf", None), ("100.4", 1.0), ("0", 0.0)],
)
def test_what_is_no_share_is_missing_and_full_activity_may_come_out_as_a_little_more(
    probe: Probe, record_lively: RecordLively, told: str, value: float | None
) -> None:
    found = probe(
        *(0, 1_000),
        recording=record_lively(3, ALL),
        asked={"FAKE_NVML_TELL": f"metric-5:{told}"},
    )
    batch = found["batches"][1]
    assert shares(batch["readings"][0]).get("tensor_active") == value
    assert "hmma_active" in shares(batch["readings"][0])
    assert batch["failed"] == []


def test_a_chip_without_gpm_is_read_beside_one_that_has_it(
    probe: Probe, record_lively: RecordLively
) -> None:
    found = probe(*SECONDS, recording=record_lively(6, frozenset(SHARES), ALL))
    without, having = found["at_first"]
    assert set(having) - set(without) == set(SHARES)
    for batch in found["batches"][1:]:
        assert shares(batch["readings"][0]) == {}
        assert set(shares(batch["readings"][1])) == set(SHARES)
        assert (batch["allocated"], batch["failed"]) == (2, [])


def test_a_driver_without_gpm_offers_no_activity(
    probe: Probe, record_lively: RecordLively, tmp_path: Path
) -> None:
    found = probe(
        *(0, 1_000),
        recording=record_lively(3, ALL),
        library=build(tmp_path / "driver", ["GPM"]).parent,
    )
    assert set(found["chips"][0][7]) & PROFILED == PROFILED - set(SHARES)
    assert [batch["failed"] for batch in found["batches"]] == [[], []]


@pytest.mark.parametrize("function", ["nvmlGpmQueryDeviceSupport", "nvmlGpmSampleGet"])
@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION])
def test_gpm_that_is_refused_at_the_start_is_not_offered_and_no_failure(
    probe: Probe, record_lively: RecordLively, function: str, code: int
) -> None:
    found = probe(*(0, 1_000), recording=record_lively(3, ALL, ALL), fail=f"{function}:{code}:0")
    assert not set(found["at_first"][0]) & set(SHARES)
    assert set(SHARES) <= set(found["at_first"][1])
    assert [(batch["allocated"], batch["failed"]) for batch in found["batches"]] == [(2, [])] * 2


def test_gpm_that_fails_for_a_while_is_tried_again(
    probe: Probe, record_lively: RecordLively
) -> None:
    failing = f"nvmlGpmSampleGet:0:0:1500,nvmlGpmSampleGet:{UNKNOWN}:0"
    found = probe(0, 1_000, 2_000, 3_000, recording=record_lively(5, ALL), fail=failing)
    assert set(SHARES) <= set(found["at_first"][0])
    assert [len(batch["failed"]) for batch in found["batches"]] == [1, 1, 0, 0]
    assert "GPU-0" in found["batches"][0]["failed"][0]
    last = shares(found["batches"][3]["readings"][0])
    assert last["sm_active"] == pytest.approx(active("sm_active", 2_000, 3_000), abs=1e-9)
    assert shares(found["batches"][2]["readings"][0]) == {}


@pytest.mark.parametrize("function", ["nvmlGpmSampleGet", "nvmlGpmMetricsGet"])
def test_after_a_failure_the_next_reading_is_about_all_the_time_since(
    probe: Probe, record_lively: RecordLively, function: str
) -> None:
    failing = f"{function}:0:0:2500,{function}:{UNKNOWN}:0:1500"
    found = probe(0, 1_000, 2_000, 3_000, recording=record_lively(5, ALL), fail=failing)
    assert [len(batch["failed"]) for batch in found["batches"]] == [0, 0, 1, 0]
    assert shares(found["batches"][2]["readings"][0]) == {}
    last = shares(found["batches"][3]["readings"][0])
    assert last["sm_active"] == pytest.approx(active("sm_active", 1_000, 3_000), abs=1e-9)


def test_what_lies_too_far_apart_is_not_compared(probe: Probe, record_lively: RecordLively) -> None:
    times = (0, 1_000, 11_001, 12_000)
    batches = probe(*times, recording=record_lively(13, ALL), polled=True)["batches"]
    assert [bool(shares(batch["readings"][0])) for batch in batches] == [False, True, False, True]
    last = shares(batches[3]["readings"][0])
    assert last["sm_active"] == pytest.approx(active("sm_active", 11_001, 12_000), abs=1e-9)


def test_a_clock_that_was_wrong_before_is_followed(
    probe: Probe, record_lively: RecordLively
) -> None:
    times = (5_000, 6_000, 1_000, 2_000)
    batches = probe(*times, recording=record_lively(7, ALL), polled=True)["batches"]
    assert [bool(shares(batch["readings"][0])) for batch in batches] == [False, True, False, True]
    last = shares(batches[3]["readings"][0])
    assert last["sm_active"] == pytest.approx(active("sm_active", 1_000, 2_000), abs=1e-9)


def test_a_partitioned_chip_offers_no_activity_and_the_whole_one_beside_it_does(
    probe: Probe, record_lively: RecordLively
) -> None:
    found = probe(
        *SECONDS,
        recording=record_lively(6, ALL, ALL),
        asked={"FAKE_NVML_MIG": "0:0"},
    )
    assert [chip[5] for chip in found["chips"]] == [True, False]
    assert not set(found["at_first"][0]) & set(SHARES)
    for batch in found["batches"][1:]:
        assert shares(batch["readings"][0]) == {}
        assert set(shares(batch["readings"][1])) == set(SHARES)
        assert set(THROTTLES) <= set(batch["readings"][0][2])
        assert batch["failed"] == []


def test_a_chip_that_is_partitioned_meanwhile_tells_no_activity_until_it_is_whole_again(
    probe: Probe, record_lively: RecordLively
) -> None:
    found = probe(
        *SECONDS,
        recording=record_lively(6, ALL, ALL),
        asked={"FAKE_NVML_MIG": "0:1500:3500"},
    )
    batches = found["batches"]
    assert [bool(shares(batch["readings"][0])) for batch in batches] == [
        *(False, True, False, False, False, True)
    ]
    offered = [set(SHARES) <= set(batch["offered"][0]) for batch in batches]
    assert offered == [True, True, False, False, True, True]
    assert [batch["partitioned"][0] for batch in batches] == [not one for one in offered]
    last = shares(batches[5]["readings"][0])
    assert last["sm_active"] == pytest.approx(active("sm_active", 4_000, 5_000), abs=1e-9)
    assert not any(batch["failed"] for batch in batches)


def test_while_it_cannot_be_told_whether_a_chip_is_partitioned_it_tells_no_activity(
    probe: Probe, record_lively: RecordLively
) -> None:
    found = probe(
        *(0, 1_000, 2_000),
        recording=record_lively(3, ALL, ALL),
        fail=f"nvmlDeviceGetMigMode:{UNKNOWN}:0:1500",
    )
    *_, well, unsure = found["batches"]
    assert set(shares(well["readings"][0])) == set(SHARES)
    assert shares(unsure["readings"][0]) == {}
    assert set(shares(unsure["readings"][1])) == set(SHARES)
    assert unsure["failed"][0].startswith(f"nvml: GPU-0 activity: NVML error {UNKNOWN}")


def test_a_chip_that_cannot_be_partitioned_has_activity(
    probe: Probe, record_lively: RecordLively
) -> None:
    found = probe(
        *(0, 1_000),
        recording=record_lively(3, ALL),
        fail=f"nvmlDeviceGetMigMode:{NOT_SUPPORTED}",
    )
    assert found["chips"][0][5] is None
    assert set(shares(found["batches"][1]["readings"][0])) == set(SHARES)


@pytest.mark.parametrize(
    "fail",
    [f"*:{LOST}:1:1500", f"nvmlGpmSampleGet:{LOST}:1:1500", f"metric-2:{LOST}:1:1500"],
)
def test_a_chip_that_is_lost_costs_its_row_alone_and_its_samples_are_freed(
    probe: Probe, record_lively: RecordLively, fail: str
) -> None:
    found = probe(0, 1_000, 2_000, 3_000, recording=record_lively(5, ALL, ALL), fail=fail)
    assert [batch["allocated"] for batch in found["batches"]] == [4, 4, 2, 2]
    for batch in found["batches"][2:]:
        assert set(shares(batch["readings"][0])) == set(SHARES)
        (line,) = batch["failed"]
        assert "GPU-1 is lost" in line
    assert {reading[1] for reading in found["batches"][3]["readings"]} == {0}


def test_a_chip_that_is_lost_while_gpm_is_looked_for_leaves_no_sample_behind(
    probe: Probe, record_lively: RecordLively
) -> None:
    found = probe(0, recording=record_lively(3, ALL, ALL), fail=f"nvmlGpmSampleGet:{LOST}:0")
    assert [chip[0] for chip in found["chips"]] == ["GPU-1"]
    assert found["batches"][0]["allocated"] == 2


def test_samples_are_freed_before_the_library_is_opened_anew(
    probe: Probe, record_lively: RecordLively
) -> None:
    found = probe(
        *(0, 1_000, 2_000, 303_000),
        recording=record_lively(3, ALL, ALL),
        fail=f"nvmlDeviceGetPowerUsage:0:1:2500,nvmlDeviceGetPowerUsage:{LOST}:1:500",
        polled=True,
    )
    assert [batch["allocated"] for batch in found["batches"]] == [4, 2, 2, 4]
    assert {reading[1] for reading in found["batches"][3]["readings"]} == {0, 1}
