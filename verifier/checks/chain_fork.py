"""Chain fork: one key signed two things of which an honest author says only one.

Two headers for one place of a chain; a header that follows another past than the one logged; or a header of an epoch
whose successor its author had already seen in the log. Both headers are signed, and are the proof. The branch that was
logged first is what counts; it is contested until the key is replaced or revoked: in every period until then there is
doubt.
"""

from collections.abc import Iterator

import numpy as np

from verifier.checks.interface import (
    Check,
    CheckClass,
    Finding,
    PartyCase,
    Severity,
    cite,
    finding_id,
)
from verifier.evidence.chains import FOREVER, Fork


def _find(case: PartyCase) -> Iterator[Finding]:
    records = case.evidence.records
    contested: dict[bytes, Fork] = {}
    for fork in case.evidence.chains.forks:
        if fork.author not in case.authors():
            continue
        if not case.said_within(fork.rows[1]):
            if _is_contested(case, fork):
                contested.setdefault(records.text("key_id", fork.rows[1]), fork)
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
    for key_id, fork in contested.items():
        subject = case.name(fork.author)
        yield Finding(
            id=finding_id("chain_fork", case.party.id, f"{subject} {key_id.hex()}", case.period[0]),
            check="chain_fork",
            cls=CheckClass.EXACT,
            severity=Severity.DOUBT,
            subject=subject,
            from_ms=case.period[0],
            to_ms=case.period[1],
            summary="its key contradicted itself before, and was still the one that it spoke with: somebody else may "
            "hold it too; what it says decides nothing until it is replaced",
            evidence=cite(case.evidence, fork.rows),
        )


def _is_contested(case: PartyCase, fork: Fork) -> bool:
    """Whether a fork was logged before the period, and its key ended no sooner than the period began."""
    records, time = case.evidence.records, case.evidence.time
    index = int(records.index[fork.rows[1]])
    if time.clamp(index, int(records.logged_at_ms[fork.rows[1]])) >= case.period[0]:
        return False
    until = case.evidence.keys[records.text("key_id", fork.rows[1])].until_index
    if until == FOREVER:
        return True
    row = int(np.searchsorted(records.index, until))
    return time.clamp(until, int(records.logged_at_ms[row])) > case.period[0]


CHECK = Check(
    id="chain_fork",
    version=4,
    cls=CheckClass.EXACT,
    looks_for="two statements of one key that contradict each other, and a key that did and speaks on",
    cites="both statements",
    argument="an agent makes a place of its chain safe before it sends it and signs no place twice; after a loss it "
    "opens a new epoch and never speaks in the old one; nobody else can sign with its key",
    find=_find,
)
