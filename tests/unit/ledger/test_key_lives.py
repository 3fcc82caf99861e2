"""Keys that are revoked or rotated away, as a ledger admits what they say."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.refusal import Refusal
from ledger.screening import screen
from ledger.sequencer import Logged, Outcome, Sequencer
from protos.stillwatch.statement.v1 import identity_pb2
from statements.author import Author, Statement
from statements.rotation import rotation
from statements.signing import SigningKey
from tests.unit.ledger.cast import Cast, FailingJournal, Hours, Person, triple


class Desk:
    """Screening and sequencing together, as a ledger does them."""

    def __init__(self, cast: Cast, folder: Path) -> None:
        self.cast = cast
        self.journal = FailingJournal(folder)
        self.open()

    def open(self) -> None:
        self.keyring = self.cast.keyring()
        self.sequencer = Sequencer.open(self.journal, self.keyring, Hours())

    def send(self, *said: Statement) -> list[Outcome]:
        keyring = self.keyring
        batch, _ = screen(
            [triple(one) for one in said],
            keyring.known,
            keyring.may_appear,
            keyring.pins.digest,
            keyring.pins.disclosures,
        )
        (outcomes,) = self.sequencer.log([batch])
        return outcomes

    def reasons(self, *said: Statement) -> list[str]:
        return [one.reason if isinstance(one, Refusal) else "" for one in self.send(*said)]


@pytest.fixture
def desk(cast: Cast, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(cast, tmp_path)
    yield desk
    desk.journal.close()


@pytest.fixture
def node(cast: Cast, desk: Desk) -> Person:
    said, (node,) = cast.enrolled()
    assert desk.reasons(*said, node.open(), node.summary()) == [""] * 4
    return node


def revoked(cast: Cast, node: Person) -> Statement:
    return cast.party.say(identity_pb2.Revocation(key_id=node.key.key_id, reason="stolen"))


def rotated(node: Person, new: SigningKey) -> Statement:
    assert node.place is not None
    return node.say(rotation(new, node.place.author, node.key.key_id))


def resume(node: Person, new: SigningKey) -> Statement:
    """Open an epoch under the new key."""
    assert node.place is not None
    author, newest = node.place.author, node.place.previous
    node.key = new
    node.place = replace(Author.opening(new, node.draw.randbytes(16), newest), author=author)
    return node.say(identity_pb2.Opening(key=new.spki, logs=["log"], agreements=[node.agreement]))


def test_a_revoked_key_says_nothing_more(cast: Cast, desk: Desk, node: Person) -> None:
    assert desk.reasons(revoked(cast, node), node.summary()) == ["", "REVOKED_KEY"]
    assert desk.reasons(node.summary(), node.open()) == ["REVOKED_KEY"] * 2
    assert not desk.keyring.speaks(node.key.key_id)


def test_what_a_key_said_before_it_was_revoked_is_acknowledged_again(
    cast: Cast, desk: Desk, node: Person
) -> None:
    before = node.summary()
    first, _ = desk.send(before, revoked(cast, node))
    assert desk.send(before) == [first]


def test_a_revoked_key_that_says_another_thing_at_a_place_is_revoked_and_no_fork(
    cast: Cast, desk: Desk, node: Person
) -> None:
    place = node.place
    desk.send(node.summary(), revoked(cast, node))
    node.place = place
    assert desk.reasons(node.summary()) == ["REVOKED_KEY"]


def test_nobody_revokes_a_key_but_the_party_that_enrolled_its_node(
    cast: Cast, desk: Desk, node: Person
) -> None:
    desk.send(cast.evaluator.open())
    for who, key_id in (
        (cast.evaluator, node.key.key_id),
        (node, node.key.key_id),
        (cast.party, cast.evaluator_key.key_id),
        (cast.party, cast.ledger_key.key_id),
        (cast.party, bytes(32)),
    ):
        place = who.place
        assert desk.reasons(who.say(identity_pb2.Revocation(key_id=key_id))) == ["BAD_REVOCATION"]
        who.place = place
    assert desk.reasons(cast.party.say(identity_pb2.Revocation(key_id=b"short"))) == [
        "MALFORMED_BODY"
    ]


def test_a_revoked_key_is_not_enrolled_again(cast: Cast, desk: Desk, node: Person) -> None:
    desk.send(revoked(cast, node))
    assert desk.reasons(cast.party.say(cast.enrolment(node))) == ["BAD_ENROLMENT"]


def test_a_rotation_and_the_first_words_of_the_new_key_come_in_one_batch(
    desk: Desk, node: Person
) -> None:
    old, new, author = node.key, SigningKey.generate(), node.key.key_id
    said = [rotated(node, new), resume(node, new), node.summary()]
    assert desk.reasons(*said) == [""] * 3
    assert desk.keyring.speaks(author)
    assert not desk.keyring.is_live(old.key_id)
    assert [head.epoch for head in desk.sequencer.heads(author, 5)][-1] == node.place.epoch  # type: ignore[union-attr]


def test_a_key_that_was_rotated_away_says_nothing_more_and_its_lost_receipt_is_given_again(
    desk: Desk, node: Person
) -> None:
    old, before = node.key, rotated(node, new := SigningKey.generate())
    place = node.place
    (first,) = desk.send(before)
    assert desk.send(before) == [first]
    thief = Person(old, node.agreement, node.draw, place)
    assert desk.reasons(thief.summary(), thief.open()) == ["REVOKED_KEY"] * 2
    assert desk.reasons(resume(node, new)) == [""]


def test_a_rotation_needs_both_keys(cast: Cast, desk: Desk, node: Person) -> None:
    new, thief = SigningKey.generate(), SigningKey.generate()
    author = node.key.key_id
    for message in (
        identity_pb2.Rotation(new_key=new.spki, possession=bytes(64)),
        identity_pb2.Rotation(
            new_key=new.spki, possession=rotation(thief, author, author).possession
        ),
        rotation(new, author, new.key_id),
        rotation(new, new.key_id, author),
    ):
        place = node.place
        assert desk.reasons(node.say(message)) == ["BAD_ROTATION"]
        node.place = place


def test_a_new_key_is_a_fresh_one(cast: Cast, desk: Desk, node: Person) -> None:
    """Else one key would speak for two, and an end of one would be an end of both."""
    for taken in (cast.evaluator_key, cast.party_key, node.key):
        place = node.place
        assert desk.reasons(rotated(node, taken)) == ["BAD_ROTATION"]
        node.place = place
    new = SigningKey.generate()
    desk.send(rotated(node, new))
    assert desk.reasons(cast.party.say(cast.enrolment(cast.person(new)))) == ["BAD_ENROLMENT"]


def test_a_new_key_opens_an_epoch_of_its_own(desk: Desk, node: Person) -> None:
    new, old_place = SigningKey.generate(), node.place
    desk.send(rotated(node, new))
    assert node.place is not None
    assert old_place is not None
    node.place = replace(node.place, key=new)
    assert desk.reasons(resume(node, new)) == [""]
    node.place = replace(old_place, key=new, sequence=3)
    assert desk.reasons(node.summary()) == ["NOT_AN_OPENING"]


def test_the_ledgers_key_is_for_good(cast: Cast, desk: Desk) -> None:
    assert desk.reasons(cast.ledger.open(), rotated(cast.ledger, SigningKey.generate())) == [
        "",
        "BAD_ROTATION",
    ]


def test_a_party_goes_on_under_a_new_key_and_revokes_a_key_that_its_node_rotated_to(
    cast: Cast, desk: Desk, node: Person
) -> None:
    party, thiefs = SigningKey.generate(), SigningKey.generate()
    assert desk.reasons(rotated(cast.party, party), resume(cast.party, party)) == ["", ""]
    assert desk.reasons(rotated(node, thiefs), resume(node, thiefs)) == ["", ""]
    assert desk.reasons(revoked(cast, node), node.summary()) == ["", "REVOKED_KEY"]


def test_the_lives_of_keys_are_known_again_after_a_restart_and_not_after_a_failure(
    cast: Cast, desk: Desk, node: Person
) -> None:
    old, new = node.key, SigningKey.generate()
    rotating = rotated(node, new)
    desk.journal.failures = ["before"]
    with pytest.raises(Exception, match="nothing was written"):
        desk.send(rotating)
    assert desk.keyring.is_live(old.key_id)
    assert not desk.keyring.may_appear(new.key_id)
    assert isinstance(desk.send(rotating)[0], Logged)
    desk.open()
    assert not desk.keyring.is_live(old.key_id)
    assert desk.reasons(resume(node, new), revoked(cast, node), node.summary()) == [
        "",
        "",
        "REVOKED_KEY",
    ]
    desk.open()
    assert desk.reasons(node.summary()) == ["REVOKED_KEY"]
