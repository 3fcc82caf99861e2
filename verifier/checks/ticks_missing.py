"""Ticks missing: stretches of the period without the log's time.

Without ticks nothing shows when a record was logged: windows are then neither in time nor late.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from verifier.checks.interface import (
    CheckClass,
    Finding,
    LedgerCase,
    LedgerCheck,
    Severity,
    cite,
    finding_id,
)

MOST_LATE: Final = 3
"""Tick lengths that may pass between two ticks before they are called missing. Judgement: a restart takes two."""


def _find(case: LedgerCase) -> Iterator[Finding]:
    evidence, length = case.evidence, case.agreement.pins.tick_ms
    start, end = case.period[0], case.period[1] + case.agreement.pins.late_grace_ms
    ticks = evidence.time.ticks
    row_of = {int(index): row for row, index in enumerate(evidence.records.index)}
    for before, after in pairwise(ticks):
        silent = after.time_ms - before.time_ms
        if silent <= MOST_LATE * length or after.time_ms <= start or before.time_ms >= end:
            continue
        yield Finding(
            id=finding_id("ticks_missing", evidence.prefix.origin, "ticks", before.time_ms),
            check="ticks_missing",
            cls=CheckClass.EXACT,
            severity=Severity.NOTE,
            subject=f"log {evidence.prefix.origin}",
            from_ms=before.time_ms,
            to_ms=after.time_ms,
            summary=f"no tick for {silent / 1000:.0f} s where one is due every {length / 1000:.0f} s: records between "
            "have no time",
            evidence=cite(evidence, [row_of[before.index], row_of[after.index]]),
        )


CHECK = LedgerCheck(
    id="ticks_missing",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="stretches without ticks",
    cites="the ticks on both sides",
    argument="the gap is in the log; its cost is that lateness cannot be told, and that is held against nobody",
    find=_find,
)
