"""Sealed bodies: what this audit could not open, and what nobody could.

An audit without the key of a reader sees that a window was said and not what it says. That is nobody's fault and no
evidence: the party cannot be compliant by this audit, and one that holds a key may conclude. A body that has the digest
under which it was stored, and does not open for its class, is its author's doing.
"""

from collections import defaultdict
from collections.abc import Iterator

from statements.pins import Role
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
    unread: dict[str, list[int]] = defaultdict(list)
    unopenable: dict[str, list[int]] = defaultdict(list)
    for window in case.windows.excluded_for(Excluded.UNREAD):
        unread[window.detail].append(window.row)
    for window in case.windows.excluded_for(Excluded.UNOPENABLE):
        unopenable[window.detail].append(window.row)
    for reading in case.evidence.unread:
        if _is_of_party(case, reading.row):
            (unopenable if reading.charged else unread)[reading.detail].append(reading.row)
    for name, rows in sorted(unread.items()):
        words = f"{len(rows)} bodies are sealed to {name}, and this audit holds no key of a reader"
        yield _finding(case, f"unread {name}", rows, f"party {case.party.id}", words)
    for why, rows in sorted(unopenable.items()):
        authors = sorted({case.evidence.records.text("author", row).hex()[:12] for row in rows})
        words = f"{len(rows)} sealed bodies do not open, by the fault of their authors: {why}"
        yield _finding(case, f"unopenable {why}", rows, ", ".join(authors), words)


def _is_of_party(case: PartyCase, row: int) -> bool:
    """Return whether a record in or beside the period is of a meter of the party, or of the party itself."""
    records = case.evidence.records
    if records.start_ms[row] >= case.period[1] or records.end_ms[row] <= case.period[0]:
        return False
    author = records.text("author", row)
    if author in case.authors():
        return True
    pin = case.agreement.pins.by_key.get(author)
    mine = {meter.id for meter in case.agreement.meters if meter.party == case.party.id}
    return pin is not None and pin.role is Role.METER and pin.id in mine


def _finding(case: PartyCase, what: str, rows: list[int], subject: str, words: str) -> Finding:
    records = case.evidence.records
    start = int(records.start_ms[rows].min())
    named = f"{what} {len(rows)}"
    return Finding(
        id=finding_id("sealed_bodies", case.party.id, named, start),
        check="sealed_bodies",
        cls=CheckClass.EXACT,
        severity=Severity.DOUBT,
        subject=subject,
        from_ms=start,
        to_ms=int(records.end_ms[rows].max()),
        summary=words,
        evidence=cite(case.evidence, rows),
    )


CHECK = Check(
    id="sealed_bodies",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="bodies that are sealed, and that this audit or nobody can open",
    cites="the statements",
    argument="an honest author seals what it signed to the class that the agreement names, after it logged the key; "
    "what this audit holds no key to is laid to nobody",
    find=_find,
)
