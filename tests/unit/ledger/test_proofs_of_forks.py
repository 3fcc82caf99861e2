"""Two statements for one place: refused to whoever sends the second alone, logged for whoever hands over both."""

import pytest

from ledger.errors import JournalError
from ledger.refusal import Refusal
from ledger.sequencer import Logged
from protos.stillwatch.statement.v1 import identity_pb2
from statements.author import Statement
from tests.unit.ledger.cast import Cast, Person
from tests.unit.ledger.test_key_lives import Desk, desk, node

__all__ = ["desk", "node"]  # fixtures, shared with the test of keys' lives


def _forked(node: Person) -> tuple[Statement, Statement, Statement]:
    """Return two statements for one place, and what follows the first."""
    place = node.place
    second = node.summary()
    node.place = place
    first = node.summary()
    return first, second, node.summary()


def test_an_author_that_sends_a_second_statement_alone_is_refused_and_goes_on_elsewhere(
    desk: Desk, node: Person
) -> None:
    first, second, after = _forked(node)
    assert desk.reasons(first, second, after) == ["", "FORK", ""]
    size = desk.sequencer.size
    assert desk.reasons(second) == ["FORK"]
    assert desk.sequencer.size == size
    assert desk.reasons(node.open()) == [""]


def test_whoever_hands_over_both_has_the_second_logged_and_the_first_branch_goes_on(
    desk: Desk, node: Person
) -> None:
    first, second, after = _forked(node)
    desk.send(first)
    size = desk.sequencer.size
    again, proof = desk.send(first, second)
    assert isinstance(proof, Logged)
    assert (again, proof.index) == (desk.send(first)[0], size)
    assert desk.reasons(after) == [""]
    assert desk.send(second) == [proof], "sent again it is acknowledged again"


def test_an_epoch_is_proved_forked_once(desk: Desk, node: Person) -> None:
    place = node.place
    first, second, _ = _forked(node)
    node.place = place
    third = node.summary()
    desk.send(first)
    assert desk.reasons(first, second) == ["", ""]
    assert desk.reasons(first, third) == ["", "FORK"]


def test_what_is_handed_over_is_still_judged(cast: Cast, desk: Desk, node: Person) -> None:
    """Nobody but the key's holder can make the second one, and an ended key's is worth nothing."""
    first, second, after = _forked(node)
    desk.send(first, after)
    forged = Statement(second.header, bytes(31) + b"\x01" + bytes(31) + b"\x01", second.stored)
    assert desk.reasons(first, forged) == ["", "BAD_SIGNATURE"]
    assert desk.reasons(after, second) == ["", "FORK"], "another place's statement is not its rival"
    desk.send(cast.party.say(identity_pb2.Revocation(key_id=node.key.key_id)))
    assert desk.reasons(first, second) == ["", "REVOKED_KEY"]


def test_a_proof_does_nothing_but_prove(cast: Cast, desk: Desk, node: Person) -> None:
    place = cast.party.place
    revocation = cast.party.say(identity_pb2.Revocation(key_id=node.key.key_id))
    cast.party.place = place
    first = cast.party.summary()
    desk.send(first)
    assert desk.reasons(first, revocation) == ["", ""]
    assert desk.reasons(node.summary()) == [""]
    desk.open()
    assert desk.reasons(node.summary(), cast.party.summary()) == ["", ""]


@pytest.mark.parametrize("failure", ["before", "after"])
def test_a_proof_is_durable_or_was_never_there(desk: Desk, node: Person, failure: str) -> None:
    first, second, after = _forked(node)
    desk.send(first)
    desk.journal.failures = [failure]
    with pytest.raises(JournalError):
        desk.send(first, second)
    outcomes = desk.send(first, second)
    assert not any(isinstance(one, Refusal) for one in outcomes)
    size = desk.sequencer.size
    desk.open()
    assert desk.sequencer.size == size
    assert desk.send(first, second) == outcomes
    assert desk.reasons(after) == [""]


def test_a_ledger_that_starts_anew_goes_on_after_forks_and_turns_of_speakers(
    cast: Cast, desk: Desk, node: Person
) -> None:
    """What is read of the journal at a start leads to the heads that the ledger had which wrote it."""
    said, (other,) = cast.enrolled()
    assert desk.reasons(*said, other.open()) == [""] * 2
    for _ in range(3):
        assert desk.reasons(node.summary(), other.summary(), node.summary()) == [""] * 3
    first, second, after = _forked(node)
    assert desk.reasons(first, after) == ["", ""]
    assert desk.reasons(first, second) == ["", ""], "handed over, both are logged"
    assert desk.reasons(other.summary()) == [""]
    assert desk.reasons(other.open(), other.summary()) == ["", ""]
    people = [cast.party, node, other]
    before = [desk.sequencer.heads(one.key.key_id, 10) for one in people]
    desk.open()
    assert [desk.sequencer.heads(one.key.key_id, 10) for one in people] == before
    assert desk.reasons(node.summary(), other.summary()) == ["", ""]
