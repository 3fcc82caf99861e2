"""How caps and floors stand, and what would settle an open one."""

import pytest

from tests.unit.verifier.accounts.told import (
    BUSY,
    IDLE,
    Window,
    party,
)
from verifier.accounts.chips import ChipTable
from verifier.accounts.obligations import (
    Evidence,
    Outcome,
    assess_coverage_floor,
    assess_training_cap,
)
from verifier.agreement.model import Trust


def test_a_cap_is_kept_violated_or_open(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY))
    assert assess_training_cap(found, found.upper_flop * 1.01).outcome is Outcome.KEPT
    assert assess_training_cap(found, found.lower_flop * 0.99).outcome is Outcome.VIOLATED
    assert assess_training_cap(found, found.estimate_flop).outcome is Outcome.UNRESOLVED


def test_an_open_cap_names_the_cheapest_evidence(table: ChipTable) -> None:
    quiet = party(table, Window(0, IDLE), minutes=2)
    assessment = assess_training_cap(quiet, 1e15)
    assert assessment.outcome is Outcome.UNRESOLVED
    assert assessment.would_resolve is not None
    assert assessment.would_resolve.evidence is Evidence.MISSING_WINDOWS
    assert assessment.would_resolve.settles


def test_what_a_party_of_which_nothing_was_seen_would_show_is_not_predicted(
    table: ChipTable,
) -> None:
    silent = party(table, minutes=2)
    remedy = assess_training_cap(silent, 1e15).would_resolve
    assert remedy is not None
    assert remedy.evidence is Evidence.MISSING_WINDOWS
    assert not remedy.settles
    assert remedy.upper == silent.most_flop


def test_missing_windows_are_taken_to_be_like_those_that_were_seen(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY), minutes=2)
    remedy = assess_training_cap(found, 1.5 * found.upper_flop).would_resolve
    assert remedy is not None
    assert not (remedy.evidence is Evidence.MISSING_WINDOWS and remedy.settles)
    broken = assess_training_cap(found, 1.5 * found.lower_flop).would_resolve
    assert broken is not None
    assert broken.evidence is Evidence.MISSING_WINDOWS
    assert broken.settles
    assert broken.lower == pytest.approx(2 * found.lower_flop)


def test_under_meters_alone_a_meter_that_others_hold_is_what_is_missing(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY), trust=Trust.METERS)
    assessment = assess_training_cap(found, 1e15)
    assert assessment.outcome is Outcome.UNRESOLVED
    assert assessment.would_resolve is not None
    assert assessment.would_resolve.evidence is Evidence.INDEPENDENT_METER


def test_chips_of_a_model_that_the_table_does_not_know_are_counted(table: ChipTable) -> None:
    window = Window(features=BUSY, model="NVIDIA H20")
    unknown = party(table, window, models=(table.row("NVIDIA H20"),))
    assert unknown.unknown_chips == 1
    assert party(table, Window(features=BUSY)).unknown_chips == 0
    assert unknown.lower_flop == 0


def test_power_alone_never_violates_a_cap(table: ChipTable) -> None:
    found = party(table, Window(wall_j=600_000, chips=8), chips=8)
    assert assess_training_cap(found, 0.0).outcome is Outcome.UNRESOLVED


def test_a_missed_floor_is_open_until_its_cure_ends(table: ChipTable) -> None:
    found = party(table, Window(features=BUSY), minutes=2)
    end = found.period[1]
    assert assess_coverage_floor(found, 0.5, 1000, end).outcome is Outcome.KEPT
    assert assess_coverage_floor(found, 0.9, 1000, end + 999).outcome is Outcome.UNRESOLVED
    assert assess_coverage_floor(found, 0.9, 1000, end + 1000).outcome is Outcome.VIOLATED
