"""Keys that are revoked or rotated away, as an auditor hears them."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2
from statements.author import Author
from statements.body import decode_body
from statements.kinds import Kind
from statements.rotation import rotation
from statements.signing import SigningKey
from tests.unit.verifier.logbook import IDLE, MINUTE, T0, Logbook, NodeSpeaker, Speaker
from verifier.evidence.gather import Evidence


@pytest.fixture
def book() -> Logbook:
    book = Logbook.begin()
    book.enrol("aurora", "aurora/0")
    return book


def _node(book: Logbook) -> NodeSpeaker:
    return book.nodes["aurora/0"]


def _window(book: Logbook, at: int) -> int:
    return book.log(book.window(_node(book), T0 + at * MINUTE, IDLE))


def _authentic(evidence: Evidence) -> set[int]:
    return set(evidence.records.index[evidence.chains.authentic].tolist())


def _faults(evidence: Evidence) -> list[tuple[str, int]]:
    return [(fault.reason, fault.index) for fault in evidence.faults]


def _revoke(book: Logbook, party: str, key_id: bytes) -> int:
    return book.say(party, identity_pb2.Revocation(key_id=key_id))


def _rotate(book: Logbook, speaker: Speaker, new: SigningKey) -> int:
    assert speaker.author is not None
    return book.log(book.sign(speaker, rotation(new, speaker.author.author, speaker.key.key_id)))


def _resume(book: Logbook, speaker: Speaker, new: SigningKey) -> int:
    """Open an epoch under the new key."""
    assert speaker.author is not None
    first = speaker.author.author
    speaker.key = new
    speaker.author = replace(Author.opening(new, book.draw(16), speaker.newest), author=first)
    opening = book._opening(new, identity_pb2.TELEMETRY_SIMULATED)
    return book.log(book.sign(speaker, opening))


def test_what_a_revoked_key_says_is_no_evidence_and_what_it_said_before_stands(
    book: Logbook,
) -> None:
    before = _window(book, 0)
    _revoke(book, "aurora", _node(book).key.key_id)
    after = [_window(book, 1), _window(book, 2)]
    evidence = book.evidence()
    assert _authentic(evidence) == set(range(len(book.records))) - set(after)
    assert before in _authentic(evidence)
    assert _faults(evidence) == [("REVOKED_KEY", index) for index in after]
    assert evidence.chains.forks == ()


def test_revocation_takes_no_chip_from_what_must_be_accounted_for(book: Logbook) -> None:
    nodes = book.evidence().nodes
    _revoke(book, "aurora", _node(book).key.key_id)
    assert book.evidence().nodes == nodes


def test_a_node_enrolled_again_after_its_revocation_stays_silent_and_owes_its_chips(
    book: Logbook,
) -> None:
    _revoke(book, "aurora", _node(book).key.key_id)
    records = book.evidence().records
    enrolment = records.kind.tolist().index(int(Kind.ENROLMENT))
    body = book.bodies[enrolment] or b""
    again = identity_pb2.Enrolment.FromString(decode_body(body))
    book.say("aurora", again)
    after = _window(book, 1)
    evidence = book.evidence()
    assert ("REVOKED_KEY", after) in _faults(evidence)
    assert [node.chips for node in evidence.nodes] == [8]


@pytest.mark.parametrize("who", ["borealis", "meridian", "ledger"])
def test_nobody_else_can_silence_a_node(book: Logbook, who: str) -> None:
    index = _revoke(book, who, _node(book).key.key_id)
    after = _window(book, 1)
    evidence = book.evidence()
    assert after in _authentic(evidence)
    assert _faults(evidence) == [("BAD_REVOCATION", index)]


def test_a_party_cannot_silence_whom_it_did_not_enrol(book: Logbook) -> None:
    index = _revoke(book, "aurora", book.people["meridian"].key.key_id)
    book.open(book.people["meridian"])
    assert _faults(book.evidence()) == [("BAD_REVOCATION", index)]


def test_a_node_goes_on_under_a_new_key_and_is_the_same_node(book: Logbook) -> None:
    node, new = _node(book), SigningKey.generate()
    first = _window(book, 0)
    _rotate(book, node, new)
    _resume(book, node, new)
    last = _window(book, 1)
    evidence = book.evidence()
    assert evidence.faults == ()
    assert (evidence.chains.gaps, evidence.chains.forks) == ((), ())
    assert _authentic(evidence) == set(range(len(book.records)))
    authors = {evidence.records.text("author", row) for row in (first, last)}
    assert authors == {evidence.nodes[0].node_id}


def test_a_signer_goes_on_under_a_new_key_and_is_heard_in_its_name(book: Logbook) -> None:
    who, new = book.people["meridian"], SigningKey.generate()
    book.open(who)
    _rotate(book, who, new)
    _resume(book, who, new)
    index = book.say("meridian", governance_pb2.Fact(indicator="task_horizon", value=16.0))
    evidence = book.evidence()
    assert ("meridian", index) in {(said.name, said.index) for said in evidence.said}
    assert evidence.faults == ()


def test_a_fork_by_a_key_that_was_rotated_away_has_no_effect(book: Logbook) -> None:
    """A thief who comes too late can contest nothing, not even with a header for an old place."""
    node, new = _node(book), SigningKey.generate()
    old, place = node.key, node.author
    _window(book, 0)
    _rotate(book, node, new)
    _resume(book, node, new)
    thief = NodeSpeaker(old, place, party="aurora", name="thief", inventory=node.inventory)
    late = book.log(book.window(thief, T0 + 5 * MINUTE, IDLE))
    honest = _window(book, 1)
    evidence = book.evidence()
    assert evidence.chains.forks == ()
    assert _faults(evidence) == [("REVOKED_KEY", late)]
    assert honest in _authentic(evidence)


def test_a_thief_of_the_old_key_cannot_rotate_again(book: Logbook) -> None:
    node, new, thiefs = _node(book), SigningKey.generate(), SigningKey.generate()
    thief = replace(node)
    _rotate(book, node, new)
    _resume(book, node, new)
    late = [_rotate(book, thief, thiefs), _resume(book, thief, thiefs)]
    evidence = book.evidence()
    assert _faults(evidence) == [("REVOKED_KEY", late[0]), ("UNKNOWN_KEY", late[1])]
    assert _window(book, 1) in _authentic(book.evidence())


@pytest.mark.parametrize(
    "forge",
    [
        lambda new, author: identity_pb2.Rotation(new_key=new.spki, possession=bytes(64)),
        lambda new, author: rotation(new, new.key_id, author),
        lambda new, author: rotation(new, author, new.key_id),
        lambda new, author: identity_pb2.Rotation(new_key=b"no key"),
    ],
)
def test_a_rotation_that_the_new_key_did_not_sign_does_nothing(
    book: Logbook, forge: Callable[[SigningKey, bytes], identity_pb2.Rotation]
) -> None:
    node = _node(book)
    index = book.log(book.sign(node, forge(SigningKey.generate(), node.key.key_id)))
    after = _window(book, 0)
    evidence = book.evidence()
    assert [fault.index for fault in evidence.faults] == [index]
    assert after in _authentic(evidence)


def test_a_rotation_to_a_key_that_speaks_already_does_nothing(book: Logbook) -> None:
    node = _node(book)
    index = _rotate(book, node, book.people["borealis"].key)
    assert _faults(book.evidence()) == [("BAD_ROTATION", index)]
    assert _window(book, 0) in _authentic(book.evidence())


def test_a_ledger_does_not_rotate_its_key(book: Logbook) -> None:
    index = _rotate(book, book.people["ledger"], SigningKey.generate())
    assert _faults(book.evidence()) == [("BAD_ROTATION", index)]


def test_a_rotation_at_a_place_that_was_taken_does_nothing(book: Logbook) -> None:
    """It proves that the key was used twice; which of the two goes on is the first."""
    node = _node(book)
    thief = replace(node)
    first = _window(book, 0)
    _rotate(book, thief, SigningKey.generate())
    after = _window(book, 1)
    evidence = book.evidence()
    assert {first, after} <= _authentic(evidence)
    assert len(evidence.chains.forks) == 1
    assert evidence.faults == ()


def test_a_forged_statement_at_its_place_does_not_undo_a_rotation(book: Logbook) -> None:
    node, new = _node(book), SigningKey.generate()
    other = book.window(replace(node), T0, IDLE)
    forged = book.log(other._replace(signature=bytes(31) + b"\x01" + bytes(31) + b"\x01"))
    _rotate(book, node, new)
    _resume(book, node, new)
    evidence = book.evidence()
    assert _window(book, 1) in _authentic(book.evidence())
    assert _faults(evidence) == [("BAD_SIGNATURE", forged)]


def test_an_enrolment_at_a_place_that_was_taken_enrols_nobody(book: Logbook) -> None:
    """Ledgers do not heed it either: both must agree on who may speak."""
    party = book.people["aurora"]
    thief = replace(party)
    book.say("aurora", governance_pb2.Accession(agreement=book.pins.digest, party="aurora"))
    book.people["aurora"] = thief
    book.enrol("aurora", "aurora/1")
    book.people["aurora"] = party
    evidence = book.evidence()
    assert [node.name for node in evidence.nodes] == ["aurora/0"]
    assert len(evidence.chains.forks) == 1
