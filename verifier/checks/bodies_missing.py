"""Bodies missing: windows that were said, and whose content nobody serves.

The header in the log proves that the window was said. What is not served, or is not what the header names, is laid to
the log that serves it: whoever holds the body can hand it over, and digests decide. What is served as it was logged and
does not parse is its author's. Either way the time counts as uncovered, which by itself changes no verdict.
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
    Excluded.BODY_MISSING: "windows have no body: their time counts as uncovered",
    Excluded.BODY_MISMATCH: "windows are served with a body that is not theirs: their time counts as uncovered",
    Excluded.BODY_REFUSED: "windows have a body that does not parse: their time counts as uncovered",
}


def _find(case: PartyCase) -> Iterator[Finding]:
    records, log = case.evidence.records, case.evidence.prefix.origin
    for why, words in _WORDS.items():
        rows = [window.row for window in case.windows.excluded_for(why)]
        if not rows:
            continue
        start = int(records.start_ms[rows].min())
        yield Finding(
            id=finding_id("bodies_missing", case.party.id, why.name, start),
            check="bodies_missing",
            cls=CheckClass.EXACT,
            severity=Severity.NOTE,
            subject=f"party {case.party.id}" if why is Excluded.BODY_REFUSED else f"log {log}",
            from_ms=start,
            to_ms=int(records.end_ms[rows].max()),
            summary=f"{len(rows)} {words}",
            evidence=cite(case.evidence, rows),
        )


CHECK = Check(
    id="bodies_missing",
    version=2,
    cls=CheckClass.EXACT,
    looks_for="windows whose content is not served, or is not what the header names",
    cites="the windows",
    argument="digests decide; the finding changes no verdict",
    find=_find,
)
