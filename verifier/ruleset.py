"""The ruleset: everything that a verdict depends on beside the agreement and the log, under one digest."""

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from typing import Final

from verifier import rhythm
from verifier.accounts import interval, observations
from verifier.accounts.chips import ChipTable, read_chip_table
from verifier.accounts.obligations import PIPES_OVER_ESTIMATE
from verifier.checks import folding, restarts, ticks_missing, training_signature
from verifier.checks.outside import NOT_DETECTABLE
from verifier.checks.registry import CHECKS, LEDGER_CHECKS
from verifier.workload import coherence, period

FORMAT: Final = "stillwatch.ruleset/1"
VERDICT_RULES: Final = 2
"""Version of :mod:`verifier.duties` and :mod:`verifier.verdict`: up when they may conclude otherwise."""

CONSTANTS: Final = {
    "verdict_rules": VERDICT_RULES,
    "proven_hmma": interval.PROVEN_HMMA,
    "proven_hmma_or_tf32": interval.PROVEN_HMMA_OR_TF32,
    "proven_tensor": interval.PROVEN_TENSOR,
    "fp16_over_k16": interval.FP16_OVER_K16,
    "fp32_over_k16": interval.FP32_OVER_K16,
    "fp64_over_k16": interval.FP64_OVER_K16,
    "typical_energy_over_floor": interval.TYPICAL_ENERGY_OVER_FLOOR,
    "typical_utilisation": interval.TYPICAL_UTILISATION,
    "pipes_over_estimate": PIPES_OVER_ESTIMATE,
    "idle_activity": interval.IDLE_ACTIVITY,
    "idle_tensor": interval.IDLE_TENSOR,
    "idle_power": interval.IDLE_POWER,
    "activity_resolution": interval.ACTIVITY_RESOLUTION,
    "utilisation_resolution": interval.UTILISATION_RESOLUTION,
    "clock_slack": interval.CLOCK_SLACK,
    "activity_slack": interval.ACTIVITY_SLACK,
    "wall_tolerance": observations.WALL_TOLERANCE,
    "stretch_s": coherence.STRETCH_S,
    "longest_period_s": period.LONGEST_S,
    "cycles": period.CYCLES,
    "oversampling": period.OVERSAMPLING,
    "rhythm_hours": rhythm.MOST_HOURS,
    "rhythm_grid_ms": rhythm.GRID_MS,
    "least_coherence": training_signature.LEAST_COHERENCE,
    "restart_budget": restarts.BUDGET,
    "restart_budget_per_day": restarts.BUDGET_PER_DAY,
    "most_late_ticks": ticks_missing.MOST_LATE,
    "most_told": folding.MOST_TOLD,
}
"""The constants in code on which outcomes depend."""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The chip table, and the digest of it with all checks, their versions and the constants; 32 bytes."""

    table: ChipTable
    digest: bytes


def read_ruleset(chip_table: bytes) -> Ruleset:
    """Return the ruleset with a chip table's bytes; raises :class:`ChipTableError`."""
    table = read_chip_table(chip_table)
    named = {
        "format": FORMAT,
        "checks": [[check.id, check.version, check.cls.value] for check in CHECKS],
        "ledger_checks": [[check.id, check.version, check.cls.value] for check in LEDGER_CHECKS],
        "outside": NOT_DETECTABLE,
        "chips": table.digest.hex(),
        "constants": CONSTANTS,
    }
    canonical = json.dumps(named, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Ruleset(table, hashlib.sha256(canonical.encode()).digest())


def own_ruleset() -> Ruleset:
    """Return the ruleset with the chip table that comes with this software."""
    return read_ruleset(
        resources.files("policies").joinpath("reference", "chips.toml").read_bytes()
    )
