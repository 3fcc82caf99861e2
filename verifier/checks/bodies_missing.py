"""Bodies missing: windows that were said, and whose content nobody serves.

The header in the log proves that the window was said. What is not served, or is not what the header names, is laid to
the log that serves it: whoever holds the body can hand it over (`audit run --bodies`), and digests decide. Its time
counts as uncovered, which can keep a party from being compliant, and never has it violate a floor under coverage: that
it was said in time is proved, and who keeps back what it says is not. A panel may find that out, and uphold this
finding. What is served as it was logged and does not parse is its author's.
"""

from collections.abc import Iterator
from typing import Final

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

_HAND_OVER: Final = (
    "their time counts as uncovered, until whoever holds them hands them over (audit run --bodies)"
)
_WORDS = {
    Excluded.BODY_MISSING: f"windows have no body: {_HAND_OVER}",
    Excluded.BODY_MISMATCH: f"windows are served with a body that is not theirs: {_HAND_OVER}",
    Excluded.KEY_WITHHELD: f"windows lack a content key that the log holds and does not serve: {_HAND_OVER}",
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
    version=3,
    cls=CheckClass.EXACT,
    looks_for="windows whose content, or content key, is not served, or is not what the header names",
    cites="the windows",
    argument="digests decide; the finding changes no verdict",
    find=_find,
)
