"""The strategies, by name."""

from collections.abc import Mapping
from typing import Final

from simulator.errors import WorldError
from simulator.strategies.forged_counters import ForgedCounters
from simulator.strategies.honest import Honest
from simulator.strategies.interface import Strategy
from simulator.strategies.open_training import OpenTraining
from simulator.strategies.silence import Silence

STRATEGIES: Final[Mapping[str, Strategy]] = {
    strategy.name: strategy for strategy in (Honest(), OpenTraining(), Silence(), ForgedCounters())
}


def find_strategy(name: str) -> Strategy:
    """Return the strategy of that name; raises WorldError when there is none."""
    try:
        return STRATEGIES[name]
    except KeyError:
        raise WorldError(
            "UNKNOWN_STRATEGY", f"no strategy {name!r}; there are {', '.join(STRATEGIES)}"
        ) from None
