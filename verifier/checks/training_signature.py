"""Training signature: one line in the power of many nodes, in phase, while training is capped.

Nodes of one job step together. A line in one node's power is no sign: serving shows them too. What tells is that nodes
share its phase. The statistic is the mean over stretches of the length of the mean phase vector of the nodes; the
threshold holds the rate of false alarms, over every frequency that could have been chosen, to this audit's share of
the agreement's budget, by the tail of the gamma distribution (each stretch's n R^2 of n unrelated phases is
exponential in the limit; K. V. Mardia, P. E. Jupp, Directional Statistics, 2000, section 6.3).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

from statements.features import MISSING_SLOT
from verifier.agreement.model import Measure
from verifier.checks.interface import (
    Check,
    CheckClass,
    Duty,
    Finding,
    PartyCase,
    Severity,
    cite,
    finding_id,
)
from verifier.workload.coherence import Coherence, phase_coherence
from verifier.workload.errors import SeriesError
from verifier.workload.period import Line, Series, strongest_line

LEAST_COHERENCE: Final = 0.5
"""Below this nodes are not called coherent, however many they are."""
YEAR_MS: Final = 365.25 * 86_400_000


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The strongest line of the nodes' summed power, how far they share its phase, and how likely that is by chance."""

    line: Line
    coherence: Coherence
    by_chance: float


def _find(case: PartyCase) -> Iterator[Finding]:
    for duty in case.duties:
        if duty.obligation.measure is not Measure.TRAINING_FLOP:
            continue
        rhythm = _rhythm(case, duty)
        if rhythm is None or rhythm.coherence.value is None:
            continue
        span_ms = sum(end - start for start, end in duty.spans)
        allowed = case.agreement.false_alarms_per_party_year * span_ms / YEAR_MS
        if rhythm.coherence.value < LEAST_COHERENCE or rhythm.by_chance > allowed:
            continue
        start, end = duty.spans[0][0], duty.spans[-1][1]
        yield Finding(
            id=finding_id("training_signature", case.party.id, duty.obligation.id, start),
            check="training_signature",
            cls=CheckClass.STATISTICAL,
            severity=Severity.ANOMALY,
            subject=f"party {case.party.id}",
            from_ms=start,
            to_ms=end,
            summary=f"{rhythm.coherence.nodes} nodes share the phase of a line of {rhythm.line.period_s:.2f} s in "
            f"their power: coherence {rhythm.coherence.words}, unrelated nodes show "
            f"{rhythm.coherence.unrelated or 0.0:.2f}; the sign of one job across them",
            evidence=cite(case.evidence, _rows(case, duty)),
        )
        return


def _rows(case: PartyCase, duty: Duty) -> list[int]:
    nodes = case.windows.windows.nodes
    inside = np.zeros(len(nodes), dtype=np.bool_)
    for start, end in duty.spans:
        inside |= (nodes.start_ms < end) & (nodes.end_ms > start)
    return [int(row) for row in case.windows.rows[inside]]


def _rhythm(case: PartyCase, duty: Duty) -> Rhythm | None:
    """Return the rhythm of the party's nodes while a duty bound; ``None`` where there is none to see."""
    series = _series(case, duty)
    if len(series) < 2:
        return None
    times = np.concatenate([one.times_s for one in series])
    places, inverse = np.unique(times, return_inverse=True)
    watts = np.bincount(inverse, weights=np.concatenate([one.watts for one in series]))
    whole = np.bincount(inverse) == len(series)
    if not whole.any():
        return None
    try:
        line = strongest_line(Series(places[whole], watts[whole]))
        coherence = phase_coherence(series, line.period_s)
    except SeriesError:
        return None
    if coherence.value is None:
        return None
    tried = max(1.0, line.samples / 2)
    strength = coherence.stretches * coherence.nodes * coherence.value**2
    return Rhythm(line, coherence, float(tried * gammaincc(coherence.stretches, strength)))


def _series(case: PartyCase, duty: Duty) -> list[Series]:
    """Return the power of each node while a duty bound, s from its beginning; wall power, or else its chips'."""
    nodes = case.windows.windows.nodes
    origin = duty.spans[0][0]
    of_node: dict[int, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    for row in np.argsort(nodes.start_ms, kind="stable").tolist():
        start, slot_ms = int(nodes.start_ms[row]), int(nodes.slot_ms[row])
        if not slot_ms or not any(
            a <= start and int(nodes.end_ms[row]) <= b for a, b in duty.spans
        ):
            continue
        slots = nodes.wall_slots[row]
        watts = slots.astype(np.float64)
        known = slots != MISSING_SLOT
        if not len(slots):
            chips = nodes.chip_slots[row]
            if not chips.size:
                continue
            watts = chips.astype(np.float64).sum(axis=0)
            known = (chips != MISSING_SLOT).all(axis=0)
        times = (start - origin + (np.arange(len(watts)) + 0.5) * slot_ms) / 1000
        of_node.setdefault(int(nodes.node[row]), []).append((times[known], watts[known]))
    found: list[Series] = []
    for at in sorted(of_node):
        times = np.concatenate([times for times, _ in of_node[at]])
        watts = np.concatenate([watts for _, watts in of_node[at]])
        fresh = np.concatenate([[True], np.diff(times) > 0]) if len(times) else np.zeros(0, bool)
        if fresh.sum() > 1:
            found.append(Series(times[fresh], watts[fresh]))
    return found


CHECK = Check(
    id="training_signature",
    version=1,
    cls=CheckClass.STATISTICAL,
    looks_for="a line in power that is coherent across nodes, while training is capped",
    cites="windows of the nodes",
    argument="for nodes whose power is unrelated, at most the agreement's budget a party-year; nodes that serve one "
    "job in step are not unrelated, and a panel has to tell",
    find=_find,
)
