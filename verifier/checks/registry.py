"""The checks, by name: adding one is adding a file and its line here."""

from typing import Final

from verifier.checks import (
    bodies_missing,
    chain_fork,
    chain_gap,
    counter_continuity,
    coverage_silence,
    duplicate_chips,
    early,
    impossible_values,
    late,
    log_admission,
    log_inconsistency,
    other_history,
    public_bodies,
    replaced_keys,
    restarts,
    sealed_bodies,
    signers,
    ticks_missing,
    told_twice,
    training_cap,
    training_signature,
    windows_refused,
)
from verifier.checks.interface import Check, LedgerCheck

CHECKS: Final[tuple[Check, ...]] = (
    chain_fork.CHECK,
    chain_gap.CHECK,
    other_history.CHECK,
    late.CHECK,
    early.CHECK,
    restarts.CHECK,
    told_twice.CHECK,
    replaced_keys.CHECK,
    coverage_silence.CHECK,
    bodies_missing.CHECK,
    sealed_bodies.CHECK,
    windows_refused.CHECK,
    duplicate_chips.CHECK,
    training_cap.CHECK,
    impossible_values.CHECK,
    counter_continuity.CHECK,
    training_signature.CHECK,
)
"""Checks of a party, in the order in which verdicts list their findings."""

LEDGER_CHECKS: Final[tuple[LedgerCheck, ...]] = (
    log_inconsistency.CHECK,
    public_bodies.CHECK,
    signers.CHECK,
    log_admission.CHECK,
    ticks_missing.CHECK,
)
"""Checks of the log."""
