"""Other history: an author that had seen another log than the one that is served.

Each header names a checkpoint that its author had verified. Where that is none of this log, the ledger showed the
author another history, or the author says what is not so. Which of the two is not told: the party is not compliant by
it, and the author's own copy of the signed checkpoint would prove the first.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from verifier.checks.interface import (
    Check,
    CheckClass,
    Finding,
    PartyCase,
    Severity,
    cite,
    finding_id,
)
from verifier.evidence.records import Int64


def _find(case: PartyCase) -> Iterator[Finding]:
    records = case.evidence.records
    by_author: dict[bytes, list[int]] = {}
    for row in _elsewhere(case).tolist():
        by_author.setdefault(records.text("author", row), []).append(row)
    for author, rows in by_author.items():
        first = rows[0]
        subject, start = case.name(author), int(records.start_ms[first])
        yield Finding(
            id=finding_id("other_history", case.party.id, f"{subject} {len(rows)}", start),
            check="other_history",
            cls=CheckClass.EXACT,
            severity=Severity.DOUBT,
            subject=subject,
            from_ms=start,
            to_ms=int(records.end_ms[rows].max()),
            summary=f"in {len(rows)} statements had seen a log that is not this one; the first: "
            f"{records.seen_size[first]} records of another root. Ask for the signed checkpoint: with this log's it "
            "proves who is wrong",
            evidence=cite(case.evidence, rows),
        )


def _elsewhere(case: PartyCase) -> Int64:
    """Return the rows of the party's authors in the period that name a checkpoint which is not this log's."""
    records, prefix, authors = case.evidence.records, case.evidence.prefix, case.authors()
    log = np.frombuffer(hashlib.sha256(prefix.origin.encode()).digest(), dtype="V32")[0]
    _, firsts = np.unique(records.chain, return_index=True)
    own = np.array([records.text("author", row) in authors for row in firsts.tolist()])
    rows = np.flatnonzero(
        own[records.chain]
        & (records.table["seen_log"] == log)
        & (records.seen_size > 0)
        & case.evidence.chains.authentic
        & case.logged_within()
    ).astype(np.int64)
    # What an author had seen cannot hold its own statement, nor be longer than what there is.
    possible = rows[records.seen_size[rows] <= records.index[rows]]
    sizes, of_row = np.unique(records.seen_size[possible], return_inverse=True)
    roots = np.array([prefix.root_at(size) for size in sizes.tolist()], dtype="V32")
    served = records.table["seen_root"][possible] == roots[of_row]
    return np.setdiff1d(rows, possible[served])


CHECK = Check(
    id="other_history",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="authors that had seen another log than the one that is served",
    cites="their statements",
    argument="an honest author names a checkpoint that the log signed and that extends all it had seen before; an "
    "honest log signs none but those of this history",
    find=_find,
)
