"""Time as processes see it: the system's, or a rehearsal's scaled one."""

import time
from dataclasses import dataclass
from typing import Protocol

from statements.errors import StatementError

REHEARSAL_PREFIX = "rehearsal."
"""Origins of logs that may run on a scaled clock begin with this."""
_SLOWEST, _FASTEST = 1e-3, 1e6


class Clock(Protocol):
    """What every process takes instead of the system's time."""

    def now_ms(self) -> int:
        """Return Unix milliseconds on this clock."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for that many seconds of this clock."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The system's clock."""

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        """Wait for that many seconds."""
        time.sleep(max(0.0, seconds))


@dataclass(frozen=True, slots=True)
class ScaledClock:
    """A clock that runs ``rate`` times as fast as the system's.

    At system time ``real_anchor_ms`` it shows ``clock_anchor_ms``. Processes that share these three numbers agree.
    """

    real_anchor_ms: int
    clock_anchor_ms: int
    rate: float

    def now_ms(self) -> int:
        """Return Unix milliseconds on this clock."""
        elapsed = time.time_ns() / 1_000_000 - self.real_anchor_ms
        return self.clock_anchor_ms + int(elapsed * self.rate)

    def sleep(self, seconds: float) -> None:
        """Wait for that many seconds of this clock."""
        time.sleep(max(0.0, seconds / self.rate))

    def __str__(self) -> str:
        return f"{self.real_anchor_ms}:{self.clock_anchor_ms}:{self.rate:g}"


def parse_clock(text: str | None, origin: str) -> Clock:
    """Return the clock that ``REAL_MS:CLOCK_MS:RATE`` names; the system's for ``None``.

    Raises :class:`StatementError` when the text does not parse, or when the log's ``origin`` is not a rehearsal's.
    """
    if text is None:
        return SystemClock()
    if not origin.startswith(REHEARSAL_PREFIX):
        raise StatementError(
            "SCALED_CLOCK",
            f"a scaled clock is only for logs whose origin begins with {REHEARSAL_PREFIX!r}, not {origin!r}",
        )
    try:
        real, clock, rate = text.split(":")
        scaled = ScaledClock(int(real), int(clock), float(rate))
    except ValueError:
        raise StatementError(
            "SCALED_CLOCK",
            f"not REAL_MS:CLOCK_MS:RATE, like 1700000000000:1700000000000:60: {text!r}",
        ) from None
    if not _SLOWEST <= scaled.rate <= _FASTEST:
        raise StatementError(
            "SCALED_CLOCK", f"the rate must be from {_SLOWEST:g} to {_FASTEST:g}, not {rate}"
        )
    return scaled
