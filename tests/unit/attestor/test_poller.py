"""The pollers: one thread asks all, and one more for each source that has not come back once."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from attestor.bell import Bell
from attestor.channels import NODE, Reading
from attestor.poller import Polling
from attestor.sampler import NodeSampler
from attestor.sources.interface import Batch, Source, SourceDescription, Telemetry
from statements.clock import SystemClock

WINDOW = 60_000
DESCRIPTION = SourceDescription(
    telemetry=Telemetry.LIVE,
    chips=(),
    node_channels=frozenset({"wall_w"}),
    driver=None,
    boot_id=bytes(16),
    sample_ms=10,
    poll_ms=10,
)


class Wall:
    """A meter that answers at once, unless it is told to hang; it notes which threads asked it."""

    description = DESCRIPTION

    def __init__(self) -> None:
        self.well = threading.Event()
        self.well.set()
        self.reads = 0
        self.asked_by: list[int] = []

    def read(self, now_ms: int) -> Batch:
        self.asked_by.append(threading.get_ident())
        self.well.wait()
        self.reads += 1
        return Batch([Reading(now_ms, NODE, {"wall_w": 4_000.0})])

    def close(self) -> None:
        pass


@pytest.fixture
def walls() -> Iterator[list[Wall]]:
    made = [Wall() for _ in range(4)]
    yield made
    for wall in made:
        wall.well.set()


def as_source(wall: Wall) -> Callable[[], Source]:
    return lambda: wall


@pytest.fixture
def polling(walls: list[Wall]) -> Iterator[Polling]:
    """Two nodes of two sources each."""
    nodes = [
        NodeSampler(name, [(f"{name}{at}", as_source(wall)) for at, wall in enumerate(own)], WINDOW)
        for name, own in (("a", walls[:2]), ("b", walls[2:]))
    ]
    found = Polling(nodes, SystemClock(), Bell(), window_ms=WINDOW)
    found.start()
    yield found
    found.stop()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def go_on(polling: Polling, *walls: Wall) -> None:
    """Wait until each of the sources was read five times more, giving up on those that hang."""
    before = [wall.reads for wall in walls]

    def is_over() -> bool:
        polling.give_up_on(0.5)
        return all(wall.reads >= was + 5 for wall, was in zip(walls, before, strict=True))

    wait_until(is_over)


def test_one_thread_asks_sources_that_all_come_back(polling: Polling, walls: list[Wall]) -> None:
    go_on(polling, *walls)
    assert len({ident for wall in walls for ident in wall.asked_by}) == 1


def test_a_source_that_hangs_keeps_the_thread_that_asked_it_and_another_asks_the_others(
    polling: Polling, walls: list[Wall]
) -> None:
    go_on(polling, *walls)
    walls[0].well.clear()
    with capture_logs() as told:
        go_on(polling, *walls[1:])
        go_on(polling, *walls[1:])
    assert [(line["reason"], line["source"]) for line in told] == [("SOURCE_HANGS", "a0")]
    stuck = walls[0].asked_by[-1]
    for wall in walls[1:]:
        wall.asked_by.clear()
    walls[0].well.set()
    go_on(polling, *walls)
    assert set(walls[0].asked_by) == {stuck}
    assert all(stuck not in wall.asked_by for wall in walls[1:]), "no source has two threads"


def test_whoever_hangs_the_last_source_is_read_and_no_thread_is_lost(
    polling: Polling, walls: list[Wall]
) -> None:
    for at in range(3):
        walls[at].well.clear()
        go_on(polling, *walls[at + 1 :])
    assert polling.is_alive
    for wall in walls:
        wall.well.set()
    go_on(polling, *walls)
    for wall in walls:
        wall.asked_by.clear()
    go_on(polling, *walls)
    threads = [set(wall.asked_by) for wall in walls]
    assert all(len(own) == 1 for own in threads)
    assert len(set.union(*threads)) == 4


def test_where_every_source_hangs_each_is_told_once_and_no_thread_is_begun_for_nothing(
    polling: Polling, walls: list[Wall]
) -> None:
    go_on(polling, *walls)
    with capture_logs() as told:
        for wall in walls:
            wall.well.clear()

        def is_told() -> bool:
            polling.give_up_on(0.5)
            return len(told) == len(walls)

        wait_until(is_told)
        before = threading.active_count()
        polling.give_up_on(0.0)
        assert threading.active_count() == before
    assert sorted(line["source"] for line in told) == ["a0", "a1", "b0", "b1"]
    assert {line["reason"] for line in told} == {"SOURCE_HANGS"}


def test_the_bell_rings_once_sources_were_asked_at_the_instant_given(walls: list[Wall]) -> None:
    clock, bell = SystemClock(), Bell()
    node = NodeSampler("n", [("wall", as_source(walls[0]))], WINDOW)
    polling = Polling([node], clock, bell, window_ms=WINDOW)
    polling.ring_at_ms = clock.now_ms() + 200
    polling.start()
    bell.wait(10.0)
    assert clock.now_ms() >= polling.ring_at_ms
    assert node.through_ms >= polling.ring_at_ms
    polling.stop()
