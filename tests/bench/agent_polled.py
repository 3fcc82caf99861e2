"""``agent_polled``: as ``agent``, with every chip asked ten times a second: for drivers that keep no samples."""

from tests.bench import agent
from tests.bench.figure import Figure


def measure() -> Figure:
    """Return the figure; the same bar."""
    return agent.measured("agent_polled", "polled")
