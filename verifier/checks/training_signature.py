"""Training signature: one line in the power of many nodes, in phase, while training is capped.

Nodes of one job step together. A line in one node's power is no sign: serving shows them too. What tells is that nodes
share its phase. The threshold holds the rate of false alarms to this audit's share of the agreement's budget.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from verifier.agreement.model import Measure
from verifier.checks.interface import (
    Check,
    CheckClass,
    Finding,
    PartyCase,
    Severity,
    cite,
    finding_id,
)
from verifier.rhythm import HOUR_MS

LEAST_COHERENCE: Final = 0.5
"""Below this nodes are not called coherent, however many they are."""
YEAR_MS: Final = 365.25 * 86_400_000


def _find(case: PartyCase) -> Iterator[Finding]:
    rhythm = case.rhythm
    caps = [duty for duty in case.duties if duty.obligation.measure is Measure.TRAINING_FLOP]
    if rhythm is None or rhythm.coherence.value is None or not caps:
        return
    share = (case.period[1] - case.period[0]) / YEAR_MS
    allowed = case.agreement.false_alarms_per_party_year * min(1.0, share)
    if rhythm.coherence.value < LEAST_COHERENCE or rhythm.by_chance > allowed:
        return
    start, end = caps[0].spans[0][0], caps[0].spans[-1][1]
    nodes = case.windows.windows.nodes
    inside = (nodes.start_ms < rhythm.from_ms + HOUR_MS) & (nodes.end_ms > rhythm.from_ms)
    yield Finding(
        id=finding_id("training_signature", case.party.id, f"{caps[0].obligation.id} {end}", start),
        check="training_signature",
        cls=CheckClass.STATISTICAL,
        severity=Severity.ANOMALY,
        subject=f"party {case.party.id}",
        from_ms=start,
        to_ms=end,
        summary=f"{rhythm.coherence.nodes} nodes share the phase of a line of {rhythm.line.period_s:.2f} s in their "
        f"power (coherence {rhythm.coherence.words}; unrelated nodes show {rhythm.coherence.unrelated or 0.0:.2f}): "
        "the sign of one job across them",
        evidence=cite(case.evidence, case.windows.rows[np.flatnonzero(inside)].tolist()),
    )


CHECK = Check(
    id="training_signature",
    version=2,
    cls=CheckClass.STATISTICAL,
    looks_for="a line in power that is coherent across nodes, while training is capped",
    cites="windows of the nodes",
    argument="for nodes whose power is unrelated, at most the agreement's budget a party-year; nodes that serve one "
    "job in step are not unrelated, and a panel has to tell",
    find=_find,
)
