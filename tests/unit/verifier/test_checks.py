"""Each check fires on what it looks for, and on nothing that an honest party does."""

from dataclasses import replace

import numpy as np
import pytest

from protos.stillwatch.statement.v1 import summary_pb2
from statements.header import decode_header
from statements.kinds import Kind
from statements.record import decode_record
from tests.unit.verifier.logbook import (
    IDLE,
    MINUTE,
    T0,
    TRAINING,
    Logbook,
    NodeSpeaker,
    Pause,
    Work,
    play,
    summary,
)
from verifier.checks.interface import (
    Check,
    CheckClass,
    Finding,
    LedgerCheck,
    Severity,
    finding_id,
)
from verifier.checks.outside import NOT_DETECTABLE
from verifier.checks.registry import CHECKS, LEDGER_CHECKS
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion, Verdict, conclude


def _audit(book: Logbook, period: tuple[int, int], ruleset: Ruleset) -> Verdict:
    return conclude(book.text.encode(), book.evidence(), period, ruleset)


def _found(verdict: Verdict, party: str, check: str) -> list[Finding]:
    whose = next(one for one in verdict.parties if one.party == party)
    return [ruled.finding for ruled in whose.findings if ruled.finding.check == check]


def _begun() -> tuple[Logbook, int]:
    """Return a pause that has just come into force, and when."""
    pause = play({}, minutes=0, after=0)
    return pause.book, pause.book.now_ms


def _go_on(book: Logbook, minutes: int = 4) -> None:
    for _ in range(minutes):
        book.minute({})


def test_an_honest_party_is_found_nothing_of(honest: Pause, ruleset: Ruleset) -> None:
    verdict = _audit(honest.book, honest.in_force, ruleset)
    assert [party.findings for party in verdict.parties] == [(), (), ()]
    assert verdict.ledger_findings == ()


def test_every_check_says_what_it_is() -> None:
    every: list[Check | LedgerCheck] = [*CHECKS, *LEDGER_CHECKS]
    assert len({check.id for check in every}) == len(every)
    for check in every:
        assert check.looks_for
        assert check.cites
        assert check.argument
        assert check.version >= 1
        assert check.cls is not CheckClass.OUTSIDE
    assert all(line.endswith("not detectable here") for line in NOT_DETECTABLE)


def test_ids_of_findings_name_what_they_are_about() -> None:
    base = finding_id("late", "aurora", "node", T0)
    assert base.startswith("late-")
    others = {
        finding_id("late", "borealis", "node", T0),
        finding_id("late", "aurora", "another", T0),
        finding_id("late", "aurora", "node", T0 + 1),
    }
    assert len(others | {base}) == 4


# ------------------------------------------------------------------------------------------------ chains


def test_a_cloned_key_is_a_breach_with_both_headers_as_evidence(ruleset: Ruleset) -> None:
    book, start = _begun()
    node = book.nodes["borealis/0"]
    place = node.author
    book.log(book.window(node, start, IDLE))
    place, node.author = node.author, place
    book.log(book.window(node, start, TRAINING))
    node.author = place
    one, two = len(book.records) - 2, len(book.records) - 1
    for other in ("aurora/0", "aurora/1", "borealis/1", "cygnus/0", "cygnus/1"):
        book.log(book.window(book.nodes[other], start, IDLE))
    book.now_ms += MINUTE
    _go_on(book)
    verdict = _audit(book, (start, start + 2 * MINUTE), ruleset)
    (finding,) = _found(verdict, "borealis", "chain_fork")
    assert [cited.index for cited in finding.evidence] == [one, two]
    assert [cited.statement_id for cited in finding.evidence] == [book.ids[one], book.ids[two]]
    assert {p.party: p.conclusion for p in verdict.parties}["borealis"] is Conclusion.VIOLATION
    assert _found(verdict, "aurora", "chain_fork") == []


def test_restarts_beyond_the_budget_are_noted_and_change_nothing(ruleset: Ruleset) -> None:
    book, start = _begun()
    node = book.nodes["aurora/0"]
    for _ in range(5):
        book.join(node)
    _go_on(book, 8)
    verdict = _audit(book, (start, start + 4 * MINUTE), ruleset)
    (finding,) = _found(verdict, "aurora", "restarts")
    assert finding.severity is Severity.NOTE
    assert verdict.parties[0].conclusion is Conclusion.COMPLIANT


def test_a_window_restated_after_a_restart_is_noted_and_counts_once(ruleset: Ruleset) -> None:
    book, start = _begun()
    node = book.nodes["borealis/0"]
    said = summary_pb2.WorkloadSummary()
    said.CopyFrom(summary(node, start, TRAINING))
    book.log(book.sign(node, said, start, start + MINUTE))
    book.open(node, 3)
    book.log(book.sign(node, said, start, start + MINUTE))
    book.nodes = {name: who for name, who in book.nodes.items() if name != "borealis/0"}
    book.minute({})
    book.nodes["borealis/0"] = node
    _go_on(book)
    verdict = _audit(book, (start, start + MINUTE), ruleset)
    (finding,) = _found(verdict, "borealis", "impossible_values")
    assert "OVERLAPPING_WINDOWS" in finding.summary
    assert finding.severity is Severity.NOTE
    proved = next(p for p in verdict.parties if p.party == "borealis").account.lower_flop
    assert proved == pytest.approx(0.375 * 0.45 * 540_672 * 1.755e9 * 8 * 60, rel=1e-6)


# ------------------------------------------------------------------------------------------------ values


def test_an_energy_counter_that_falls_within_a_boot_is_an_anomaly(ruleset: Ruleset) -> None:
    book, start = _begun()
    _go_on(book, 2)
    book.nodes["aurora/1"].energy_mj = 5
    _go_on(book, 6)
    verdict = _audit(book, (start, start + 4 * MINUTE), ruleset)
    (finding,) = _found(verdict, "aurora", "counter_continuity")
    assert "aurora/1" in finding.subject
    assert verdict.parties[0].conclusion is Conclusion.ANOMALY


@pytest.mark.parametrize(
    ("work", "code"),
    [
        (Work(tensor=1.5), "IMPOSSIBLE_ACTIVITY"),
        (Work(clock_mhz=4_000.0), "IMPOSSIBLE_CLOCK"),
        (Work(power_w=-5.0, counters=False), "IMPOSSIBLE_POWER"),
    ],
)
def test_impossible_readings_are_anomalies(work: Work, code: str, ruleset: Ruleset) -> None:
    pause = play({"aurora/0": work})
    verdict = _audit(pause.book, pause.in_force, ruleset)
    found = _found(verdict, "aurora", "impossible_values")
    assert [code in finding.summary for finding in found] == [True]
    assert verdict.parties[0].conclusion is Conclusion.ANOMALY


def test_a_window_with_other_chips_than_enrolled_leaves_doubt(ruleset: Ruleset) -> None:
    book, start = _begun()
    node = book.nodes["aurora/0"]
    book.join(node, chips=7)
    book.log(book.sign(node, summary(node, start, IDLE, 7), start, start + MINUTE))
    del book.nodes["aurora/0"]
    _go_on(book)
    verdict = _audit(book, (start, start + MINUTE), ruleset)
    found = _found(verdict, "aurora", "impossible_values")
    assert ["CHIP_COUNT" in finding.summary for finding in found] == [True]
    assert verdict.parties[0].conclusion is Conclusion.UNRESOLVED


@pytest.mark.parametrize("what", ["misaligned", "uncited", "unfit"])
def test_windows_that_cannot_be_judged_are_told_and_do_not_count(
    what: str, ruleset: Ruleset
) -> None:
    book, start = _begun()
    node = book.nodes["aurora/0"]
    said, span = summary(node, start, IDLE), (start, start + MINUTE)
    if what == "misaligned":
        span = (start + 1, start + MINUTE)
    elif what == "uncited":
        said.inventory = bytes(32)
    else:
        said.chip_features = said.chip_features[:-4]
    book.log(book.sign(node, said, *span))
    del book.nodes["aurora/0"]
    _go_on(book)
    verdict = _audit(book, (start, start + MINUTE), ruleset)
    (finding,) = _found(verdict, "aurora", "windows_refused")
    assert [cited.statement_id for cited in finding.evidence] == [
        said_id for said_id in book.ids if said_id == finding.evidence[0].statement_id
    ]
    assert verdict.parties[0].account.coverage == pytest.approx(0.5)


# ------------------------------------------------------------------------------------------------ rhythm


def _stepping(book: Logbook, node: NodeSpeaker, start: int, phase: float) -> None:
    """Log a window in which power steps with a period of 11 s; ``phase`` is in seconds."""
    said = summary(node, start, replace(IDLE, power_w=None, counters=False))
    seconds = np.arange(60) + (start - T0) / 1000 + phase
    watts = np.round(400 + 200 * np.sign(np.sin(2 * np.pi * seconds / 11))).astype("<u2")
    said.power.slot_ms = 1000
    said.power.node = watts.tobytes()
    book.log(book.sign(node, said, start, start + MINUTE))


def _many(apart: float, ruleset: Ruleset) -> Verdict:
    """Return the verdict on aurora with ten nodes whose steps are ``apart`` seconds apart, for half an hour."""
    terms = {
        "parties.aurora.declared_h100e": '"96 H100e"',
        "obligations.training-cap.limit": '"1e25 FLOP"',
        "windows.late_grace": '"10 min"',
    }
    pause = play({}, minutes=0, after=0, terms=terms)
    book, start = pause.book, pause.book.now_ms
    fleet = [book.enrol("aurora", f"aurora/{at}", from_ms=start) for at in range(2, 12)]
    for node in fleet:
        del book.nodes[node.name]
    for at in range(40):
        begin = start + at * MINUTE
        book.now_ms = begin + MINUTE
        for place, node in enumerate(fleet):
            _stepping(book, node, begin, apart * place)
        book.now_ms = begin
        book.minute({})
    return _audit(book, (start, start + 30 * MINUTE), ruleset)


def test_nodes_that_step_together_while_training_is_capped_are_an_anomaly(
    ruleset: Ruleset,
) -> None:
    verdict = _many(0.0, ruleset)
    (finding,) = _found(verdict, "aurora", "training_signature")
    assert finding.cls is CheckClass.STATISTICAL
    rhythm = verdict.parties[0].rhythm
    assert rhythm is not None
    assert rhythm.line.period_s == pytest.approx(11, rel=0.03)
    assert rhythm.coherence.value == pytest.approx(1, abs=0.05)


def test_the_same_line_out_of_phase_is_none(ruleset: Ruleset) -> None:
    verdict = _many(1.1, ruleset)
    assert _found(verdict, "aurora", "training_signature") == []


# ------------------------------------------------------------------------------------------------ the log


def test_stretches_without_ticks_are_the_logs_finding(honest: Pause, ruleset: Ruleset) -> None:
    start = honest.in_force[0]
    gone = [
        at for at, entry in enumerate(honest.book.records)
        if decode_header(decode_record(entry).header).kind == Kind.TICK
        and start < decode_record(entry).logged_at_ms < start + 5 * MINUTE
    ]  # fmt: skip
    quiet = replace(honest.book, records=list(honest.book.records), bodies=list(honest.book.bodies))
    for at in gone:  # the tick's place holds garbage: a leaf that is no record
        quiet.records[at], quiet.bodies[at] = b"", None
    verdict = _audit(quiet, honest.in_force, ruleset)
    checks = {finding.check for finding in verdict.ledger_findings}
    # Later ticks cover another tree than the one served: the log contradicts itself.
    assert checks >= {"log_admission", "log_inconsistency"}
    assert all(party.conclusion is not Conclusion.COMPLIANT for party in verdict.parties)


def test_records_that_should_not_have_been_admitted_are_told_and_change_no_verdict(
    ruleset: Ruleset,
) -> None:
    book, start = _begun()
    book.records.append(b"not a record")
    book.bodies.append(None)
    book.ids.append(bytes(32))
    _go_on(book, 8)
    verdict = _audit(book, (start, start + 4 * MINUTE), ruleset)
    assert [finding.check for finding in verdict.ledger_findings] == ["log_admission"]
    assert {party.conclusion for party in verdict.parties} == {Conclusion.COMPLIANT}
