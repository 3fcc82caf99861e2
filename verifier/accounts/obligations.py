"""Whether an account keeps an obligation, breaks it, or leaves it open; and what would settle it.

A cap is violated when what is *proved* exceeds it, kept when all that *can* have happened, with
unaccounted compute, stays below it, and otherwise unresolved. Power proves no operations: a cap on
FLOP is never violated by it. A floor under coverage that is missed is unresolved until its cure
period has ended, then violated.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Final

from verifier.accounts.interval import (
    PROVEN_HMMA_OR_TF32,
    TYPICAL_ENERGY_OVER_FLOOR,
)
from verifier.accounts.party import PartyAccount
from verifier.agreement.model import Trust


class Outcome(Enum):
    """How an obligation stands."""

    KEPT = "kept"
    VIOLATED = "violated"
    UNRESOLVED = "unresolved"


class Evidence(Enum):
    """Evidence that a party could add, cheapest first."""

    MISSING_WINDOWS = "missing_windows"
    """The windows that were not disclosed or never said."""
    CHIP_ENERGY = "chip_energy_counters"
    """Each chip's absolute energy counter: any data-centre GPU's driver has it."""
    CHIP_COUNTERS = "chip_counters_with_clock"
    """Tensor activity by pipe, with the clock logged."""
    INDEPENDENT_METER = "node_meter_held_by_others"
    """Wall energy from a meter whose key the party does not hold."""


_WORDS: Final = {
    Evidence.MISSING_WINDOWS: "the summaries of the missing windows",
    Evidence.CHIP_ENERGY: "the energy counter of each chip",
    Evidence.CHIP_COUNTERS: "tensor activity by pipe of each chip, with its clock logged",
    Evidence.INDEPENDENT_METER: "energy of each node from a meter whose key the party does not hold",
}

PIPES_OVER_ESTIMATE: Final = 2.2
"""Upper bound by pipes over executed 16-bit operations: twice the rate, and a tenth for other pipes."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """Evidence that would narrow an account: to what, if the likeliest is true, and whether that settles it.

    ``lower`` and ``upper`` are in the obligation's unit. A prediction, never a bound.
    """

    evidence: Evidence
    lower: float
    upper: float
    settles: bool
    words: str


@dataclass(frozen=True, slots=True)
class Assessment:
    """One obligation's outcome: the measured interval and the limit in its unit (FLOP, or a share).

    ``would_resolve`` is the cheapest evidence that would settle it, or, where none by itself would,
    that which narrows it most; None where it is settled or nothing could be added.
    """

    outcome: Outcome
    measured_lower: float
    measured_upper: float
    limit: float
    would_resolve: Remedy | None


def _predictions(account: PartyAccount) -> list[tuple[Evidence, float, float]]:
    """Return what each further evidence would leave of [lower, upper], were the estimate true."""
    capable = account.training_capable
    lower, upper, hidden = capable.lower_flop, capable.upper_flop, account.unaccounted_flop
    most = math.fsum((upper, hidden))
    likely = capable.estimate_flop
    found: list[tuple[Evidence, float, float]] = []
    if hidden > 0:
        seen_s = account.expected_chip_s - account.missing_chip_s
        if seen_s > 0:  # Missing windows are taken to be like those that were seen.
            whole = account.expected_chip_s / seen_s
            found.append((Evidence.MISSING_WINDOWS, lower * whole, min(upper * whole, most)))
        else:
            found.append((Evidence.MISSING_WINDOWS, lower, most))
    if account.trust is Trust.COUNTERS:
        if account.counter_share < 1:
            by_energy = TYPICAL_ENERGY_OVER_FLOOR * likely
            found.append((Evidence.CHIP_ENERGY, lower, min(most, by_energy + hidden)))
        if account.activity_share < 1:
            proven = max(lower, PROVEN_HMMA_OR_TF32 * likely)
            by_pipes = min(upper, PIPES_OVER_ESTIMATE * likely)
            found.append((Evidence.CHIP_COUNTERS, proven, by_pipes + hidden))
    else:
        by_wall = min(upper, TYPICAL_ENERGY_OVER_FLOOR * likely)
        found.append((Evidence.INDEPENDENT_METER, lower, by_wall + hidden))
    return found


def _remedy(account: PartyAccount, limit: float) -> Remedy | None:
    best: Remedy | None = None
    for evidence, lower, upper in _predictions(account):
        settles = lower > limit or upper <= limit
        words = _WORDS[evidence]
        if evidence is Evidence.MISSING_WINDOWS and not account.coverage:
            words += "; nothing was seen, so that what they would show is not predicted"
        elif not settles:
            words += f" would narrow it to about [{lower:.3g}, {upper:.3g}] FLOP and not settle it by itself"
        remedy = Remedy(evidence, lower, upper, settles, words)
        if settles:
            return remedy
        if best is None or upper - lower < best.upper - best.lower:
            best = remedy
    return best


def assess_training_cap(
    account: PartyAccount, limit_flop: float, metered_flop: float | None = None
) -> Assessment:
    """Return how a cap of ``limit_flop`` on training-capable operations stands.

    ``metered_flop`` is the most that meters which others hold allow in all, where they measure all of the
    party's chips: energy that was not drawn computed nothing, whether its time was accounted for or not.
    """
    capable = account.training_capable
    most = math.fsum((capable.upper_flop, account.unaccounted_flop))
    if metered_flop is not None:
        most = max(min(most, metered_flop), capable.lower_flop)
    outcome = Outcome.UNRESOLVED
    if capable.lower_flop > limit_flop:
        outcome = Outcome.VIOLATED
    elif most <= limit_flop:
        outcome = Outcome.KEPT
    remedy = None
    if (
        outcome is Outcome.UNRESOLVED and metered_flop is None
    ):  # beyond a meter nothing more is trusted
        remedy = _remedy(account, limit_flop)
    return Assessment(outcome, capable.lower_flop, most, limit_flop, remedy)


def assess_coverage_floor(
    account: PartyAccount, limit: float, cure_ms: int, assessed_ms: int
) -> Assessment:
    """Return how a floor of ``limit`` (0 to 1) under coverage stands at ``assessed_ms`` of Unix time.

    The cure period of ``cure_ms`` runs from the end of the account's period. Where no chip had to
    be accounted for there is nothing to judge: unresolved.
    """
    coverage = account.coverage
    cured_until = account.period[1] + cure_ms
    if coverage >= limit:
        return Assessment(Outcome.KEPT, coverage, coverage, limit, None)
    late = assessed_ms >= cured_until and not math.isnan(coverage)
    outcome = Outcome.VIOLATED if late else Outcome.UNRESOLVED
    remedy = None
    if outcome is Outcome.UNRESOLVED and not math.isnan(coverage):
        words = _WORDS[Evidence.MISSING_WINDOWS]
        remedy = Remedy(Evidence.MISSING_WINDOWS, 1.0, 1.0, True, words)
    return Assessment(outcome, coverage, coverage, limit, remedy)
