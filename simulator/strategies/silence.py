"""Goes silent: once the pause binds, its agents stop, and its chips train on unseen."""

from simulator.strategies.interface import Calendar, Conduct
from simulator.world import Shift

_GRACE_S = 120


class Silence:
    """A party whose nodes stop reporting soon after entry into force."""

    name = "silence"
    does = "stops its agents two minutes into the pause, and trains on unseen"
    costs = (
        "it cannot be found compliant; past the cure period the coverage floor counts as violated"
    )
    seen_by = (
        "coverage: windows are missing. What its chips did meanwhile is bounded by peak x time only"
    )

    def conduct(self, calendar: Calendar) -> Conduct:
        """Return training of which the agents tell only the beginning."""
        return Conduct(
            (Shift(0, calendar.end_s, "training"),),
            reports_until_s=min(calendar.in_force_s + _GRACE_S, calendar.end_s),
        )
