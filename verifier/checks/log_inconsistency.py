"""Log inconsistency: the log signed what does not fit together.

A tick holds a checkpoint that is not of the log as served, is of the future, or goes back in time. Nothing that rests
on such a log alone can be relied on: no party is compliant by it.
"""

from collections.abc import Iterator
from typing import Final

from verifier.checks.interface import (
    CheckClass,
    Citation,
    Finding,
    LedgerCase,
    LedgerCheck,
    Severity,
    finding_id,
)

_ABOUT_TIME: Final = "TICK"


def _find(case: LedgerCase) -> Iterator[Finding]:
    log = case.evidence.prefix.origin
    ids = dict(zip(case.evidence.records.index.tolist(), case.evidence.records.ids, strict=True))
    for fault in case.evidence.faults:
        if not fault.notes and not fault.reason.startswith((_ABOUT_TIME, "BAD_TICK")):
            continue
        yield Finding(
            id=finding_id("log_inconsistency", log, fault.reason, fault.index),
            check="log_inconsistency",
            cls=CheckClass.EXACT,
            severity=Severity.DOUBT,
            subject=f"log {log}",
            from_ms=case.period[0],
            to_ms=case.period[1],
            summary=f"{fault.message} [{fault.reason}]",
            evidence=(Citation(fault.index, ids[fault.index]),),
            notes=fault.notes,
        )


CHECK = LedgerCheck(
    id="log_inconsistency",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="checkpoints that the log signed and that do not fit what it serves",
    cites="the tick, and the signed checkpoints",
    argument="an honest ledger signs only what extends its newest checkpoint, and its clock does not go back",
    find=_find,
)
