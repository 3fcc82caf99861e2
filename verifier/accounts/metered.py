"""What meters that others hold allow: energy between two instants from absolute counters, and the FLOP in it.

An absolute counter needs no unbroken record: what it counted between the newest reading before a span and the oldest
after it bounds the span from above, whatever was said or not said in between.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from verifier.accounts.chips import Chip

MOST_MJ: Final = 2**63
"""A counter beyond this is no reading."""


@dataclass(frozen=True, slots=True)
class MeterCount:
    """An absolute energy counter at an instant: Unix ms, and mJ."""

    at_ms: int
    energy_mj: int


@dataclass(frozen=True, slots=True)
class MeterRecord:
    """All that one meter said, in time order; ``systematic_bound`` is the most that it is wrong by, as a share."""

    counts: tuple[MeterCount, ...]
    systematic_bound: float


def energy_at_most_j(record: MeterRecord, span: tuple[int, int]) -> float | None:
    """Return the most energy that a meter can have passed within [start, end) of Unix ms, J.

    ``None`` when it was not read before or at the start, or not at or after the end, or its counter went back within,
    or stood still: what it says of the span is then nothing, since no site that answers draws nothing. A counter that
    errs low by its bound counted less than there was.
    """
    start, end = span
    before = [at for at, one in enumerate(record.counts) if one.at_ms <= start]
    after = [at for at, one in enumerate(record.counts) if one.at_ms >= end]
    if not before or not after or record.systematic_bound >= 1:
        return None
    used = record.counts[before[-1] : after[0] + 1]
    counted = [one.energy_mj for one in used]
    went_back = any(later < earlier for earlier, later in itertools.pairwise(counted))
    if went_back or counted[0] == counted[-1]:
        return None
    return (counted[-1] - counted[0]) / 1000 / (1 - record.systematic_bound)


def metered_flop(
    records: Sequence[MeterRecord], spans: Iterable[tuple[int, int]], chips: Iterable[Chip]
) -> float | None:
    """Return the most FLOP that the metered energy of all spans allows, were it all spent by the thriftiest chip.

    ``records`` are of meters that together measure all that is to be bounded, hosts included. ``None`` when any of
    them says nothing of a span, when there is no meter, or no chip.
    """
    e_min = min((chip.e_min_j_per_flop for chip in chips), default=0.0)
    if not records or e_min <= 0:
        return None
    energies = [energy_at_most_j(record, span) for span in spans for record in records]
    known = [energy for energy in energies if energy is not None]
    if len(known) < len(energies):
        return None
    return math.fsum(known) / e_min
