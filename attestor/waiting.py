"""Waiting that somebody watches: a bar on stderr when that is a terminal."""

import sys
import time
from typing import Final

import click

from statements.clock import SystemClock

_STEP_S: Final = 0.2


class Bar:
    """A bar on stderr, where that is a terminal, that is full ``seconds`` after it was made."""

    def __init__(self, label: str, seconds: int) -> None:
        self._ends = time.monotonic() + seconds
        hidden = not sys.stderr.isatty()
        self._bar = click.progressbar(length=seconds, label=label, file=sys.stderr, hidden=hidden)

    def show(self) -> None:
        """Move it to where it is by now."""
        done = int(self._bar.length - (self._ends - time.monotonic())) if self._bar.length else 0
        if self._bar.length and done > self._bar.pos:
            self._bar.update(done - self._bar.pos)
            if self._bar.pos >= self._bar.length:
                self._bar.render_finish()


class WatchedClock:
    """The system's clock, whose sleeps move a bar that is full after ``seconds``."""

    def __init__(self, label: str, seconds: int) -> None:
        self._clock = SystemClock()
        self._bar = Bar(label, seconds)

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        return self._clock.now_ms()

    def sleep(self, seconds: float) -> None:
        """Wait for that many seconds."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._clock.sleep(min(left, _STEP_S))
            self._bar.show()
