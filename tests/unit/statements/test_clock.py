import time

import pytest

from statements.clock import ScaledClock, SystemClock, parse_clock
from statements.errors import StatementError

REHEARSAL = "rehearsal.example/log"


def test_without_a_rehearsal_the_clock_is_the_systems() -> None:
    clock = parse_clock(None, "example/log")
    assert isinstance(clock, SystemClock)
    assert abs(clock.now_ms() - time.time() * 1_000) < 1_000
    clock.sleep(-1)


def test_a_scaled_clock_runs_from_its_anchor_at_its_rate() -> None:
    real = time.time_ns() // 1_000_000
    clock = ScaledClock(real - 1_000, 5_000_000, 60.0)
    assert 5_060_000 <= clock.now_ms() <= 5_120_000
    before = time.monotonic()
    clock.sleep(0.6)
    assert 0.009 <= time.monotonic() - before < 0.5
    assert parse_clock(str(clock), REHEARSAL) == clock


def test_only_rehearsals_may_scale_time() -> None:
    with pytest.raises(StatementError, match="rehearsal") as caught:
        parse_clock("0:0:60", "log.example/one")
    assert caught.value.reason == "SCALED_CLOCK"


@pytest.mark.parametrize(
    "text", ["", "1:2", "a:b:c", "0:0:0", "0:0:-1", "0:0:inf", "0:0:nan", "0:0:1e-300", "0:0:1e300"]
)
def test_a_clock_that_does_not_parse_is_refused(text: str) -> None:
    with pytest.raises(StatementError):
        parse_clock(text, REHEARSAL)
