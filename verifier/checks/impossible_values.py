"""Impossible values: readings that no chip can have, or that contradict each other or the enrolment.

A broken sensor and a forged one look alike: what is impossible counts as missing in the bounds, and the finding is for
a panel to weigh, never a breach by itself.
"""

from collections.abc import Iterator, Mapping

from verifier.accounts.observations import Impossible
from verifier.checks.interface import (
    Check,
    CheckClass,
    Finding,
    PartyCase,
    Severity,
    cite,
    finding_id,
)

_WORDS: Mapping[Impossible, tuple[CheckClass, Severity, str]] = {
    Impossible.ACTIVITY: (CheckClass.EXACT, Severity.ANOMALY, "an activity is outside 0 to 1"),
    Impossible.CLOCK: (CheckClass.EXACT, Severity.ANOMALY, "a clock is above the model's highest"),
    Impossible.POWER: (
        CheckClass.EXACT,
        Severity.ANOMALY,
        "a power is infinite, or not above zero",
    ),
    Impossible.WALL: (CheckClass.EXACT, Severity.ANOMALY, "a wall energy is impossible"),
    Impossible.CHIPS_BEYOND_WALL: (
        CheckClass.STATISTICAL,
        Severity.ANOMALY,
        "chips drew more energy than the node that holds them",
    ),
    Impossible.PROOF_BEYOND_BOUND: (
        CheckClass.STATISTICAL,
        Severity.ANOMALY,
        "activity proves more operations than energy allows",
    ),
    Impossible.CHIP_COUNT: (
        CheckClass.EXACT,
        Severity.DOUBT,
        "the number of chips is not the one enrolled",
    ),
    Impossible.MODEL: (CheckClass.EXACT, Severity.DOUBT, "a chip is not of the model enrolled"),
    Impossible.OVERLAP: (
        CheckClass.EXACT,
        Severity.NOTE,
        "a window was said twice; the first that was logged counts",
    ),
}


def _find(case: PartyCase) -> Iterator[Finding]:
    for seen in case.account.observations:
        told = _WORDS.get(seen.what)
        if told is None:
            continue
        cls, severity, words = told
        subject = case.name(bytes.fromhex(case.windows.expected[seen.node].node_id))
        yield Finding(
            id=finding_id(
                "impossible_values",
                case.party.id,
                f"{subject} {seen.what.value} {seen.count} {seen.to_ms}",
                seen.from_ms,
            ),
            check="impossible_values",
            cls=cls,
            severity=severity,
            subject=subject,
            from_ms=seen.from_ms,
            to_ms=seen.to_ms,
            summary=f"in {seen.count} windows {words} [{seen.what.value}]",
            evidence=cite(case.evidence, [int(case.windows.rows[row]) for row in seen.windows]),
        )


CHECK = Check(
    id="impossible_values",
    version=2,
    cls=CheckClass.EXACT,
    looks_for="readings that cannot be true, or not together",
    cites="the windows",
    argument="limits are the datasheet's with slack for rounding; that a reading is impossible is exact, that somebody "
    "forged it is not said",
    find=_find,
)
