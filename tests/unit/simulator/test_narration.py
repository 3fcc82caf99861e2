import io
import re

from simulator.demo.expectations import Expectations
from simulator.demo.narration import Narration, clock_text, rfc3339


class Stopped:
    def now_ms(self) -> int:
        return 1_780_315_200_000

    def sleep(self, seconds: float) -> None:
        raise AssertionError


def test_without_a_terminal_the_story_is_plain_lines() -> None:
    stream = io.StringIO()
    with Narration(stream) as narration:
        narration.chapter("A pause")
        narration.say("before the clock runs")
        narration.clock = Stopped()
        narration.waiting("for nothing", 0.5)
        narration.say("aurora idles (simulated)")
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().splitlines() == [
        "",
        "A pause",
        "            before the clock runs",
        "  12:00:00  aurora idles (simulated)",
    ]


def test_times_are_utc_and_keep_milliseconds_only_where_there_are_any() -> None:
    assert clock_text(1_780_315_200_000) == "12:00:00"
    assert rfc3339(1_780_315_200_000) == "2026-06-01T12:00:00Z"
    assert rfc3339(1_780_315_200_250) == "2026-06-01T12:00:00.250Z"


def test_a_missed_expectation_is_told_and_remembered() -> None:
    stream = io.StringIO()
    with Narration(stream) as narration:
        expectations = Expectations(narration)
        expectations.expect("the honest lab is compliant", met=True, found="compliant")
        expectations.expect("no lift before the ruling", met=False, found="lifting")
    assert [missed.promise for missed in expectations.missed] == ["no lift before the ruling"]
    assert re.search("NOT AS TOLD: no lift before the ruling; found: lifting", stream.getvalue())
