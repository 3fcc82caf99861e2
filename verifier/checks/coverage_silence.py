"""Coverage: time that a party's chips must account for, and do not.

One finding for each floor under coverage that is not shown to be kept, which says where the silence is. Silence is
never compliance: it leaves doubt while it may still be cured, and is a breach after.
"""

import math
from collections.abc import Iterator

import numpy as np

from verifier.accounts.expected import without_overlaps
from verifier.accounts.gaps import Gap, gaps
from verifier.accounts.obligations import Outcome
from verifier.agreement.model import Measure
from verifier.checks.interface import (
    Check,
    CheckClass,
    Duty,
    Finding,
    PartyCase,
    Severity,
    cite,
    finding_id,
)

_SEVERITY = {
    Outcome.KEPT: Severity.NOTE,
    Outcome.UNRESOLVED: Severity.DOUBT,
    Outcome.VIOLATED: Severity.BREACH,
}


def _find(case: PartyCase) -> Iterator[Finding]:
    for duty in case.duties:
        if duty.obligation.measure is not Measure.COVERAGE:
            continue
        silent = _silences(case, duty)
        if not silent and duty.outcome is Outcome.KEPT:
            continue
        start, end = duty.spans[0][0], duty.spans[-1][1]
        beside = [row for _, gap in silent for row in (gap.before, gap.after) if row is not None]
        yield Finding(
            id=finding_id("coverage_silence", case.party.id, _extent(duty, silent), start),
            check="coverage_silence",
            cls=CheckClass.EXACT,
            severity=_SEVERITY[duty.outcome],
            subject=f"obligation {duty.obligation.id}",
            from_ms=start,
            to_ms=end,
            summary=_summary(duty, silent),
            evidence=cite(case.evidence, [int(case.windows.rows[row]) for row in beside]),
            obligation=duty.obligation.id,
        )


def _silences(case: PartyCase, duty: Duty) -> list[tuple[str, Gap]]:
    """Return each node's gaps while the duty bound, longest first."""
    windows = case.windows.windows
    found: list[tuple[str, Gap]] = []
    by_node = np.argsort(windows.nodes.node, kind="stable").astype(np.int64)
    edges = np.searchsorted(
        windows.nodes.node[by_node], np.arange(len(case.windows.expected) + 1)
    ).tolist()
    for node in case.windows.expected:
        if not node.models:
            continue
        mine = by_node[edges[node.index] : edges[node.index + 1]]
        rows, _ = without_overlaps(windows.nodes, mine)
        named = node.index < len(case.windows.nodes)
        name = case.name(bytes.fromhex(node.node_id)) if named else node.node_id
        found += [
            (f"{len(node.models)} chips, {name}", gap)
            for span in duty.spans
            for gap in gaps(windows, rows, node.span(span))
        ]
    return sorted(found, key=lambda item: (item[1].start_ms - item[1].end_ms, item[0]))


def _extent(duty: Duty, silent: list[tuple[str, Gap]]) -> str:
    """Name all that is missing, so that a ruling on one outage excuses no other."""
    uncovered = math.fsum(
        part
        for node in duty.account.nodes
        for part in (node.expected_chip_s, -node.evidence_chip_s)
    )
    silences = (f"{who} {gap.start_ms} {gap.end_ms}" for who, gap in silent)
    return "\n".join((f"{duty.obligation.id} {uncovered:.0f}", *silences))


def _summary(duty: Duty, silent: list[tuple[str, Gap]]) -> str:
    coverage = duty.account.coverage
    shown = (
        "no chip had to account"
        if np.isnan(coverage)
        else f"{coverage:.2%} of chip time has evidence"
    )
    words = f"{shown}, {duty.obligation.limit:.2%} is owed"
    if silent:
        who, gap = silent[0]
        longest = "a silence" if len(silent) == 1 else f"{len(silent)} silences, the longest"
        words += f"; {longest} of {gap.seconds:.0f} s: {who}"
    return words


CHECK = Check(
    id="coverage_silence",
    version=2,
    cls=CheckClass.EXACT,
    looks_for="time without evidence, of chips that must account for it",
    cites="the windows on both sides of the silence",
    argument="an honest party whose agents run has windows; one that had an outage has the cure period to show it, and "
    "the finding says only that evidence is missing, not why",
    find=_find,
)
