"""How much of the machine others used while a bench ran: a figure from a busy machine is no figure."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_STAT: Final = Path("/proc/stat")
_IDLE: Final = (3, 4)
"""Which columns of the first line of /proc/stat are time in which a core had nothing to do (proc(5))."""
_GUEST: Final = 8
"""From this column on, time is counted before already."""


def _busy_s() -> float:
    """Return the seconds that all cores were busy since the machine started."""
    ticks = [int(value) for value in _STAT.read_text().split("\n", 1)[0].split()[1:]]
    busy = sum(value for at, value in enumerate(ticks[:_GUEST]) if at not in _IDLE)
    return busy / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Started when it is made; children count as our own once they ended and were waited for."""

    began: float = field(default_factory=time.monotonic)
    busy_s: float = field(default_factory=_busy_s)
    own_s: float = field(default_factory=_own_s)

    def others(self) -> float:
        """Return the share of all cores' time since the start that was not ours, 0 to 1."""
        all_s = (time.monotonic() - self.began) * (os.cpu_count() or 1)
        theirs = (_busy_s() - self.busy_s) - (_own_s() - self.own_s)
        return min(1.0, max(0.0, theirs / all_s))
