"""What a strategy is."""

from dataclasses import dataclass
from typing import Protocol

from simulator.world import Shift


@dataclass(frozen=True, slots=True)
class Calendar:
    """When stages begin, in seconds of the recordings: all chips start at 0 and stop at ``end_s``.

    ``wind_down_s``: new work may no longer be started; ``in_force_s``: the pause binds.
    """

    wind_down_s: int
    in_force_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class Conduct:
    """What a party's nodes do.

    ``told`` is what their drivers tell of it, where that is not the truth. ``reports_until_s``: when their agents are
    stopped; None: never.
    """

    shifts: tuple[Shift, ...]
    told: tuple[Shift, ...] | None = None
    reports_until_s: int | None = None


class Strategy(Protocol):
    """How a party behaves, and what becomes of it."""

    @property
    def name(self) -> str:
        """The name by which it is chosen."""
        ...

    @property
    def does(self) -> str:
        """What the party does, one line for people."""
        ...

    @property
    def costs(self) -> str:
        """What that costs the party."""
        ...

    @property
    def seen_by(self) -> str:
        """Which checks should see it, and what they leave open."""
        ...

    def conduct(self, calendar: Calendar) -> Conduct:
        """Return what the party's nodes do under ``calendar``."""
        ...
