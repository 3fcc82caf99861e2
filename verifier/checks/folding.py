"""Folding: many findings of one kind become one, so that nobody keeps a verdict out of the log by what it provokes.

A logged verdict has at most a mebibyte, and only what is logged can be ruled on.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

from verifier.checks.interface import MOST_CITED, CheckClass, Finding, Severity

MOST_TOLD: Final = 32
"""Findings of one check and severity that are told one by one."""


def fold(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings, those beyond the first few of each check and severity as one that stands for all of them."""
    groups: dict[tuple[str, Severity], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.check, finding.severity), []).append(finding)
    return tuple(chain.from_iterable(_folded(group) for group in groups.values()))


def _folded(group: Sequence[Finding]) -> list[Finding]:
    if len(group) <= MOST_TOLD:
        return list(group)
    told, rest = list(group[: MOST_TOLD - 1]), group[MOST_TOLD - 1 :]
    named = hashlib.sha256("\n".join(finding.id for finding in rest).encode()).hexdigest()
    classes = {finding.cls for finding in rest}
    cited = sorted({one for finding in rest for one in finding.evidence}, key=lambda one: one.index)
    return [
        *told,
        replace(
            rest[0],
            id=f"{rest[0].check}-{named[:12]}",
            cls=CheckClass.STATISTICAL if CheckClass.STATISTICAL in classes else CheckClass.EXACT,
            subject=f"{len(rest)} subjects",
            from_ms=min(finding.from_ms for finding in rest),
            to_ms=max(finding.to_ms for finding in rest),
            summary=f"{len(rest)} more findings of this kind; the first, of {rest[0].subject}: {rest[0].summary}",
            evidence=tuple(cited[:MOST_CITED]),
            notes=rest[0].notes,
        ),
    ]
