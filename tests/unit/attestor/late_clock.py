"""A clock for agents under test, whose time begins when they do."""

import time

from statements.clock import ScaledClock

AT = 1_800_000_000_000
RATE = 600.0


class LateClock:
    """Stands still until it is first slept on, so that a slow start costs no window."""

    def __init__(self, at_ms: int = AT - 1_000) -> None:
        self._at_ms = at_ms
        self._running: ScaledClock | None = None

    def now_ms(self) -> int:
        return self._at_ms if self._running is None else self._running.now_ms()

    def sleep(self, seconds: float) -> None:
        if self._running is None:
            self._running = ScaledClock(time.time_ns() // 1_000_000, self._at_ms, RATE)
        self._running.sleep(seconds)
