"""Told twice: one node said of one window two different things.

What is said again word for word is a lost acknowledgement, and no finding. Two accounts of one minute are not told
apart by their signatures: somebody may have a copy of the key, the node's clock may have gone back across a restart, or
what was said was made up. The first that was logged counts, and it decides nothing.
"""

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


def _find(case: PartyCase) -> Iterator[Finding]:
    records, rows = case.evidence.records, case.windows.rows
    node = case.windows.windows.nodes.node
    start = records.start_ms[rows]
    inside = (start < case.period[1]) & (records.end_ms[rows] > case.period[0])
    rows, node, start = rows[inside], node[inside], start[inside]
    order = np.lexsort((rows, start, node))
    rows, node, start = rows[order], node[order], start[order]
    said = np.ascontiguousarray(records.table["body_digest"][rows])
    again = (np.diff(node) == 0) & (np.diff(start) == 0) & (said[1:] != said[:-1])
    for index in np.unique(node[1:][again]).tolist():
        places = np.flatnonzero(again & (node[1:] == index))
        first = int(start[places[0]])
        subject = case.name(case.windows.nodes[index].node_id)
        yield Finding(
            id=finding_id("told_twice", case.party.id, f"{subject} {len(places)}", first),
            check="told_twice",
            cls=CheckClass.EXACT,
            severity=Severity.DOUBT,
            subject=subject,
            from_ms=first,
            to_ms=int(records.end_ms[rows[places[-1] + 1]]),
            summary=f"of {len(places)} windows it said two different things; the first that was logged counts, and "
            "decides nothing",
            evidence=cite(
                case.evidence, [int(rows[at + side]) for at in places for side in (0, 1)]
            ),
        )


CHECK = Check(
    id="told_twice",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="windows of which one node said two different things",
    cites="both statements",
    argument="an agent closes a window once, and says it again only as it was signed; a clock that went back across a "
    "restart makes it close one again, so that it leaves doubt and is no breach",
    find=_find,
)
