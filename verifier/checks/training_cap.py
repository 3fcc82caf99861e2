"""Training cap: the least that a party's chips are proved to have executed exceeds a cap.

The lower bound rests on tensor activity and logged clocks; power proves no operations and can never make this fire.
Under ``counters`` it holds if the party's own counters are true, and a party has no reason to overstate them.
"""

from collections.abc import Iterator

import numpy as np

from verifier.accounts.obligations import Outcome
from verifier.agreement.model import Measure
from verifier.checks.interface import (
    MOST_CITED,
    Check,
    CheckClass,
    Duty,
    Finding,
    PartyCase,
    Severity,
    cite,
    finding_id,
)
from verifier.evidence.windows import Excluded


def _find(case: PartyCase) -> Iterator[Finding]:
    for duty in case.duties:
        if duty.obligation.measure is not Measure.TRAINING_FLOP:
            continue
        if duty.outcome is not Outcome.VIOLATED:
            continue
        start, end = duty.spans[0][0], duty.spans[-1][1]
        proved = duty.assessment.measured_lower
        yield Finding(
            id=finding_id("training_cap", case.party.id, _extent(case, duty), start),
            check="training_cap",
            cls=CheckClass.EXACT,
            severity=Severity.BREACH,
            subject=f"obligation {duty.obligation.id}",
            from_ms=start,
            to_ms=end,
            summary=f"at least {proved:.3g} FLOP were executed on chips that were not idle; the cap is "
            f"{duty.obligation.limit:.3g} FLOP",
            evidence=cite(case.evidence, _busiest(case, duty)),
            obligation=duty.obligation.id,
        )


def _extent(case: PartyCase, duty: Duty) -> str:
    """Name all that is proved, of every node: a ruling on one run excuses no other."""
    proved = duty.assessment.measured_lower, duty.account.training_capable.lower_flop
    late = len(case.windows.excluded_for(Excluded.LATE, Excluded.UNTIMED))
    return " ".join((duty.obligation.id, *(flop.hex() for flop in proved), str(late)))


def _busiest(case: PartyCase, duty: Duty) -> list[int]:
    """Return the records of windows, while the duty bound, of the node with the most proved compute."""
    busiest = max(duty.account.nodes, key=lambda node: (node.capable_lower_flop, -node.index))
    nodes = case.windows.admitting.nodes
    inside = np.zeros(len(nodes), dtype=np.bool_)
    for start, end in duty.spans:
        inside |= (nodes.start_ms < end) & (nodes.end_ms > start)
    mine = np.flatnonzero(inside & (nodes.node == busiest.index))[:MOST_CITED]
    return [int(case.windows.admitting_rows[row]) for row in mine]


CHECK = Check(
    id="training_cap",
    version=2,
    cls=CheckClass.EXACT,
    looks_for="more training-capable compute than a cap allows",
    cites="windows of the node with the most proved compute",
    argument="the bound counts operations that activity and clock prove, at the lowest rate that the pipe allows",
    find=_find,
)
