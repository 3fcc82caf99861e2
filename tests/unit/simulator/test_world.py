from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest

from attestor.recording import RecordingReader
from simulator.chip import H100
from simulator.errors import WorldError
from simulator.strategies.interface import Calendar
from simulator.strategies.registry import STRATEGIES, find_strategy
from simulator.world import (
    HOST_W,
    Node,
    Party,
    Shift,
    Site,
    World,
    record,
    verify_shifts,
    wall_energy,
)

NODE = Node("a-1", 2, H100)
PARTY = Party("lab-a", "honest", (Site("hall", (NODE, Node("a-2", 2, H100))),))
WORLD = World("seed", (PARTY,))
SHIFTS = (Shift(0, 60, "training"), Shift(60, 120, "idle"))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("first", "again", "other")]
    record(paths[0], WORLD, PARTY, NODE, SHIFTS)
    record(paths[1], WORLD, PARTY, NODE, SHIFTS)
    record(paths[2], World("another", (PARTY,)), PARTY, NODE, SHIFTS)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes() != paths[2].read_bytes()


def test_a_recording_is_what_an_agent_can_replay(tmp_path: Path) -> None:
    record(tmp_path / "r", WORLD, PARTY, NODE, SHIFTS)
    with RecordingReader(tmp_path / "r") as reader:
        assert reader.header.telemetry == "simulated"
        assert len(reader.header.chips) == NODE.chips
        readings = list(reader)
    assert len(readings) == 120 * 3
    assert readings[-1].time_ms == 119_000


def test_wall_power_is_the_chips_and_the_host(tmp_path: Path) -> None:
    record(tmp_path / "r", WORLD, PARTY, NODE, SHIFTS)
    with RecordingReader(tmp_path / "r") as reader:
        readings = list(reader)
    for first, second, wall in zip(readings[::3], readings[1::3], readings[2::3], strict=True):
        chips = first.values["power_w"] + second.values["power_w"]
        assert wall.values["wall_w"] == round(chips + HOST_W)


def test_counters_run_on_from_one_shift_to_the_next(tmp_path: Path) -> None:
    record(tmp_path / "r", WORLD, PARTY, NODE, SHIFTS)
    with RecordingReader(tmp_path / "r") as reader:
        chip = [reading.values for reading in reader if reading.chip == 0]
    steps = [b["energy_mj"] - a["energy_mj"] for a, b in pairwise(chip)]
    assert min(steps) > 0
    assert mean(steps[:59]) > 400_000
    assert mean(steps[60:]) < 100_000


@pytest.mark.parametrize(
    "shifts",
    [
        (),
        (Shift(5, 10, "idle"),),
        (Shift(0, 10, "idle"), Shift(11, 20, "idle")),
        (Shift(0, 10, "idle"), Shift(10, 10, "idle")),
    ],
)
def test_a_schedule_with_a_hole_is_refused(shifts: tuple[Shift, ...]) -> None:
    with pytest.raises(WorldError) as refused:
        verify_shifts(shifts)
    assert refused.value.reason == "BAD_SHIFTS"


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(WorldError) as refused:
        World("s", (Party("a", "honest", (Site("x", (NODE, NODE)),)),))
    assert refused.value.reason == "NAME_TWICE"


CALENDAR = Calendar(wind_down_s=300, in_force_s=420, end_s=1800)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_strategy_plans_the_whole_time_and_says_what_it_is(name: str) -> None:
    strategy = find_strategy(name)
    conduct = strategy.conduct(CALENDAR)
    verify_shifts(conduct.shifts)
    assert conduct.shifts[-1].end_s == CALENDAR.end_s
    assert strategy.does
    assert strategy.costs
    assert strategy.seen_by


def test_the_honest_idle_before_the_pause_binds() -> None:
    shifts = find_strategy("honest").conduct(CALENDAR).shifts
    at = [shift.workload for shift in shifts if shift.end_s > CALENDAR.in_force_s]
    assert at == ["idle"]


def test_open_training_reports_to_the_end_and_silence_does_not() -> None:
    assert find_strategy("open_training").conduct(CALENDAR).reports_until_s is None
    until = find_strategy("silence").conduct(CALENDAR).reports_until_s
    assert until is not None
    assert CALENDAR.in_force_s < until < CALENDAR.end_s


def test_an_unknown_strategy_is_refused_by_name() -> None:
    with pytest.raises(WorldError, match="bribery"):
        find_strategy("bribery")


def test_a_meter_counts_what_the_wall_reads_whether_it_is_recorded_or_not(tmp_path: Path) -> None:
    counted = record(tmp_path / "r", WORLD, PARTY, NODE, SHIFTS)
    assert counted == wall_energy(WORLD, PARTY, NODE, SHIFTS)
    with RecordingReader(tmp_path / "r") as reader:
        walls = [reading.values["wall_w"] for reading in reader if reading.chip < 0]
    assert [counted[0], len(counted)] == [0.0, 121]
    for step, wall in zip(pairwise(counted), walls, strict=True):
        assert step[1] - step[0] == pytest.approx(wall, abs=0.51)


def test_a_forgers_recording_is_that_of_idle_chips_and_its_meter_that_of_training(
    tmp_path: Path,
) -> None:
    conduct = find_strategy("forged_counters").conduct(Calendar(30, 60, 240))
    assert conduct.told is not None
    told = record(tmp_path / "r", WORLD, PARTY, NODE, conduct.told)
    true = wall_energy(WORLD, PARTY, NODE, conduct.shifts)
    assert true[-1] - true[60] > 1.3 * (told[-1] - told[60])
    with RecordingReader(tmp_path / "r") as reader:
        late = [r.values["utilisation"] for r in reader if r.chip >= 0 and r.time_ms > 31_000]
    assert max(late) == 0
