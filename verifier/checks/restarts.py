"""Restarts: how often nodes opened new epochs.

An honest node restarts now and then. Each restart is a place where what it had not logged yet can be dropped unseen by
the chain, so that they are counted.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from verifier.checks.interface import (
    Check,
    CheckClass,
    Finding,
    PartyCase,
    Severity,
    cite,
    finding_id,
)

BUDGET: Final = 3
"""Openings of one node in any audited period that are not worth a word."""
BUDGET_PER_DAY: Final = 4.0
"""Further openings a day that are not. Judgement: more than a crash looping daily, less than one every few hours."""
_DAY_MS: Final = 86_400_000


def _find(case: PartyCase) -> Iterator[Finding]:
    nodes = {node.node_id for node in case.windows.nodes}
    opened = [
        opening
        for opening in case.evidence.openings
        if opening.author in nodes
        and case.evidence.chains.authentic[opening.row]
        and case.said_within(opening.row)
    ]
    days = (case.period[1] - case.period[0]) / _DAY_MS
    for author, count in sorted(Counter(opening.author for opening in opened).items()):
        if count <= BUDGET + BUDGET_PER_DAY * days:
            continue
        subject = case.name(author)
        yield Finding(
            id=finding_id("restarts", case.party.id, subject, case.period[0]),
            check="restarts",
            cls=CheckClass.EXACT,
            severity=Severity.NOTE,
            subject=subject,
            from_ms=case.period[0],
            to_ms=case.period[1],
            summary=f"opened {count} epochs in {days:.3g} days",
            evidence=cite(
                case.evidence, [opening.row for opening in opened if opening.author == author]
            ),
        )


CHECK = Check(
    id="restarts",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="nodes that open epochs more often than restarts explain",
    cites="the openings",
    argument="the count is exact; what it means is for people, so that it changes no verdict",
    find=_find,
)
