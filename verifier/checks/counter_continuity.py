"""Counter continuity: absolute energy counters that run backwards within one boot, stand still, or were read at
impossible times.

A chip's counter counts from boot on and never falls. One that does was reset, replaced or made up; across it the bounds
fall back to peak times time, and the finding is for a panel to weigh.
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

_WORDS: Mapping[Impossible, str] = {
    Impossible.COUNTER_BACK: "an energy counter fell within one boot",
    Impossible.COUNTER_STUCK: "an energy counter did not move",
    Impossible.COUNTER_TIME: "an energy counter was read after the edge for which it stands",
}


def _find(case: PartyCase) -> Iterator[Finding]:
    for seen in case.account.observations:
        words = _WORDS.get(seen.what)
        if words is None:
            continue
        subject = case.name(bytes.fromhex(case.windows.expected[seen.node].node_id))
        yield Finding(
            id=finding_id(
                "counter_continuity",
                case.party.id,
                f"{subject} {seen.what.value} {seen.count} {seen.to_ms}",
                seen.from_ms,
            ),
            check="counter_continuity",
            cls=CheckClass.EXACT,
            severity=Severity.ANOMALY,
            subject=subject,
            from_ms=seen.from_ms,
            to_ms=seen.to_ms,
            summary=f"in {seen.count} windows {words} [{seen.what.value}]",
            evidence=cite(case.evidence, [int(case.windows.rows[row]) for row in seen.windows]),
        )


CHECK = Check(
    id="counter_continuity",
    version=2,
    cls=CheckClass.EXACT,
    looks_for="energy counters that do not go on",
    cites="the windows",
    argument="the driver's counter is cumulative since boot (NVML, nvmlDeviceGetTotalEnergyConsumption), and the boot "
    "is named in every window",
    find=_find,
)
