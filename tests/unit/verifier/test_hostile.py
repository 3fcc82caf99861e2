"""What an inspected party, a rival, or a ledger may put into a log, and what it does not gain by it."""

import pytest

from tests.unit.verifier.auditing import audit, found, outcomes, party_of
from tests.unit.verifier.logbook import IDLE, MINUTE, TRAINING, Work, play
from verifier.accounts.obligations import Outcome
from verifier.checks.interface import Severity
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
