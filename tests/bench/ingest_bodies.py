"""``ingest_bodies``: as ``ingest``, with the bodies of the summaries sent, checked against their headers, and kept.

This is what agents do under an agreement that has nothing sealed. A body is that of a node of eight chips with every
counter, and power by the second.
"""

from typing import Final

from tests.bench import ingest
from tests.bench.figure import Figure

WINDOWS_A_ROUND: Final = 18


def measure() -> Figure:
    """Return the figure; the same bar as for headers alone."""
    return ingest.measured("ingest_bodies", bodies=True, windows=WINDOWS_A_ROUND)
