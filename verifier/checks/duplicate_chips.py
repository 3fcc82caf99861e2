"""Duplicate chips: two nodes that show one chip at the same time, or one node that speaks for two parties.

A chip is in one place: of two reports at most one is of it, and a chip that nobody names may stand behind the other.
Both claims count in the bounds until a panel settles it. The finding is about who claimed the chip later; to a rival
whose chip was claimed it is only told, so that nobody is harmed by another's claim.
"""

from collections.abc import Iterator

from verifier.checks.interface import (
    Check,
    CheckClass,
    Finding,
    PartyCase,
    Severity,
    cite,
    finding_id,
)


def _find(case: PartyCase) -> Iterator[Finding]:
    parties = case.agreement.parties
    own = parties.index(case.party)
    for shared in case.shared:
        later, earlier = shared.later, shared.earlier
        if own not in {later.party, earlier.party}:
            continue
        mine, other = (later, earlier) if later.party == own else (earlier, later)
        subject = case.name(case.windows.nodes[mine.node].node_id)
        whose = f"a node of {parties[other.party].id}"
        if other.party == own:
            whose = case.name(case.windows.nodes[other.node].node_id)
        order = "first" if mine is later else "later"
        yield Finding(
            id=finding_id(
                "duplicate_chips",
                case.party.id,
                f"{subject} {other} {shared.chips} {shared.to_ms}",
                shared.from_ms,
            ),
            check="duplicate_chips",
            cls=CheckClass.EXACT,
            severity=Severity.ANOMALY if mine is later else Severity.NOTE,
            subject=subject,
            from_ms=shared.from_ms,
            to_ms=shared.to_ms,
            summary=f"{shared.chips} of its chips are shown at the same time by {whose}, which claimed them {order}",
            evidence=cite(case.evidence, shared.rows),
        )


CHECK = Check(
    id="duplicate_chips",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="chips that two nodes show at the same time",
    cites="a window of each node",
    argument="a vendor's id names one chip, and a chip that moves is shown by one node and then by another, never by "
    "both in one window; a rival can name somebody else's chip, so that it is for a panel to weigh",
    find=_find,
)
