"""Keys that somebody else replaced, as a ledger admits what they say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.folder import LedgerFolder
from ledger.founding import found
from ledger.fsck import examine
from ledger.journal.sqlite import SqliteJournal
from ledger.objects.directory import DirectoryStore
from ledger.publisher import Publisher
from ledger.sequencer import Logged, Sequencer
from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2, summary_pb2
from statements.author import Author, Statement
from statements.enrolment import possession_digest
from statements.record import Record, encode_record
from statements.rotation import recovery
from statements.signing import SigningKey
from tests.unit.ledger.cast import ORIGIN, T0, Cast, Hours, Person, screened
from tests.unit.ledger.test_key_lives import Desk, resume, rotated

JUDGES = [SigningKey.generate() for _ in range(3)]


def _panel() -> str:
    rows = [
        f'[[adjudicators]]\nid = "judge-{at}"\nkey = "sha256:{key.key_id.hex()}"\n'
        for at, key in enumerate(JUDGES)
    ]
    return "\n".join([*rows, '[panel]\nmembers = ["judge-0", "judge-1", "judge-2"]\nquorum = 2\n'])


@pytest.fixture
def cast() -> Cast:
    return Cast(disclosure=_panel())


@pytest.fixture
def desk(cast: Cast, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(cast, tmp_path)
    said, (node,) = cast.enrolled()
    assert desk.reasons(*said, node.open(), cast.saviour.open(), cast.evaluator.open()) == [""] * 5
    yield desk
    desk.journal.close()


def replaced(cast: Cast, by: Person, who: Person, new: SigningKey) -> Statement:
    """Let somebody say that somebody else goes on under a new key."""
    assert who.place is not None
    return by.say(recovery(new, who.place.author, cast.pins.digest, "lost"))


def test_a_lost_key_is_replaced_and_its_author_goes_on_in_the_same_batch(
    cast: Cast, desk: Desk
) -> None:
    new, author = SigningKey.generate(), cast.party.key.key_id
    replacing = replaced(cast, cast.saviour, cast.party, new)
    assert desk.reasons(replacing, resume(cast.party, new)) == ["", ""]
    assert desk.keyring.speaks(author)
    node = cast.person()
    assert desk.reasons(cast.party.say(cast.enrolment(node)), node.open()) == ["", ""]


def test_a_thief_is_refused_from_then_on_under_whatever_key_it_went_on(
    cast: Cast, desk: Desk
) -> None:
    stolen, thiefs, new = cast.party.key, SigningKey.generate(), SigningKey.generate()
    thief = Person(stolen, cast.pins.digest, cast.draw, cast.party.place)
    assert desk.reasons(rotated(thief, thiefs), resume(thief, thiefs)) == ["", ""]
    replacing = replaced(cast, cast.saviour, cast.party, new)
    assert desk.reasons(replacing, resume(cast.party, new)) == ["", ""]
    old = Person(stolen, cast.pins.digest, cast.draw, None)
    assert desk.reasons(thief.summary(), thief.open(), old.open()) == [
        "REVOKED_KEY",
        "WRONG_AUTHOR",
        "REVOKED_KEY",
    ]


def test_a_fork_by_a_key_that_was_replaced_is_not_logged(cast: Cast, desk: Desk) -> None:
    place = cast.party.place
    first = cast.party.summary()
    thief = Person(cast.party.key, cast.pins.digest, cast.draw, place)
    desk.send(first)
    desk.send(replaced(cast, cast.saviour, cast.party, SigningKey.generate()))
    assert desk.reasons(first, thief.summary()) == ["", "REVOKED_KEY"]


def test_a_recovery_key_says_nothing_else_and_replaces_nobody_else_s(
    cast: Cast, desk: Desk
) -> None:
    new, saviour = SigningKey.generate(), cast.saviour
    for message, reason in (
        (governance_pb2.Accession(), "WRONG_AUTHOR"),
        (enrolment_by(cast, saviour), "WRONG_AUTHOR"),
        (identity_pb2.Revocation(key_id=cast.party_key.key_id), "WRONG_AUTHOR"),
        (recovery(new, cast.evaluator_key.key_id, cast.pins.digest), "BAD_ROTATION"),
        (recovery(new, cast.party_key.key_id, bytes(32)), "BAD_ROTATION"),
        (recovery(cast.evaluator_key, cast.party_key.key_id, cast.pins.digest), "BAD_ROTATION"),
        (recovery(new, cast.recovery_key.key_id, cast.pins.digest), "BAD_ROTATION"),
    ):
        place = saviour.place
        assert desk.reasons(saviour.say(message)) == [reason]
        saviour.place = place


def test_a_recovery_key_has_no_windows_to_tell_of(cast: Cast, desk: Desk) -> None:
    """Summaries take the short way through admission."""
    place = cast.saviour.place
    assert desk.reasons(cast.saviour.summary()) == ["WRONG_AUTHOR"]
    cast.saviour.place = place
    reading = cast.saviour.say(summary_pb2.MeterReading(subject="hall"))
    assert desk.reasons(reading) == ["WRONG_AUTHOR"]


def enrolment_by(cast: Cast, who: Person) -> identity_pb2.Enrolment:
    """Return an enrolment that would be in order if ``who`` were a party."""
    node, token = cast.person(), bytes(32)
    digest = possession_digest(cast.pins.digest, who.key.key_id, token)
    return cast.enrolment(node, token_digest=token, possession=node.key.sign(digest))


def test_a_party_gives_its_node_a_new_key_also_after_a_revocation(cast: Cast, desk: Desk) -> None:
    said, (node,) = cast.enrolled()
    assert desk.reasons(*said, node.open(), node.summary()) == [""] * 3
    first, second = SigningKey.generate(), SigningKey.generate()
    assert desk.reasons(replaced(cast, cast.party, node, first), node.summary()) == [
        "",
        "REVOKED_KEY",
    ]
    assert desk.reasons(resume(node, first)) == [""]
    revoking = cast.party.say(identity_pb2.Revocation(key_id=first.key_id))
    assert desk.reasons(revoking, node.summary()) == ["", "REVOKED_KEY"]
    assert desk.reasons(replaced(cast, cast.party, node, second), resume(node, second)) == ["", ""]
    assert desk.reasons(node.summary()) == [""]


def test_the_panel_ends_a_stolen_recovery_key_and_a_restart_remembers_each_vote(
    cast: Cast, desk: Desk
) -> None:
    judges = [cast.person(key) for key in JUDGES]
    given, thiefs = SigningKey.generate(), SigningKey.generate()
    assert desk.reasons(*[judge.open() for judge in judges]) == [""] * 3
    assert desk.reasons(replaced(cast, cast.saviour, cast.party, thiefs)) == [""]
    assert desk.reasons(replaced(cast, judges[0], cast.party, given)) == [""]
    party = Person(given, cast.pins.digest, cast.draw, cast.party.place)
    assert desk.reasons(resume(party, given)) == ["UNKNOWN_KEY"], "one vote is none"
    desk.open()
    assert desk.reasons(replaced(cast, judges[1], cast.party, given)) == [""]
    party.place = Author.opening(given, bytes(16), author=cast.party_key.key_id)
    assert desk.reasons(resume(party, given)) == [""]
    again = replaced(cast, cast.saviour, cast.party, SigningKey.generate())
    assert desk.reasons(again) == ["REVOKED_KEY"]
    desk.open()
    assert desk.reasons(again, party.summary()) == ["REVOKED_KEY", ""]


def test_a_replacement_that_did_not_last_leaves_both_keys_as_they_were(
    cast: Cast, desk: Desk
) -> None:
    new = SigningKey.generate()
    replacing = replaced(cast, cast.saviour, cast.party, new)
    desk.journal.failures = ["before"]
    with pytest.raises(Exception, match="nothing was written"):
        desk.send(replacing)
    assert desk.keyring.is_live(cast.party_key.key_id)
    assert not desk.keyring.may_appear(new.key_id)
    assert desk.keyring.known(new.key_id) is None
    assert isinstance(desk.send(replacing)[0], Logged)
    desk.open()
    assert not desk.keyring.is_live(cast.party_key.key_id)
    assert desk.reasons(resume(cast.party, new)) == [""]


def test_a_commit_whose_answer_was_lost_is_found_again_with_what_it_did(
    cast: Cast, desk: Desk
) -> None:
    new = SigningKey.generate()
    replacing = replaced(cast, cast.saviour, cast.party, new)
    desk.journal.failures = ["after"]
    with pytest.raises(Exception, match="answer was lost"):
        desk.send(replacing)
    assert desk.reasons(replacing, resume(cast.party, new)) == ["", ""]


def test_a_key_that_never_spoke_is_replaced_and_never_will(cast: Cast, desk: Desk) -> None:
    """Lost before its first use."""
    judges = [cast.person(key) for key in JUDGES]
    author, given = judges[2].key.key_id, SigningKey.generate()
    assert desk.reasons(judges[0].open(), judges[1].open()) == ["", ""]
    for judge in judges[:2]:
        assert desk.reasons(judge.say(recovery(given, author, cast.pins.digest))) == [""]
    assert desk.reasons(judges[2].open()) == ["REVOKED_KEY"]
    heir = Person(
        given, cast.pins.digest, cast.draw, Author.opening(given, bytes(16), author=author)
    )
    assert desk.reasons(resume(heir, given)) == [""]


def test_fsck_follows_recoveries_and_votes_and_names_what_was_not_to_be(tmp_path: Path) -> None:
    folder = LedgerFolder.create(tmp_path / "log", ORIGIN)
    cast = Cast(disclosure=_panel(), signer=folder.signer, ledger_key=folder.key)
    journal = SqliteJournal(folder.private)
    found(folder, journal, cast.text, Hours(), cast.draw.randbytes)
    sequencer = Sequencer.open(journal, cast.keyring(), Hours())
    second, given = SigningKey.generate(), SigningKey.generate()
    judges = [cast.person(key) for key in JUDGES[:2]]
    first = [cast.party.open(), cast.saviour.open(), *[judge.open() for judge in judges]]
    said = [replaced(cast, cast.saviour, cast.party, second), resume(cast.party, second)]
    thief = Person(second, cast.pins.digest, cast.draw, cast.party.place)
    said += [replaced(cast, judge, cast.party, given) for judge in judges]
    said += [resume(cast.party, given), cast.party.summary()]
    (outcomes,) = sequencer.log([[screened(one) for one in [*first, *said]]])
    assert all(isinstance(one, Logged) for one in outcomes)

    def flaws(journal: SqliteJournal) -> list[str]:
        publisher = Publisher(journal, DirectoryStore(folder.path), folder.signer)
        publisher.open()
        publisher.publish()
        return [
            flaw.reason for flaw in examine(DirectoryStore(folder.path), folder.path, None).flaws
        ]

    assert flaws(journal) == []
    late = [thief.summary(), replaced(cast, cast.saviour, cast.party, SigningKey.generate())]
    entries = [(encode_record(Record(one.header, one.signature, T0)), one.stored) for one in late]
    journal.append(journal.size(), entries)
    assert flaws(journal) == ["REVOKED_KEY"] * 2
    journal.close()
