"""Steps, as they end, into lines of a FLOP log: fast ones are merged, and pauses are lines of no operations."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.gpu.flop_log import Work
from tests.gpu.workloads.counts import NOTHING, Counts

SHORTEST_MS: Final = 100.0
"""A line is closed once it is this long: a tenth of the shortest window that anybody asks about."""
LONGEST_PAUSE_MS: Final = 1_000.0
"""Pauses are written in lines of at most this."""
_NO_PRECISION: Final = "fp32"
"""What a line of no operations is of."""
_RESOLUTION_MS: Final = 0.002
"""Two times are told apart in a log from here on: doubles of this size step by a quarter of a thousandth."""


@dataclass(slots=True)
class Lines:
    """Merges the steps of one chip. Times are Unix milliseconds, and never go back."""

    write: Callable[[Work], None]
    chip: int = 0
    _begin_ms: float = field(default=0.0)
    _end_ms: float = field(default=0.0)
    _counts: Counts | None = field(default=None)

    def step(self, begin_ms: float, end_ms: float, counts: Counts) -> None:
        """Add a step that ran from ``begin_ms`` until its kernels were done."""
        if self._counts is None:
            self._begin_ms, self._counts = begin_ms, NOTHING
        self._counts += counts
        self._end_ms = end_ms
        if end_ms - self._begin_ms >= SHORTEST_MS:
            self.cut()

    def pause(self, begin_ms: float, end_ms: float) -> None:
        """Add a time in which nothing was put to the chip."""
        self.cut()
        while end_ms - begin_ms >= _RESOLUTION_MS:
            until_ms = min(end_ms, begin_ms + LONGEST_PAUSE_MS)
            self.write(Work(begin_ms, until_ms, self.chip, _NO_PRECISION, 0.0, 0.0))
            begin_ms = until_ms

    def cut(self) -> None:
        """Close the line that is open, if one is."""
        counts, self._counts = self._counts, None
        if counts is None:
            return
        end_ms = max(self._end_ms, self._begin_ms + _RESOLUTION_MS)
        for precision, executed in counts.executed.items():
            useful = counts.useful.get(precision, 0)
            self.write(
                Work(self._begin_ms, end_ms, self.chip, precision, float(executed), float(useful))
            )
