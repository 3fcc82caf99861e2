"""The smallest cap that the evidence an agreement declares could ever show to be kept.

A cap is kept when the *upper* bound on executed operations stays below it. Even a party whose chips only idle has an
upper bound, made of what the evidence cannot exclude; a cap below that can be broken, never shown kept. For a party
of N H100e under coverage floor c, over the time t that the cap runs::

    smallest = N t (c covered + (1 - c) missing)

    meters:    covered = missing = peak                    (where no meter is declared, time is all that is known)
               covered = missing = min(peak, (idle + host) / (1 - bound) / e_min)        (where meters are declared)
    counters:  covered = min(peak x resolution, idle / e_min)
               missing = min(peak, idle / e_min)           (the absolute energy counter prices silence)

``docs/agreements.md`` has the derivation; peak, idle power and e_min are the chip table's for
an H100, since declared compute is in H100e.
"""

from dataclasses import dataclass

from verifier.accounts.chips import Chip
from verifier.accounts.interval import UTILISATION_RESOLUTION
from verifier.agreement.model import Agreement, Measure, Obligation, Party, Scope, Stage, Trust

REFERENCE_CHIP = "NVIDIA H100 80GB HBM3"
"""The chip whose figures are used, as NVML names it: declared compute is in its equivalents."""

HOST_W = 275.0
"""Power of a host at rest, a chip: 8 x H100 nodes drew 2.0 to 2.2 kW above their chips (MLCommons training v4.0)."""

NODE_H100E = 8.0
"""Chips of one node, where a cap's scope is the node."""


@dataclass(frozen=True, slots=True)
class SmallestCap:
    """The smallest verifiable value of a cap for a party, FLOP, over ``span_ms``.

    ``energy_only_flop`` is what it becomes where nodes report energy but no activity.
    """

    obligation: str
    party: str
    span_ms: int
    coverage: float
    flop: float
    energy_only_flop: float


def smallest_cap(agreement: Agreement, cap: Obligation, party: Party, chip: Chip) -> SmallestCap:
    """Return the smallest value at which a cap on training compute could be verified for a party.

    ``chip`` is the one that declared compute is counted in: :data:`REFERENCE_CHIP`.
    """
    span_ms = _span_ms(agreement, cap)
    coverage = _coverage_floor(agreement, cap, party)
    chips = party.declared_h100e
    if cap.scope is Scope.NODE:
        chips = min(chips, NODE_H100E)
    by_energy = min(chip.peak_flop_per_s, chip.idle_w / chip.e_min_j_per_flop)
    by_activity = min(chip.peak_flop_per_s * UTILISATION_RESOLUTION, by_energy)
    if cap.trust is Trust.METERS:
        by_energy = by_activity = chip.peak_flop_per_s
        mine = [meter for meter in agreement.meters if meter.party == party.id]
        if mine and cap.scope is Scope.PARTY:
            # An absolute counter prices all time alike, whether windows tell of it or not.
            watts = (chip.idle_w + HOST_W) / (1 - max(meter.systematic_bound for meter in mine))
            by_energy = by_activity = min(chip.peak_flop_per_s, watts / chip.e_min_j_per_flop)
    seconds = span_ms / 1_000
    return SmallestCap(
        obligation=cap.id,
        party=party.id,
        span_ms=span_ms,
        coverage=coverage,
        flop=chips * seconds * (coverage * by_activity + (1 - coverage) * by_energy),
        energy_only_flop=chips * seconds * by_energy,
    )


def _span_ms(agreement: Agreement, cap: Obligation) -> int:
    """Return the least time for which a cap runs; an armed agreement has none."""
    durations = agreement.durations
    spans = {
        Stage.NOTICED: durations.notice_ms,
        Stage.WINDING_DOWN: durations.winding_down_ms,
        Stage.IN_FORCE: durations.in_force_ms,
        Stage.LIFTING: durations.lifting_ms,
    }
    return sum(length for stage, length in spans.items() if stage in cap.stages)


def _coverage_floor(agreement: Agreement, cap: Obligation, party: Party) -> float:
    """Return the highest coverage that the party owes in every stage of the cap; 0 when it owes none."""
    owed = [
        duty.limit
        for duty in agreement.obligations
        if duty.measure is Measure.COVERAGE
        and cap.stages <= duty.stages
        and (duty.parties is None or party.id in duty.parties)
    ]
    return max(owed, default=0.0)
