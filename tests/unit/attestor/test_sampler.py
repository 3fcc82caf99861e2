"""The sampler: a source that fails costs its own readings, never the window."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from attestor.chain import Chain
from attestor.channels import NODE, Reading
from attestor.errors import SourceError
from attestor.node import Windows
from attestor.sampler import NodeSampler
from attestor.sources.interface import (
    Batch,
    ChipDescription,
    Source,
    SourceDescription,
    Telemetry,
)
from attestor.sources.replay import ReplaySource
from attestor.window import Span
from protos.stillwatch.statement.v1 import inventory_pb2, summary_pb2
from statements.author import NOTHING, Seen
from statements.body import decode_body
from statements.enrolment import MOST_CHIPS
from statements.features import COLUMN, MISSING_COUNTER, unpack_rows
from statements.header import decode_header
from statements.kinds import Kind
from statements.signing import SigningKey

WINDOW = 60_000
AT = 1_800_000_000_000


class Wall:
    """A meter of the node's wall that can be made to fail."""

    def __init__(self, telemetry: Telemetry = Telemetry.LIVE, chip: str = "GPU-1") -> None:
        self.fault: Exception | None = None
        self.closed = False
        self.description = SourceDescription(
            telemetry=telemetry,
            chips=(ChipDescription(chip, None, frozenset()),),
            node_channels=frozenset({"wall_w"}),
            driver=None,
            boot_id=b"w" * 16,
            sample_ms=10_000,
            poll_ms=10_000,
        )

    def read(self, now_ms: int) -> Batch:
        if self.fault is not None:
            raise self.fault
        return Batch([Reading(now_ms, NODE, {"wall_w": 4_000.0})])

    def close(self) -> None:
        self.closed = True


def windows(*sources: tuple[str, Callable[[], Source]]) -> Windows:
    chain = Chain(
        SigningKey.generate(), origin="log", agreement=bytes(32), software="test", draw=bytes
    )
    chain.begin(NOTHING)
    return Windows.begin(NodeSampler("n", sources, WINDOW), chain, window_ms=WINDOW, now_ms=AT)


def run(node: Windows, until_ms: int) -> None:
    now = AT
    while now <= until_ms:
        due = node.sampler.poll(now)
        while node.is_due(now, 0.0, 1.0):
            node.close_one()
        now = due


def contents(node: Windows, kind: Kind) -> list[bytes]:
    said = node.chain.sign(0, Seen(), node.life)
    return [
        decode_body(statement.stored)
        for _, statement in said
        if decode_header(statement.header).kind == kind
    ]


def summaries(node: Windows) -> list[summary_pb2.WorkloadSummary]:
    return [
        summary_pb2.WorkloadSummary.FromString(content) for content in contents(node, Kind.SUMMARY)
    ]


def test_a_source_that_leads_is_asked_just_before_each_multiple_of_its_period() -> None:
    wall = Wall()
    wall.description = replace(wall.description, poll_ms=1_000, lead_ms=50)
    sampler = NodeSampler("n", [("wall", lambda: wall)], WINDOW)
    asked = [AT]
    while len(asked) < 5:
        asked.append(sampler.poll(asked[-1]))
    assert [at - AT for at in asked] == [0, 950, 1_950, 2_950, 3_950]
    assert sampler.poll(AT + 3_949) == AT + 3_950, "a poller that wakes too early asks again"
    assert sampler.poll(AT + 3_957) == AT + 4_950, "one that wakes late does not fall behind"


def test_two_sources_share_a_window_and_a_chip_they_both_know_is_one_row(
    record: Callable[..., Path],
) -> None:
    path = record(chips=2, seconds=60)
    node = windows(("replay", lambda: ReplaySource(path, at_ms=AT)), ("wall", Wall))
    run(node, AT + WINDOW)
    (summary,) = summaries(node)
    (inventory,) = contents(node, Kind.INVENTORY)
    assert [c.uuid for c in inventory_pb2.Inventory.FromString(inventory).chips] == [
        "GPU-0",
        "GPU-1",
    ]
    assert summary.samples_expected == 180 + 6
    assert summary.samples_taken == 180 + 6
    assert node.life.telemetry is Telemetry.SIMULATED
    assert summary.energy_end_mj[0] - summary.energy_start_mj[0] == 300 * WINDOW


@pytest.mark.parametrize("fault", [SourceError("GONE", "the meter is gone"), RuntimeError("a bug")])
def test_a_source_that_fails_costs_its_own_readings_and_is_named(
    record: Callable[..., Path], fault: Exception
) -> None:
    path = record(chips=2, seconds=120)
    wall = Wall()
    node = windows(("replay", lambda: ReplaySource(path, at_ms=AT)), ("wall", lambda: wall))
    run(node, AT + WINDOW)
    wall.fault = fault
    run(node, AT + 2 * WINDOW)
    first, second = summaries(node)
    assert list(first.failed_sources) == []
    assert list(second.failed_sources) == ["wall"]
    assert second.power.chips
    assert len(second.energy_end_mj) == 2


def test_a_source_that_cannot_be_opened_is_tried_again_and_the_inventory_restated(
    record: Callable[..., Path],
) -> None:
    path = record(chips=2, seconds=180)
    tries: list[int] = []

    def open_late() -> Source:
        tries.append(1)
        if len(tries) < 3:
            raise SourceError("DRIVER_FAILED", "not yet")
        return ReplaySource(path, at_ms=AT)

    node = windows(("late", open_late))
    run(node, AT + 3 * WINDOW)
    inventories = [inventory_pb2.Inventory.FromString(c) for c in contents(node, Kind.INVENTORY)]
    assert [len(inventory.chips) for inventory in inventories] == [0, 2]
    found = summaries(node)
    assert [list(s.failed_sources) for s in found] == [["late"], [], []]
    assert [s.samples_taken for s in found] == [0, 180, 180]


def test_a_source_that_can_never_work_is_not_tried_again(tmp_path: Path) -> None:
    tries: list[int] = []

    def never() -> Source:
        tries.append(1)
        return ReplaySource(tmp_path / "absent", at_ms=AT)

    node = windows(("replay", never))
    run(node, AT + 3 * WINDOW)
    assert len(tries) == 1
    assert [list(s.failed_sources) for s in summaries(node)] == [["replay"]] * 3


def test_a_window_does_not_wait_for_ever_for_a_source_that_hangs() -> None:
    node = windows(("wall", Wall))
    node.sampler.poll(AT)
    end = AT + WINDOW
    assert not node.is_due(end - 1, 100.0, 2.0)
    assert not node.is_due(end, 100.0, 2.0)
    assert not node.is_due(end, 101.9, 2.0)
    assert node.is_due(end, 102.0, 2.0)
    node.close_one()
    (summary,) = summaries(node)
    assert list(summary.failed_sources) == ["wall"]
    assert summary.samples_taken == 1


def test_readings_after_the_end_wait_for_their_window() -> None:
    sampler = NodeSampler("n", [("wall", Wall)], WINDOW)
    for at in range(AT, AT + 90_000, 10_000):
        sampler.poll(at)
    first = sampler.collect(Span(AT, AT + WINDOW)).readings
    second = sampler.collect(Span(AT + WINDOW, AT + 2 * WINDOW)).readings
    assert first[-1].time_ms == second[0].time_ms == AT + WINDOW
    assert len(second) == 3


def test_a_source_that_opens_late_gives_nobody_elses_readings_to_its_chips(
    record: Callable[..., Path],
) -> None:
    path = record(chips=2, seconds=180)
    tries: list[int] = []

    def late() -> Source:
        tries.append(1)
        if len(tries) == 1:
            raise SourceError("DRIVER_FAILED", "not yet")
        return Wall(chip="GPU-A")

    # The late source comes first, so that its chip takes row 0 and the other rows move.
    node = windows(("late", late), ("replay", lambda: ReplaySource(path, at_ms=AT)))
    run(node, AT + 2 * WINDOW)
    first, second = summaries(node)
    (content,) = contents(node, Kind.INVENTORY)
    uuids = [chip.uuid for chip in inventory_pb2.Inventory.FromString(content).chips]
    assert uuids == ["GPU-A", "GPU-0", "GPU-1"]
    after = [MISSING_COUNTER, 1_000_000 + 300 * WINDOW, 1_000_000 + 310 * WINDOW]
    # The readings at the very start were taken while GPU-0 was row 0.
    assert list(first.energy_start_mj) == [MISSING_COUNTER, 1_000_000, 1_000_000]
    assert list(first.energy_end_mj) == list(second.energy_start_mj) == after


def test_counters_follow_their_chip_when_its_row_moves(record: Callable[..., Path]) -> None:
    path = record(chips=1, seconds=240)
    tries: list[int] = []

    def late() -> Source:
        tries.append(1)
        if len(tries) < 3:
            raise SourceError("DRIVER_FAILED", "not yet")
        return Wall(chip="GPU-A")

    node = windows(("late", late), ("replay", lambda: ReplaySource(path, at_ms=AT)))
    run(node, AT + 2 * WINDOW)
    first, second = summaries(node)
    assert list(first.energy_end_mj) == [1_000_000 + 300 * WINDOW]
    assert list(second.energy_start_mj) == [MISSING_COUNTER, 1_000_000 + 300 * WINDOW]


def test_a_source_that_is_down_does_not_take_its_chips_out_of_the_node() -> None:
    first, second = Wall(chip="GPU-A"), Wall(chip="GPU-B")
    node = windows(("first", lambda: first), ("second", lambda: second))
    run(node, AT + WINDOW)
    first.fault = second.fault = SourceError("GONE", "unplugged")
    run(node, AT + 2 * WINDOW)
    second.fault = None
    run(node, AT + 3 * WINDOW)
    assert [chip.uuid for chip in node.sampler.equipment.chips] == ["GPU-A", "GPU-B"]
    assert len(contents(node, Kind.INVENTORY)) == 1


def test_while_the_clock_is_behind_nothing_is_read_twice_and_it_is_said() -> None:
    sampler = NodeSampler("n", [("wall", Wall)], WINDOW)
    sampler.poll(AT)
    with capture_logs() as told:
        for at in (AT - 5_000, AT - 1_000, AT):
            sampler.poll(at)
    assert [line["reason"] for line in told] == ["CLOCK_BACKWARDS"]
    assert sampler.through_ms == AT
    sampler.poll(AT + 10_000)
    found = sampler.collect(Span(AT, AT + WINDOW))
    assert [reading.time_ms for reading in found.readings] == [AT, AT + 10_000]


def live(node: Windows, start_ms: int, minutes: int) -> None:
    """Do what an agent does, on a clock that goes on from an instant."""
    for now in range(start_ms, start_ms + minutes * WINDOW + 1, 5_000):
        node.follow(now)
        node.sampler.poll(now)
        for _ in range(60):
            if not node.is_due(now, 0.0, 1.0):
                break
            node.close_one()


def starts(node: Windows) -> list[int]:
    said = node.chain.sign(0, Seen(), node.life)
    found = [decode_header(statement.header) for _, statement in said]
    return [header.start_ms for header in found if header.kind == Kind.SUMMARY]


YEARS = 10 * 365 * 86_400_000


def test_a_clock_that_is_set_ahead_by_years_has_not_each_window_of_them_said() -> None:
    """As of a machine whose clock has no battery, until it knows the time."""
    node = windows(("wall", Wall))
    live(node, AT, 2)
    with capture_logs() as told:
        live(node, AT + YEARS, 3)
    assert [line["reason"] for line in told] == ["CLOCK_SET"]
    said = starts(node)
    assert said[:2] == [AT, AT + WINDOW]
    assert said[-2:] == [AT + YEARS + WINDOW, AT + YEARS + 2 * WINDOW]
    assert len(said) <= 2 + 60 + 3


def test_a_clock_that_was_years_ahead_for_a_moment_costs_no_more_than_that_moment() -> None:
    node = windows(("wall", Wall))
    live(node, AT, 2)
    live(node, AT + YEARS, 2)
    with capture_logs() as told:
        live(node, AT + 3 * WINDOW, 4)
    assert {line["reason"] for line in told} == {"CLOCK_BACKWARDS", "CLOCK_SET"}
    last = summaries(node)[-3:]
    assert starts(node)[-3:] == [AT + at * WINDOW for at in (4, 5, 6)]
    assert [(one.samples_taken, one.node.wall_covered_ms) for one in last] == [(6, WINDOW)] * 3


def test_a_machine_that_hung_for_weeks_says_what_it_read_before() -> None:
    node = windows(("wall", Wall))
    for at in range(10):
        node.sampler.poll(AT + at * WINDOW)
    live(node, AT + YEARS, 2)
    said = starts(node)
    assert said[:10] == [AT + at * WINDOW for at in range(10)]
    assert said[-1] == AT + YEARS + WINDOW


class Many(Wall):
    """As many chips as a node may hold, each with its power and energy."""

    def __init__(self) -> None:
        super().__init__()
        channels = frozenset({"power_w", "energy_mj"})
        chips = tuple(ChipDescription(f"GPU-{row}", None, channels) for row in range(MOST_CHIPS))
        self.description = replace(self.description, chips=chips)

    def read(self, now_ms: int) -> Batch:
        values = {"power_w": 300.0, "energy_mj": 5.0}
        return Batch([Reading(now_ms, row, values) for row in range(MOST_CHIPS)])


def test_a_window_that_would_not_fit_into_a_body_is_said_without_its_power_series() -> None:
    node = windows(("many", Many))
    node.sampler.poll(AT)
    node.sampler.poll(AT + WINDOW)
    with capture_logs() as told:
        node.close_one()
    assert [line["reason"] for line in told] == ["BODY_TOO_LARGE"]
    (summary,) = summaries(node)
    assert not summary.HasField("power")
    assert unpack_rows(summary.chip_features, MOST_CHIPS)[-1][COLUMN["power_mean"]] == 300
    assert summary.samples_taken == MOST_CHIPS
