"""Keeps the pause: trains until the wind-down begins, and idles from then on."""

from simulator.strategies.interface import Calendar, Conduct
from simulator.world import Shift


class Honest:
    """A party that keeps its word."""

    name = "honest"
    does = "trains until the wind-down begins, then leaves its chips idle and keeps reporting"
    costs = "the training that it forgoes"
    seen_by = (
        "nothing should fire; the training cap is kept, as far as the party's own counters are true"
    )

    def conduct(self, calendar: Calendar) -> Conduct:
        """Return training, then idling."""
        return Conduct(
            (
                Shift(0, calendar.wind_down_s, "training"),
                Shift(calendar.wind_down_s, calendar.end_s, "idle"),
            )
        )
