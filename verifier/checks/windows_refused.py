"""Windows refused: windows that are served whole and still cannot be judged.

They do not have the agreement's length and place, cite no inventory, do not have the shape that they declare, were not
said under this agreement, or were made from telemetry that may only be judged in a rehearsal. Their time counts as
uncovered.
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
from verifier.evidence.windows import Excluded

_WHY = (
    Excluded.MISALIGNED,
    Excluded.NO_INVENTORY,
    Excluded.UNFIT,
    Excluded.UNLABELLED,
    Excluded.NOT_LIVE,
    Excluded.OTHER_AGREEMENT,
)


def _find(case: PartyCase) -> Iterator[Finding]:
    records = case.evidence.records
    for why in _WHY:
        refused = case.windows.excluded_for(why)
        if not refused:
            continue
        rows = [window.row for window in refused]
        start = int(records.start_ms[rows].min())
        yield Finding(
            id=finding_id("windows_refused", case.party.id, why.name, start),
            check="windows_refused",
            cls=CheckClass.EXACT,
            severity=Severity.DOUBT if why is Excluded.NOT_LIVE else Severity.NOTE,
            subject=f"party {case.party.id}",
            from_ms=start,
            to_ms=int(records.end_ms[rows].max()),
            summary=f"{len(rows)} windows do not count: {why.value}",
            evidence=cite(case.evidence, rows),
        )


CHECK = Check(
    id="windows_refused",
    version=2,
    cls=CheckClass.EXACT,
    looks_for="windows that cannot be judged",
    cites="the windows",
    argument="agents that follow the protocol send none of these",
    find=_find,
)
