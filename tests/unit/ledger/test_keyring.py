"""Whose keys may speak."""

from statements.header import decode_header
from statements.signing import VerifyingKey
from tests.unit.ledger.cast import Cast


def test_a_pinned_key_is_live_but_unknown_until_an_opening_shows_it(cast: Cast) -> None:
    keyring = cast.keyring()
    digest = cast.party_key.key_id
    assert keyring.is_live(digest)
    assert keyring.known(digest) is None
    opening = cast.party.open()
    keyring.learn(decode_header(opening.header), opening)
    assert keyring.known(digest) == cast.party_key.verifying_key()


def test_only_a_party_is_a_party(cast: Cast) -> None:
    keyring = cast.keyring()
    assert keyring.is_party(cast.party_key.key_id)
    assert not keyring.is_party(cast.evaluator_key.key_id)
    assert not keyring.is_party(cast.person().key.key_id)


def test_a_strangers_key_is_neither_live_nor_remembered(cast: Cast) -> None:
    keyring, stranger = cast.keyring(), cast.person()
    keyring.show(stranger.key.verifying_key())
    assert not keyring.is_live(stranger.key.key_id)
    assert keyring.known(stranger.key.key_id) is None


def test_an_enrolment_makes_a_key_live_and_known_at_once(cast: Cast) -> None:
    keyring, node = cast.keyring(), cast.person()
    cast.party.open()
    said = cast.party.say(cast.enrolment(node))
    keyring.learn(decode_header(said.header), said)
    assert keyring.is_live(node.key.key_id)
    assert keyring.known(node.key.key_id) == VerifyingKey.from_spki(node.key.spki)


def test_an_enrolment_that_did_not_last_leaves_no_key_behind(cast: Cast) -> None:
    keyring, node = cast.keyring(), cast.person()
    cast.party.open()
    party = cast.party_key.key_id
    message = cast.enrolment(node)
    header = decode_header(cast.party.say(message).header)
    undo = keyring.heed(header, message)
    again = keyring.heed(header, message)
    assert undo is not None
    assert again is not None
    again()
    assert keyring.is_live(node.key.key_id), "a second time makes nothing fresh"
    assert keyring.known(node.key.key_id) is not None
    assert keyring.enrolled_by(node.key.key_id, party)
    undo()
    assert not keyring.enrolled_by(node.key.key_id, party)
    assert not keyring.is_live(node.key.key_id)
    assert keyring.known(node.key.key_id) is None


def test_statements_of_other_kinds_teach_no_keys(cast: Cast) -> None:
    keyring = cast.keyring()
    cast.party.open()
    said = cast.party.summary()
    keyring.learn(decode_header(said.header), said)
    assert keyring.known(cast.party_key.key_id) is None
