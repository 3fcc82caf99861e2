"""When a duty binds, and from when on a shortfall can be told."""

from protos.stillwatch.statement.v1 import governance_pb2
from tests.unit.verifier.auditing import audit, found, outcomes, party_of
from tests.unit.verifier.logbook import MINUTE, TRAINING, play
from verifier.accounts.obligations import Outcome
from verifier.agreement.events import Acceded, Withdrawn
from verifier.agreement.parse import parse_agreement
from verifier.checks.interface import Severity
from verifier.duties import read_calendar
from verifier.instants import rfc3339
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion

NO_CURE = {"obligations.coverage-floor.cure": '"0 s"', "windows.late_grace": '"10 min"'}


def test_nothing_is_missing_before_the_grace_for_it_is_over(ruleset: Ruleset) -> None:
    """The honest have not logged the last minute yet, and have nine more to do so."""
    pause = play({}, minutes=5, after=0, terms=NO_CURE)
    book, (start, end) = pause.book, pause.in_force
    book.now_ms = end + MINUTE
    book.tick()
    for party in audit(book, (start, end + MINUTE), ruleset).parties:
        assert outcomes(party)["coverage-floor"] is Outcome.UNRESOLVED
        assert party.conclusion is Conclusion.UNRESOLVED
        assert [one.severity for one in found(party, "coverage_silence")] == [Severity.DOUBT]


def test_what_is_missing_after_the_grace_is_a_violation_where_nothing_cures_it(
    ruleset: Ruleset,
) -> None:
    pause = play({"cygnus/0": None}, minutes=5, after=0, terms=NO_CURE)
    book, period = pause.book, pause.in_force
    book.now_ms = period[1] + 11 * MINUTE
    book.tick()
    verdict = audit(book, period, ruleset)
    assert outcomes(party_of(verdict, "cygnus"))["coverage-floor"] is Outcome.VIOLATED
    assert outcomes(party_of(verdict, "aurora"))["coverage-floor"] is Outcome.KEPT


def test_a_party_that_comes_and_goes_a_thousand_times_is_bound_as_it_was_last() -> None:
    """However much is said, membership is what the log's last words make it."""
    pause = play({}, minutes=0, after=0)
    agreement = parse_agreement(pause.book.text.encode())
    start = pause.book.now_ms
    events: list[Acceded | Withdrawn] = [
        Acceded(start, bytes(32), party.id) for party in agreement.parties
    ]
    events += [
        (Withdrawn, Acceded)[at % 2](start + 1 + at, bytes(32), "cygnus") for at in range(1_200)
    ]
    events.append(Withdrawn(start + 5_000, bytes(32), "cygnus"))
    gone = start + 5_000 + agreement.withdrawal_notice_ms
    calendar = read_calendar(agreement, events, gone + MINUTE)
    assert calendar.members["cygnus"] == ((start, gone),)


def test_of_several_nodes_the_one_with_the_least_coverage_is_told(ruleset: Ruleset) -> None:
    pause = play({}, minutes=0, after=0, terms={"obligations.coverage-floor.scope": '"node"'})
    book, start = pause.book, pause.book.now_ms
    book.minute({"aurora/0": None})
    book.minute({"aurora/0": None, "aurora/1": None})
    for _ in range(6):
        book.minute({})
    party = party_of(audit(book, (start, start + 4 * MINUTE), ruleset), "aurora")
    duty = next(duty for duty in party.duties if duty.obligation.id == "coverage-floor")
    assert duty.outcome is Outcome.UNRESOLVED
    assert duty.assessment.measured_lower == 0.5


def test_a_cap_over_nodes_is_judged_by_the_node_that_ran_most(ruleset: Ruleset) -> None:
    pause = play(
        {"aurora/1": TRAINING},
        terms={
            "obligations.training-cap.scope": '"node"',
            "obligations.training-cap.limit": '"7e17 FLOP"',
        },
    )
    party = party_of(audit(pause.book, pause.in_force, ruleset), "aurora")
    assert outcomes(party)["training-cap"] is Outcome.VIOLATED
    (finding,) = found(party, "training_cap")
    node = pause.book.nodes["aurora/1"].key.key_id
    cited = {pause.book.records[one.index][10:42] for one in finding.evidence}
    assert cited == {node}


def test_a_verdict_on_a_part_of_a_stage_says_which_part_of_a_cap_it_did_not_see(
    ruleset: Ruleset,
) -> None:
    pause = play({})
    start, end = pause.in_force
    whole = party_of(audit(pause.book, (start, end), ruleset), "aurora")
    part = party_of(audit(pause.book, (start + 3 * MINUTE, end), ruleset), "aurora")
    words = f"what ran from {rfc3339(start)} on"
    assert not [line for line in whole.cannot_see if line.startswith(words)]
    assert [line for line in part.cannot_see if line.startswith(words)]


def test_withdrawal_binds_through_its_notice(ruleset: Ruleset) -> None:
    pause = play({}, minutes=0, after=0)
    book, start = pause.book, pause.book.now_ms
    book.say("borealis", governance_pb2.Withdrawal(agreement=book.pins.digest, party="borealis"))
    for _ in range(12):
        book.minute({"borealis": TRAINING})
    party = party_of(audit(book, (start, start + 8 * MINUTE), ruleset), "borealis")
    assert party.conclusion is Conclusion.VIOLATION
