"""What an inspected party, a rival, or a ledger may put into a log, and what it does not gain by it."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from protos.stillwatch.statement.v1 import governance_pb2, summary_pb2
from statements.author import Seen
from statements.header import decode_header
from statements.kinds import Kind
from statements.record import decode_record
from tests.unit.verifier.auditing import audit, found, outcomes, party_of
from tests.unit.verifier.logbook import (
    IDLE,
    MINUTE,
    TRAINING,
    Logbook,
    Pause,
    Work,
    play,
    summary,
)
from verifier.accounts.obligations import Outcome
from verifier.checks.folding import MOST_TOLD
from verifier.checks.interface import Severity
from verifier.instants import LAST_MS
from verifier.report.document import to_document
from verifier.report.registry import FORMATS
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion

C = Conclusion


@pytest.mark.parametrize("instant", [2**53 - 1, 2**53, 2**62, 2**63, 2**64 - 1])
def test_no_instant_from_which_a_node_accounts_stops_an_audit(
    ruleset: Ruleset, instant: int
) -> None:
    pause = play({}, minutes=0, after=0, terms={"parties.aurora.declared_h100e": '"24 H100e"'})
    book, start = pause.book, pause.book.now_ms
    book.enrol("aurora", "aurora/later", from_ms=instant)
    for _ in range(8):
        book.minute({})
    party = party_of(audit(book, (start, start + 4 * MINUTE), ruleset), "aurora")
    # What it owes until then is still owed: the agreement declares the chips.
    assert party.account.coverage == pytest.approx(2 / 3)
    assert party.conclusion is C.UNRESOLVED


@pytest.mark.parametrize("work", [IDLE, TRAINING])
def test_windows_said_before_they_were_over_convict_and_do_not_acquit(
    ruleset: Ruleset, work: Work
) -> None:
    """Borealis logs its idle hour in advance, and turns its agents off."""
    pause = play({}, minutes=0, after=0, terms={"obligations.coverage-floor.cure": '"1 min"'})
    book, start = pause.book, pause.book.now_ms
    mine = [node for node in book.nodes.values() if node.party == "borealis"]
    for at in range(10):
        for node in mine:
            book.log(book.window(node, start + at * MINUTE, work))
    for _ in range(14):
        book.minute({"borealis": None})
    party = party_of(audit(book, (start, start + 10 * MINUTE), ruleset), "borealis")
    (finding,) = found(party, "early")
    # Ticks stand at 70 s, so that windows are early from the fourth on: the grace is two minutes.
    assert (finding.severity, finding.from_ms) == (Severity.DOUBT, start + 3 * MINUTE)
    assert party.account.coverage == pytest.approx(0.3)
    assert party.conclusion is C.VIOLATION
    broke = Outcome.VIOLATED if work is TRAINING else Outcome.UNRESOLVED
    assert outcomes(party) == {"training-cap": broke, "coverage-floor": Outcome.VIOLATED}


def test_a_node_whose_clock_is_ahead_by_less_than_the_grace_is_found_nothing_of(
    ruleset: Ruleset,
) -> None:
    pause = play({}, minutes=0, after=0)
    book, start = pause.book, pause.book.now_ms
    ahead = book.nodes.pop("aurora/0")
    for at in range(10):
        book.log(book.window(ahead, start + at * MINUTE, IDLE))
        book.minute({})
    for _ in range(4):
        book.minute({})
    party = party_of(audit(book, (start, start + 10 * MINUTE), ruleset), "aurora")
    assert party.findings == ()
    assert party.conclusion is C.COMPLIANT


@pytest.mark.parametrize("end", [LAST_MS, 2**53, 2**63, 2**64 - 1])
def test_no_date_in_a_header_stops_an_audit_or_its_report(ruleset: Ruleset, end: int) -> None:
    """Whoever has a node could, or else nobody would be judged."""
    pause = play({}, minutes=0, after=0)
    book, start = pause.book, pause.book.now_ms
    node = book.nodes["borealis/0"]
    for first in (start, end):
        book.log(book.sign(node, summary(node, start, IDLE), first, end))
    for _ in range(8):
        book.minute({})
    verdict = audit(book, (start, start + 4 * MINUTE), ruleset)
    assert verdict.ledger_findings == ()
    (finding,) = found(party_of(verdict, "borealis"), "windows_refused")
    assert finding.to_ms == LAST_MS
    assert "9999-12-31T23:59:59.999Z" in FORMATS["text"].render(to_document(verdict))


def test_a_verdict_fits_into_the_log_whatever_a_party_provokes(ruleset: Ruleset) -> None:
    """Only what is logged can be ruled on: a flood of findings must not keep a verdict out."""
    pause = play({}, minutes=0, after=0, terms={"obligations.training-cap.limit": '"1e25 FLOP"'})
    book, start = pause.book, pause.book.now_ms
    for at in range(60):
        book.enrol("borealis", f"borealis/{at + 2}", from_ms=start)
    odd = Work(tensor=1.5)
    for _ in range(6):
        book.minute({"borealis": odd})
    party = party_of(audit(book, (start, start + 2 * MINUTE), ruleset), "borealis")
    told = found(party, "impossible_values")
    assert len(told) == MOST_TOLD
    assert told[-1].summary.startswith("31 more findings of this kind")
    assert told[-1].id in party.open_findings
    assert party.conclusion is C.ANOMALY


def test_power_by_the_millisecond_is_read_by_the_second(ruleset: Ruleset) -> None:
    """What a party says of its power must not keep an auditor busy for ever, nor hide a line from it."""
    pause = play({}, minutes=0, after=0, terms={"obligations.training-cap.limit": '"1e25 FLOP"'})
    book, start = pause.book, pause.book.now_ms
    node = book.nodes.pop("aurora/0")
    for at in range(4):
        said = summary(node, start + at * MINUTE, IDLE)
        seconds = np.arange(60_000) / 1000 + 60 * at
        watts = np.round(900 + 300 * np.sign(np.sin(2 * np.pi * seconds / 11)))
        said.power.slot_ms = 1
        said.power.node = watts.astype("<u2").tobytes()
        book.log(book.sign(node, said, start + at * MINUTE, start + (at + 1) * MINUTE))
        book.minute({})
    for _ in range(4):
        book.minute({})
    rhythm = party_of(audit(book, (start, start + 4 * MINUTE), ruleset), "aurora").rhythm
    assert rhythm is not None
    assert rhythm.line.samples == 240
    assert rhythm.line.period_s == pytest.approx(11, rel=0.03)


# ------------------------------------------------------------------------------------------- a lying ledger


def _kinds(book: Logbook, kind: Kind) -> list[int]:
    return [
        at
        for at, entry in enumerate(book.records)
        if decode_header(decode_record(entry).header).kind == kind
    ]


@pytest.mark.parametrize("kind", [Kind.ACCESSION, Kind.FACT, Kind.ENROLMENT, Kind.INVENTORY])
@pytest.mark.parametrize("held", [None, b"other"])
def test_nobody_is_compliant_by_a_log_that_withholds_what_is_public(
    honest: Pause, ruleset: Ruleset, kind: Kind, held: bytes | None
) -> None:
    gone = _kinds(honest.book, kind)[0]
    bodies = [held if at == gone else body for at, body in enumerate(honest.book.bodies)]
    verdict = audit(replace(honest.book, bodies=bodies), honest.in_force, ruleset)
    assert C.COMPLIANT not in {party.conclusion for party in verdict.parties}
    told = next(one for one in verdict.ledger_findings if one.check == "public_bodies")
    assert [cited.index for cited in told.evidence] == [gone]


def test_nobody_is_compliant_by_a_log_that_dropped_what_a_signer_said(ruleset: Ruleset) -> None:
    pause = play({}, minutes=0, after=0)
    book, start = pause.book, pause.book.now_ms
    reply = governance_pb2.Reply(finding="f", text="t")
    book.sign(book.people["meridian"], reply)  # the ledger acknowledged it, and never logged it
    book.say("meridian", reply)
    for _ in range(8):
        book.minute({})
    verdict = audit(book, (start, start + 4 * MINUTE), ruleset)
    assert {party.conclusion for party in verdict.parties} == {C.UNRESOLVED}
    (told,) = verdict.ledger_findings
    assert (told.check, told.subject) == ("signers", "evaluators meridian")


def test_a_signer_that_contradicts_itself_costs_no_party_anything(ruleset: Ruleset) -> None:
    pause = play({}, minutes=0, after=0)
    book, start = pause.book, pause.book.now_ms
    place = book.people["meridian"].author
    book.say("meridian", governance_pb2.Reply(finding="f", text="t"))
    book.people["meridian"].author = place
    book.say("meridian", governance_pb2.Reply(finding="f", text="u"))
    for _ in range(8):
        book.minute({})
    verdict = audit(book, (start, start + 4 * MINUTE), ruleset)
    assert {party.conclusion for party in verdict.parties} == {C.COMPLIANT}
    assert [told.severity for told in verdict.ledger_findings] == [Severity.NOTE]


@pytest.mark.parametrize("more", [-3, 0, 5])
def test_an_author_that_saw_another_history_leaves_its_own_party_in_doubt(
    ruleset: Ruleset, more: int
) -> None:
    """The ledger showed it another log than the one it serves, or it says so: ``more`` records than were logged."""
    pause = play({}, minutes=0, after=0)
    book, start = pause.book, pause.book.now_ms
    node = book.nodes["aurora/0"]
    assert node.author is not None
    log = hashlib.sha256(book.origin.encode()).digest()
    seen = Seen(log, len(book.records) + more, b"\x01" * 32)
    said, node.author = node.author.say(
        summary_pb2.MeterReading(subject="hall"), start, start, salt=bytes(16), seen=seen
    )
    index = book.log(said)
    for _ in range(8):
        book.minute({})
    verdict = audit(book, (start, start + 4 * MINUTE), ruleset)
    (finding,) = found(party_of(verdict, "aurora"), "other_history")
    assert [cited.index for cited in finding.evidence] == [index]
    assert party_of(verdict, "aurora").conclusion is C.UNRESOLVED
    assert party_of(verdict, "borealis").conclusion is C.COMPLIANT


def test_an_author_that_saw_this_log_is_found_nothing_of(ruleset: Ruleset) -> None:
    pause = play({}, minutes=0, after=0)
    book, start = pause.book, pause.book.now_ms
    node = book.nodes["aurora/0"]
    log = hashlib.sha256(book.origin.encode()).digest()
    for size in (1, len(book.records) - 7, len(book.records)):
        assert node.author is not None
        seen = Seen(log, size, book.prefix().root_at(size))
        reading = summary_pb2.MeterReading(subject="hall")
        said, node.author = node.author.say(reading, start, start, salt=bytes(16), seen=seen)
        book.log(said)
    for _ in range(8):
        book.minute({})
    verdict = audit(book, (start, start + 4 * MINUTE), ruleset)
    assert party_of(verdict, "aurora").findings == ()
