"""Chain gap: statements that an author said and that are not in the log.

Each header numbers its place, so that a hole shows. That something is missing is exact; whether the party withheld it
or the ledger lost it is not told by the hole, so that it leaves doubt and is no breach.
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
    records = case.evidence.records
    for gap in case.evidence.chains.gaps:
        # What the party itself said decides whether it is a member: a hole in that matters in every period.
        told = gap.author == case.party.key or case.said_within(gap.row)
        if gap.author not in case.authors() or not told:
            continue
        subject = case.name(gap.author)
        start, end = int(records.start_ms[gap.row]), int(records.end_ms[gap.row])
        place = f"{subject} {records.text('epoch', gap.row).hex()} {records.sequence[gap.row]}"
        yield Finding(
            id=finding_id("chain_gap", case.party.id, place, start),
            check="chain_gap",
            cls=CheckClass.EXACT,
            severity=Severity.DOUBT,
            subject=subject,
            from_ms=start,
            to_ms=end,
            summary=f"at least {gap.missing} statements before sequence {records.sequence[gap.row]} are not in the log",
            evidence=cite(case.evidence, [gap.row]),
        )


CHECK = Check(
    id="chain_gap",
    version=3,
    cls=CheckClass.EXACT,
    looks_for="statements that were said, and are not in the log",
    cites="the first statement after the hole",
    argument="an author numbers without holes, and an honest ledger answers a hole with the number it wants",
    find=_find,
)
