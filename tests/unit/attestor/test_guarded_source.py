"""The barrier around a source: what comes out of it is readings or words, whatever goes on inside."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from attestor.channels import NODE, Reading
from attestor.errors import SourceError
from attestor.guarded_source import GuardedSource, checked, verify_description
from attestor.sources.interface import (
    Batch,
    ChipDescription,
    Source,
    SourceDescription,
    Telemetry,
)
from statements.enrolment import MOST_CHIPS

DESCRIPTION = SourceDescription(
    telemetry=Telemetry.LIVE,
    chips=(ChipDescription("GPU-0", None, frozenset({"power_w"})),),
    node_channels=frozenset(),
    driver=None,
    boot_id=b"b" * 16,
    sample_ms=100,
    poll_ms=100,
)


class Driver:
    """A source that does what it is told, faults included."""

    def __init__(self) -> None:
        self.description = DESCRIPTION
        self.readings: Sequence[Reading] = [Reading(5, 0, {"power_w": 300.0})]
        self.fault: Exception | None = None
        self.closing: Exception | None = None
        self.closed = 0

    def read(self, now_ms: int) -> Batch:
        if self.fault is not None:
            raise self.fault
        return Batch(self.readings)

    def close(self) -> None:
        self.closed += 1
        if self.closing is not None:
            raise self.closing


def refuse() -> Source:
    raise OSError("the library cannot be loaded")


@pytest.mark.parametrize(
    "fault",
    [
        SourceError("GONE", "unplugged"),
        RuntimeError("a bug"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a name that is no text"),
        MemoryError(),
    ],
)
def test_whatever_a_driver_raises_becomes_one_line_and_no_reading(fault: Exception) -> None:
    driver = Driver()
    source = GuardedSource("nvml", lambda: driver)
    assert source.read(0).readings
    driver.fault = fault
    batch = source.read(1)
    assert not batch.readings
    (line,) = batch.failed
    assert line.startswith(("GONE: ", "UNEXPECTED: "))
    driver.fault = None
    assert source.read(2) == Batch([Reading(5, 0, {"power_w": 300.0})])


def test_a_source_that_cannot_even_be_closed_is_left_behind() -> None:
    driver = Driver()
    source = GuardedSource("nvml", lambda: driver)
    source.read(0)
    driver.fault = SourceError("GONE", "unplugged")
    driver.closing = OSError("nor can it be closed")
    assert source.read(1).failed == ("GONE: unplugged",)
    assert not source.is_open
    assert driver.closed == 1
    source.close()
    assert driver.closed == 1


def test_an_opener_that_raises_anything_is_told_and_tried_again() -> None:
    tries: list[int] = []

    def late() -> Source:
        tries.append(1)
        return Driver() if len(tries) > 1 else refuse()

    source = GuardedSource("nvml", late)
    (line,) = source.read(0).failed
    assert "the library cannot be loaded" in line
    assert source.read(1).readings


def test_a_permanent_fault_is_told_again_and_never_tried_again() -> None:
    tries: list[int] = []

    def never() -> Source:
        tries.append(1)
        raise SourceError("TRUNCATED", "cut short", permanent=True)

    source = GuardedSource("replay", never)
    assert [source.read(at).failed for at in range(3)] == [("TRUNCATED: cut short",)] * 3
    assert len(tries) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_a_number_that_is_none_is_missing_and_named_and_the_rest_of_the_row_is_read(
    value: float,
) -> None:
    batch = checked(Batch([Reading(5, 0, {"power_w": value, "temperature_c": 40.0})]), 1)
    assert batch.readings == [Reading(5, 0, {"temperature_c": 40.0})]
    assert batch.failed == ("IMPOSSIBLE_VALUE: power_w of row 0",)


def test_a_row_without_any_value_is_no_reading() -> None:
    empty = [Reading(5, 0, {}), Reading(5, 0, {"power_w": math.nan})]
    assert not checked(Batch(empty), 1).readings


def test_channels_and_chips_that_there_are_none_of_are_named_and_left_out() -> None:
    found = checked(
        Batch(
            [
                Reading(5, 1, {"power_w": 300.0}),
                Reading(5, -2, {"power_w": 300.0}),
                Reading(5, 0, {"wall_w": 300.0}),
                Reading(5, NODE, {"watts": 300.0}),
            ]
        ),
        1,
    )
    assert not found.readings
    assert found.failed == (
        "UNKNOWN_CHIP: row 1 of 1 chips",
        "UNKNOWN_CHIP: row -2 of 1 chips",
        "IMPOSSIBLE_VALUE: wall_w of row 0",
        "IMPOSSIBLE_VALUE: watts of row -1",
    )


def test_what_is_said_twice_in_a_batch_is_told_once() -> None:
    twice = [Reading(at, 0, {"power_w": math.nan}) for at in (1, 2)]
    assert checked(Batch(twice, ("a", "a")), 1).failed == (
        "a",
        "IMPOSSIBLE_VALUE: power_w of row 0",
    )


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        (replace(DESCRIPTION, chips=DESCRIPTION.chips * 2), "CHIP_TWICE"),
        (
            replace(
                DESCRIPTION,
                chips=tuple(
                    ChipDescription(str(row), None, frozenset()) for row in range(MOST_CHIPS + 1)
                ),
            ),
            "TOO_MANY_CHIPS",
        ),
        (replace(DESCRIPTION, boot_id=b""), "BAD_DESCRIPTION"),
        (replace(DESCRIPTION, driver="\ud800"), "BAD_DESCRIPTION"),
        (replace(DESCRIPTION, driver="d" * (1 << 20)), "BAD_DESCRIPTION"),
        (
            replace(DESCRIPTION, chips=(ChipDescription("\udc80", None, frozenset()),)),
            "BAD_DESCRIPTION",
        ),
        (replace(DESCRIPTION, sample_ms=0), "BAD_DESCRIPTION"),
    ],
)
def test_a_description_that_no_window_can_be_made_of_is_refused(
    description: SourceDescription, reason: str
) -> None:
    with pytest.raises(SourceError) as caught:
        verify_description(description)
    assert caught.value.reason == reason
    driver = Driver()
    driver.description = description
    assert GuardedSource("nvml", lambda: driver).read(0).failed[0].startswith(reason)
