"""Chain fork: one key signed two things of which an honest author says only one.

Two headers for one place of a chain; a header that follows another past than the one logged; or a header of an epoch
whose successor its author had already seen in the log. Both headers are signed, and are the proof. The branch that was
logged first is what counts; it is contested until the key is replaced.
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
    for fork in case.evidence.chains.forks:
        if fork.author not in case.authors() or not case.said_within(fork.rows[1]):
            continue
        row = fork.rows[1]
        subject = case.name(fork.author)
        start, end = int(records.start_ms[row]), int(records.end_ms[row])
        place = f"{subject} {fork.what.name} {records.ids[row].hex()}"
        yield Finding(
            id=finding_id("chain_fork", case.party.id, place, start),
            check="chain_fork",
            cls=CheckClass.EXACT,
            severity=Severity.BREACH,
            subject=subject,
            from_ms=start,
            to_ms=end,
            summary=f"{fork.what.value}, both signed by its key; its chain is contested from sequence "
            f"{records.sequence[row]} on, and the branch logged first is what counts",
            evidence=cite(case.evidence, fork.rows),
        )


CHECK = Check(
    id="chain_fork",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="two statements of one key that contradict each other",
    cites="both statements",
    argument="an agent makes a place of its chain safe before it sends it and signs no place twice; after a loss it "
    "opens a new epoch and never speaks in the old one; nobody else can sign with its key",
    find=_find,
)
