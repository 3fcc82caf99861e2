import io
import sys
from pathlib import Path

import pytest

from simulator.demo.narration import Narration
from simulator.demo.processes import Processes
from simulator.demo.timeline import Timeline
from simulator.errors import ProcessError, StoryError


class Ticking:
    """A clock that moves on by a second at each look."""

    def __init__(self) -> None:
        self.at_ms = 0

    def now_ms(self) -> int:
        self.at_ms += 1000
        return self.at_ms

    def sleep(self, seconds: float) -> None:
        raise AssertionError


def timeline(processes: Processes) -> Timeline:
    return Timeline(Ticking(), processes, Narration(io.StringIO()), 0, 60_000)


def test_what_does_not_come_in_time_ends_the_story_with_a_reason(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes, pytest.raises(StoryError) as caught:
        timeline(processes).wait_for(lambda: None, "a tick", by_ms=3_000)
    assert caught.value.reason == "TOO_LATE"
    assert "a tick" in str(caught.value)


def test_what_comes_is_given_back(tmp_path: Path) -> None:
    answers = iter([None, None, 7])
    with Processes(tmp_path) as processes:
        assert timeline(processes).wait_for(lambda: next(answers), "seven", by_ms=60_000) == 7


def test_a_process_that_dies_while_the_story_waits_ends_it(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start("child", [sys.executable, "-c", "print('so be it'); raise SystemExit(3)"])
        with pytest.raises(ProcessError, match="so be it") as caught:
            timeline(processes).wait_until(10**9, "for ever")
    assert caught.value.reason == "CHILD_DIED"
