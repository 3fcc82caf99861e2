"""What a log keeps back of a party: records that fell into holes of its nodes' chains, and public bodies. Pure.

That so many statements were said is proved by their numbers, and no honest ledger logs what comes after a hole. Nor
does one lose what decides who owes what.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from verifier.evidence.chains import ChainGap
from verifier.evidence.gather import Evidence
from verifier.evidence.statement import UNSERVED


def holes_of(evidence: Evidence, nodes: Collection[bytes], grace_ms: int) -> list[ChainGap]:
    """Return the holes in the chains of nodes, by their ids, after which something was logged in time."""
    records, time = evidence.records, evidence.time
    return [
        gap
        for gap in evidence.chains.gaps
        if gap.author in nodes
        and records.sequence[gap.row]
        and time.not_before_ms[records.index[gap.row]] <= records.end_ms[gap.row] + grace_ms
    ]


def windows_in(
    holes: Sequence[ChainGap],
    evidence: Evidence,
    nodes: Mapping[bytes, int],
    period: tuple[int, int],
    window_ms: int,
) -> Iterator[tuple[int, int, int]]:
    """Yield node (index), start and end of the windows that holes may have held: those right before each hole's end.

    ``nodes`` are indices by id; windows outside of ``period``, Unix ms, are left out.
    """
    for hole in holes:
        end = min(int(evidence.records.start_ms[hole.row]), period[1])
        end -= end % window_ms
        first = max(period[0] - period[0] % window_ms, end - hole.missing * window_ms)
        for start in range(first, end, window_ms):
            yield nodes[hole.author], start, start + window_ms


def unserved_of(evidence: Evidence, authors: Collection[bytes]) -> int:
    """Count the public statements of authors whose bodies are not served as they were logged."""
    records = evidence.records
    return sum(
        records.text("author", int(np.searchsorted(records.index, fault.index))) in authors
        for fault in evidence.faults
        if fault.reason in UNSERVED
    )
