"""Public bodies: statements that everybody may read, and whose content the log does not serve as it was logged.

Enrolments, accessions, facts, rulings and the like decide who owes what, and when. A ledger admits none of them without
its body and never prunes one. Whoever is judged without them might be judged otherwise with them, so that nobody is
compliant by such a log, and a party whose own statements it keeps back breaks no floor under coverage by it. Whoever
holds the bodies heals it (`audit run --bodies`).
"""

from collections.abc import Iterator

from verifier.checks.interface import (
    MOST_CITED,
    CheckClass,
    Citation,
    Finding,
    LedgerCase,
    LedgerCheck,
    Severity,
    finding_id,
)
from verifier.evidence.statement import UNSERVED


def _find(case: LedgerCase) -> Iterator[Finding]:
    log = case.evidence.prefix.origin
    faults = [fault for fault in case.evidence.faults if fault.reason in UNSERVED]
    if not faults:
        return
    ids = dict(zip(case.evidence.records.index.tolist(), case.evidence.records.ids, strict=True))
    yield Finding(
        id=finding_id("public_bodies", log, str(len(faults)), faults[0].index),
        check="public_bodies",
        cls=CheckClass.EXACT,
        severity=Severity.DOUBT,
        subject=f"log {log}",
        from_ms=case.period[0],
        to_ms=case.period[1],
        summary=f"the log does not serve what {len(faults)} public statements say: the first, {faults[0].message} "
        f"[{faults[0].reason}]",
        evidence=tuple(Citation(fault.index, ids[fault.index]) for fault in faults[:MOST_CITED]),
    )


CHECK = LedgerCheck(
    id="public_bodies",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="public statements whose content is not served, or is not what the header names",
    cites="the statements",
    argument="admission takes no public statement without its body, and public bodies are never pruned",
    find=_find,
)
