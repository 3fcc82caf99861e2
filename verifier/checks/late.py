"""Late: windows logged after the agreement's grace.

A window is late when a tick past its end and grace stands before it in the log. Such a window could have been made up
after the fact: it counts against the party and not for it. An outage makes honest windows late, so that lateness itself
is no breach; what it costs is coverage.
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

_WORDS = {
    Excluded.LATE: "windows were logged late: they count against the party, not for it",
    Excluded.UNTIMED: "windows may have been logged in time; the log lacks the ticks that would tell",
}


def _find(case: PartyCase) -> Iterator[Finding]:
    records = case.evidence.records
    for why, words in _WORDS.items():
        rows = [window.row for window in case.windows.excluded_for(why)]
        if not rows:
            continue
        start = int(records.start_ms[rows].min())
        yield Finding(
            id=finding_id("late", case.party.id, why.name, start),
            check="late",
            cls=CheckClass.EXACT,
            severity=Severity.NOTE,
            subject=f"party {case.party.id}",
            from_ms=start,
            to_ms=int(records.end_ms[rows].max()),
            summary=f"{len(rows)} {words}",
            evidence=cite(case.evidence, rows),
        )


CHECK = Check(
    id="late",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="windows that were logged after the grace",
    cites="the late windows",
    argument="a window is late only if a tick past its grace was logged before it; where ticks are wanting it is "
    "called unclear instead",
    find=_find,
)
