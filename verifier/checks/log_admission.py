"""Log admission: records that an honest ledger refuses.

Leaves that are no record, signatures that do not verify, keys that nobody made live, statements logged twice, bodies
that do not parse. None of them counts for or against a party.
"""

from collections import defaultdict
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
from verifier.evidence.statement import UNSERVED, Fault


def _find(case: LedgerCase) -> Iterator[Finding]:
    log = case.evidence.prefix.origin
    ids = dict(zip(case.evidence.records.index.tolist(), case.evidence.records.ids, strict=True))
    by_reason: dict[str, list[Fault]] = defaultdict(list)
    for fault in case.evidence.faults:
        elsewhere = fault.reason in UNSERVED or fault.reason.startswith(("TICK", "BAD_TICK"))
        if not fault.notes and not elsewhere:
            by_reason[fault.reason].append(fault)
    for reason, faults in sorted(by_reason.items()):
        yield Finding(
            id=finding_id("log_admission", log, reason, faults[0].index),
            check="log_admission",
            cls=CheckClass.EXACT,
            severity=Severity.NOTE,
            subject=f"log {log}",
            from_ms=case.period[0],
            to_ms=case.period[1],
            summary=f"{len(faults)} records that an honest ledger refuses; the first: {faults[0].message} [{reason}]",
            evidence=tuple(
                Citation(
                    # A leaf that is no record has no statement id: its leaf hash stands for it.
                    fault.index,
                    ids.get(fault.index, case.evidence.prefix.levels[0][fault.index]),
                )
                for fault in faults[:MOST_CITED]
            ),
        )


CHECK = LedgerCheck(
    id="log_admission",
    version=2,
    cls=CheckClass.EXACT,
    looks_for="records that should not have been admitted",
    cites="the records",
    argument="admission checks each of these before it logs anything",
    find=_find,
)
