"""The recorder: whatever order sources tell in, a recording goes forward; what comes too late is counted."""

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from attestor.bell import Bell
from attestor.channels import NODE, Reading
from attestor.equipment import Equipment, equip
from attestor.errors import RecordingError, SourceError
from attestor.recorder import PATIENCE_MS, RETRY_MS, Recorder, Said, header_of
from attestor.recording import RecordingReader
from attestor.sampler import NodeSampler
from attestor.sources.interface import (
    Batch,
    ChipDescription,
    Source,
    SourceDescription,
    Telemetry,
)
from statements.clock import SystemClock

SAID = Said("tests", "CC-BY-4.0", {"job": "idle", "chip_0_power_limit_w": "a guess"})
CHIPS = tuple(
    ChipDescription(
        f"GPU-{row}a",
        "H100",
        frozenset({"power_w"}),
        power_limit_w=650.5,
        memory_bytes=85_899_345_920,
    )
    for row in range(2)
)


def described(
    poll_ms: int, *, chips: Sequence[ChipDescription] = (), node: Sequence[str] = ()
) -> SourceDescription:
    return SourceDescription(
        telemetry=Telemetry.LIVE,
        chips=tuple(chips),
        node_channels=frozenset(node),
        driver="1" if chips else None,
        boot_id=bytes(16),
        sample_ms=100,
        poll_ms=poll_ms,
    )


class Fetched:
    """Chips of which a second's readings come at once, a chip after the other."""

    def __init__(self) -> None:
        self.description = described(1_000, chips=CHIPS)
        self.before_ms = 0
        self.well = threading.Event()
        self.well.set()

    def read(self, now_ms: int) -> Batch:
        self.well.wait()
        since = max(self.before_ms, now_ms - 1_000)
        self.before_ms = now_ms
        instants = range(now_ms - (now_ms - since) // 100 * 100 + 100, now_ms + 1, 100)
        rows = range(len(self.description.chips))
        return Batch([Reading(at, row, {"power_w": 300.0}) for row in rows for at in instants])

    def close(self) -> None:
        pass


def wall_reading(now_ms: int) -> Batch:
    return Batch([Reading(now_ms, NODE, {"wall_w": 4_000.0})])


class Wall:
    """A meter that is read ten times a second, or whatever else ``told`` says of an instant."""

    def __init__(self, told: Callable[[int], Batch] = wall_reading) -> None:
        self.description = described(100, node=["wall_w"])
        self._told = told

    def read(self, now_ms: int) -> Batch:
        return self._told(now_ms)

    def close(self) -> None:
        pass


def opener(source: Source) -> Callable[[], Source]:
    return lambda: source


def recorder(path: Path, *sources: Source) -> Recorder:
    clock = SystemClock()
    named = [(f"source {at}", opener(source)) for at, source in enumerate(sources)]
    sampler = NodeSampler("n", named, RETRY_MS)
    now_ms = clock.now_ms()
    sampler.poll(now_ms)
    return Recorder(sampler, clock=clock, bell=Bell(), path=path, said=SAID, started_ms=now_ms)


def seconds(length: float) -> Callable[[], float]:
    ends = time.monotonic() + length
    return lambda: max(0.0, ends - time.monotonic())


def rows_of(path: Path) -> list[Reading]:
    with RecordingReader(path) as reader:
        return list(reader)


@pytest.fixture
def fetched() -> Iterator[Fetched]:
    source = Fetched()
    yield source
    source.well.set()


def test_sources_that_tell_at_other_times_are_written_in_one_order_and_nothing_is_late(
    tmp_path: Path, fetched: Fetched
) -> None:
    path = tmp_path / "r.csv.gz"
    made = recorder(path, fetched, Wall())
    made.run(seconds(3.2))
    rows = rows_of(path)
    assert made.late == 0
    assert made.rows == len(rows)
    assert [row.time_ms for row in rows] == sorted(row.time_ms for row in rows)
    for chip in (NODE, 0, 1):
        times = [row.time_ms for row in rows if row.chip == chip]
        assert len(times) == len(set(times))
        assert len(times) >= 25, "of 32"
        assert times[-1] > 2_900, "a second's readings that come after its end are in it"
    assert rows[-1].time_ms <= made.ended_ms - made.started_ms


def test_a_source_that_hangs_keeps_back_the_others_for_a_while_and_then_no_more(
    tmp_path: Path, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attestor.recorder.PATIENCE_MS", 500)
    monkeypatch.setattr("attestor.recorder.HUNG_S", 0.3)
    path = tmp_path / "r.csv.gz"
    made = recorder(path, fetched, Wall())
    fetched.well.clear()
    ends = seconds(3.5)
    comes_back = seconds(2.5)

    def left() -> float:
        if not comes_back():
            fetched.well.set()
        return ends()

    made.run(left)
    rows = rows_of(path)
    assert PATIENCE_MS > 500
    assert made.late > 0, "what it read before the others went on is told as late"
    assert [row.time_ms for row in rows] == sorted(row.time_ms for row in rows)
    wall = [row.time_ms for row in rows if row.chip == NODE]
    assert max(after - before for before, after in pairwise(wall)) < 1_500
    assert any(row.chip == 0 and row.time_ms > 2_700 for row in rows)


def test_memory_does_not_grow_with_the_time_that_is_recorded(tmp_path: Path) -> None:
    chips = tuple(replace(CHIPS[0], uuid=f"GPU-{row}") for row in range(200))
    peaks = []

    def powers(now_ms: int) -> Batch:
        return Batch([Reading(now_ms, row, {"power_w": 300.0}) for row in range(200)])

    for length in (2.0, 8.0):
        wall = Wall(powers)
        wall.description = described(50, chips=chips)
        made = recorder(tmp_path / f"{length}.csv.gz", wall)
        tracemalloc.start()
        made.run(seconds(length))
        peaks.append(tracemalloc.get_traced_memory()[1] / 1_000)
        tracemalloc.stop()
        assert made.rows > length * 500
    assert peaks[1] < 2.5 * peaks[0], "four times as long"


def test_a_chip_that_was_not_there_at_the_start_is_not_in_the_recording_but_counted(
    tmp_path: Path, fetched: Fetched
) -> None:
    fetched.description = replace(fetched.description, chips=CHIPS[1:])
    path = tmp_path / "r.csv.gz"
    made = recorder(path, fetched)
    fetched.description = replace(fetched.description, chips=CHIPS)
    made.run(seconds(1.3))
    with RecordingReader(path) as reader:
        assert [chip.uuid for chip in reader.header.chips] == ["GPU-1a"]
        found = list(reader)
    assert {row.chip for row in found} == {0}
    assert made.late >= 8


def test_an_interval_of_failures_is_told_and_the_rest_recorded(tmp_path: Path) -> None:
    begun = time.monotonic()

    def read(now_ms: int) -> Batch:
        if 0.5 < time.monotonic() - begun < 1.0:
            raise SourceError("DOWN", "it is down")
        return wall_reading(now_ms)

    wall = Wall(read)
    path = tmp_path / "r.csv.gz"
    made = recorder(path, wall)
    made.run(seconds(3.0))
    assert made.failed == {"source 0"}
    times = [row.time_ms for row in rows_of(path)]
    assert any(time_ms < 500 for time_ms in times)
    assert any(time_ms > 2_500 for time_ms in times)


@pytest.mark.parametrize(
    ("telemetry", "said"),
    [
        (Telemetry.LIVE, "recorded"),
        (Telemetry.RECORDED, "recorded"),
        (Telemetry.SIMULATED, "simulated"),
    ],
)
def test_only_what_is_live_or_was_recorded_is_called_recorded(
    telemetry: Telemetry, said: str
) -> None:
    live, other = described(100, node=["wall_w"]), described(100, chips=CHIPS)
    mixed = equip([live, replace(other, telemetry=telemetry)])
    header = header_of(mixed, SAID, 1_800_000_000_123)
    assert header.telemetry == said
    assert ("started_unix_ms" in header.labels) == (telemetry is Telemetry.LIVE)


def test_labels_of_people_give_way_to_what_the_sources_know() -> None:
    header = header_of(equip([described(100, chips=CHIPS)]), SAID, 1_800_000_000_123)
    assert header.labels == {
        "job": "idle",
        "started": "2027-01-15T08:00:00.123Z",
        "started_unix_ms": "1800000000123",
        "chip_0_power_limit_w": "650.5",
        "chip_0_memory_bytes": "85899345920",
        "chip_1_power_limit_w": "650.5",
        "chip_1_memory_bytes": "85899345920",
    }
    hidden = header_of(
        equip([described(100, chips=CHIPS)]), replace(SAID, anonymise=True), 1_800_000_000_123
    )
    assert "a" not in "".join(chip.uuid for chip in hidden.chips)
    assert hidden.labels == header.labels


def test_a_poller_that_died_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetched: Fetched
) -> None:
    made = recorder(tmp_path / "r.csv.gz", fetched)
    monkeypatch.setattr(type(made._polling), "is_alive", False)
    with pytest.raises(RecordingError) as caught:
        made.run(seconds(5))
    assert caught.value.reason == "THREAD_DIED"
    assert (tmp_path / "r.csv.gz.part").exists()


def test_nothing_can_be_said_of_equipment_that_was_never_opened() -> None:
    with pytest.raises(AssertionError):
        header_of(Equipment(), SAID, 0)
