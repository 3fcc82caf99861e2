"""Waiting on the rehearsal's clock, while watching that no process dies."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from simulator.demo.narration import Narrator, rfc3339
from simulator.demo.processes import Processes
from simulator.errors import StoryError
from statements.clock import Clock

_LOOK_S: Final = 0.05
"""Real time between two looks."""

T = TypeVar("T")


@dataclass(slots=True)
class Timeline:
    """The one clock of the demo. ``begins_ms`` and ``ends_ms`` are when the story is expected to begin and end."""

    clock: Clock
    processes: Processes
    narrator: Narrator
    begins_ms: int
    ends_ms: int

    def wait_until(self, instant_ms: int, what: str) -> None:
        """Wait until the clock shows ``instant_ms``."""
        while self.clock.now_ms() < instant_ms:
            self._look(what)

    def wait_for(self, look: Callable[[], T | None], what: str, *, by_ms: int) -> T:
        """Return what ``look`` gives once it gives something; raises StoryError if it has not by ``by_ms``."""
        while True:
            found = look()
            if found is not None:
                return found
            if self.clock.now_ms() > by_ms:
                raise StoryError(
                    "TOO_LATE",
                    f"{what}: it had not come by {rfc3339(by_ms)} of the rehearsal's clock; the machine may be too "
                    "slow for this rate",
                )
            self._look(what)

    def _look(self, what: str) -> None:
        self.processes.verify_alive()
        spent = self.clock.now_ms() - self.begins_ms
        self.narrator.waiting(what, min(1.0, max(0.0, spent / (self.ends_ms - self.begins_ms))))
        time.sleep(_LOOK_S)
