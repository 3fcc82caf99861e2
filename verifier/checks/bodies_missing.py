"""Bodies missing: windows that were said, and whose content nobody serves.

The header in the log proves that the window was said. Whether the party withheld its content or the ledger lost it does
not show, so that by itself it changes no verdict; the time counts as uncovered.
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
    Excluded.BODY_REFUSED: "windows have a body that is not theirs, or does not parse: it counts as uncovered",
}


def _find(case: PartyCase) -> Iterator[Finding]:
    records = case.evidence.records
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
            subject=f"party {case.party.id}",
            from_ms=start,
            to_ms=int(records.end_ms[rows].max()),
            summary=f"{len(rows)} {words}",
            evidence=cite(case.evidence, rows),
        )


CHECK = Check(
    id="bodies_missing",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="windows whose content is not served, or is not what the header names",
    cites="the windows",
    argument="digests decide; the finding blames nobody",
    find=_find,
)
