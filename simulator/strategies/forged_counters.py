"""Forges its counters: trains through the pause, while a false driver tells its agents of idle chips."""

from simulator.strategies.interface import Calendar, Conduct
from simulator.world import Shift


class ForgedCounters:
    """A party whose nodes report what chips that keep the pause would."""

    name = "forged_counters"
    does = "trains on through the pause, and has a false driver report idle chips"
    costs = "a driver that forges every channel alike; whoever meters its site sees the energy"
    seen_by = (
        "nothing that rests on its own counters: under that trust it is compliant, and the verdict says what it "
        "trusted. A meter that others hold leaves its cap unresolved"
    )

    def conduct(self, calendar: Calendar) -> Conduct:
        """Return training without end, told as an honest party's shifts."""
        return Conduct(
            (Shift(0, calendar.end_s, "training"),),
            told=(
                Shift(0, calendar.wind_down_s, "training"),
                Shift(calendar.wind_down_s, calendar.end_s, "idle"),
            ),
        )
