"""Early: windows that were logged before they can have been over.

A tick that covers a window shows that it was said by then. Where that is before the window's end by more than the
grace, which clocks are allowed to differ by, what it says had not happened yet. Like a late window it counts against
the party and not for it.
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


def _find(case: PartyCase) -> Iterator[Finding]:
    records = case.evidence.records
    rows = [window.row for window in case.windows.excluded_for(Excluded.EARLY)]
    if not rows:
        return
    start = int(records.start_ms[rows].min())
    yield Finding(
        id=finding_id("early", case.party.id, f"{len(rows)}", start),
        check="early",
        cls=CheckClass.EXACT,
        severity=Severity.DOUBT,
        subject=f"party {case.party.id}",
        from_ms=start,
        to_ms=int(records.end_ms[rows].max()),
        summary=f"{len(rows)} windows were logged before they can have been over: they count against the party, not "
        "for it",
        evidence=cite(case.evidence, rows),
    )


CHECK = Check(
    id="early",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="windows that were logged before they can have been over",
    cites="the windows",
    argument="an agent says a window once it is over; its clock, or the log's, is wrong by more than the grace, or "
    "what it says was made up: which of these is not told, so that it leaves doubt and is no breach",
    find=_find,
)
