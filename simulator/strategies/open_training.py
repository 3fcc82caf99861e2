"""Trains through the pause, and does not even hide it."""

from simulator.strategies.interface import Calendar, Conduct
from simulator.world import Shift


class OpenTraining:
    """A party that goes on training and reports it truthfully."""

    name = "open_training"
    does = "trains openly through the pause, with every agent reporting"
    costs = "a violation as soon as the lower bound of its compute passes the cap"
    seen_by = "the training cap: tensor activity and clocks give a lower bound that exceeds it"

    def conduct(self, calendar: Calendar) -> Conduct:
        """Return training without end."""
        return Conduct((Shift(0, calendar.end_s, "training"),))
