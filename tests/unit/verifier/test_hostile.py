"""What an inspected party, a rival, or a ledger may put into a log, and what it does not gain by it."""

import pytest

from tests.unit.verifier.auditing import audit, party_of
from tests.unit.verifier.logbook import MINUTE, play
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
