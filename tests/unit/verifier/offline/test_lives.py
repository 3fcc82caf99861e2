"""Keys that follow one another, that end, and that speak in somebody else's name, as a bundle shows them."""

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.export import export
from ledger.objects.directory import DirectoryStore
from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2
from statements.author import Author
from statements.enrolment import possession_digest
from statements.header import decode_header
from statements.offline_bundle import RangeOf, SaidBy
from statements.record import decode_record
from statements.rotation import recovery, rotation
from statements.signing import SigningKey
from tests.unit.verifier.logbook import IDLE, Logbook, NodeSpeaker, Speaker
from tests.unit.verifier.offline.bundling import NODE, bundle_of, play, told, verified
from verifier.offline.outcome import Conclusion


@pytest.fixture(scope="module")
def played() -> Logbook:
    return play()


@pytest.fixture
def book(played: Logbook) -> Logbook:
    return played.copy()


@pytest.fixture
def node(book: Logbook) -> NodeSpeaker:
    return book.nodes[NODE]


def rotate(book: Logbook, speaker: Speaker) -> int:
    """Let an author go on under a new key: the rotation, whose index is returned, and the opening after it."""
    assert speaker.author is not None
    first, new = speaker.author.author, SigningKey.generate()
    index = book.log(book.sign(speaker, rotation(new, first, speaker.key.key_id)))
    speaker.key = new
    speaker.author = replace(Author.opening(new, book.draw(16), speaker.newest), author=first)
    book.log(book.sign(speaker, book._opening(new, identity_pb2.TELEMETRY_SIMULATED)))
    return index


def enrol(book: Logbook, party: bytes) -> NodeSpeaker:
    """Enrol a node of aurora's, whatever key aurora has by now, and let it speak."""
    node = NodeSpeaker(SigningKey.generate(), party="aurora", name="later")
    digest = possession_digest(book.pins.digest, party, bytes(32))
    enrolment = identity_pb2.Enrolment(
        node_key=node.key.spki,
        site="hall",
        name="later",
        token_digest=bytes(32),
        possession=node.key.sign(digest),
        agreement=book.pins.digest,
    )
    book.say("aurora", enrolment)
    book.join(node)
    return node


def author_of(book: Logbook, index: int) -> bytes:
    return decode_header(decode_record(book.records[index]).header).author


def window(book: Logbook, node: NodeSpeaker) -> int:
    return book.log(book.window(node, book.now_ms, IDLE))


def test_an_author_that_goes_on_under_a_new_key_is_verified(
    book: Logbook, node: NodeSpeaker
) -> None:
    rotate(book, node)
    window(book, node)
    rotate(book, book.people["aurora"])
    rotate(book, node)
    window(book, node)
    outcome = verified(book)
    assert (outcome.missing, outcome.refuted) == ([], [])
    assert outcome.conclusion is Conclusion.VERIFIED
    assert "1 enrolled by aurora" in " ".join(remark.message for remark in outcome.verified)


def test_without_the_rotation_the_new_key_is_heard_in_nobodys_name(
    book: Logbook, node: NodeSpeaker
) -> None:
    index = rotate(book, node)
    last = window(book, node)
    kept = {0, 1, 2, 3, 4, 5, 6, 8, 10, index + 1, last}
    outcome = verified(book, bundle_of(book, kept, SaidBy(author_of(book, last))))
    assert told(outcome.missing) == [("STANDING_NOT_SHOWN", index + 1)]
    assert outcome.refuted == []


def test_what_an_ended_key_says_is_refuted_and_contests_nothing(
    book: Logbook, node: NodeSpeaker
) -> None:
    place, old = node.author, node.key
    window(book, node)
    rotate(book, node)
    thief = NodeSpeaker(old, place, party="aurora", name="thief", inventory=node.inventory)
    late = window(book, thief)
    assert told(verified(book).refuted) == [("REVOKED_KEY", late)]


def test_a_key_that_its_party_revoked_is_heard_before_and_not_after(
    book: Logbook, node: NodeSpeaker
) -> None:
    before = window(book, node)
    book.say("aurora", identity_pb2.Revocation(key_id=node.key.key_id))
    assert verified(book).conclusion is Conclusion.VERIFIED
    after = window(book, node)
    assert told(verified(book).refuted) == [("REVOKED_KEY", after)]
    assert before < after


@pytest.mark.parametrize("who", ["borealis", "meridian", "ledger"])
def test_nobody_else_revokes_a_nodes_key(book: Logbook, node: NodeSpeaker, who: str) -> None:
    index = book.say(who, identity_pb2.Revocation(key_id=node.key.key_id))
    window(book, node)
    assert told(verified(book).refuted) == [("BAD_REVOCATION", index)]


def test_a_revocation_of_a_key_that_is_not_here_says_nothing(book: Logbook) -> None:
    book.say("aurora", identity_pb2.Revocation(key_id=bytes(32)))
    assert verified(book).conclusion is Conclusion.VERIFIED


def test_a_rotation_that_the_new_key_did_not_sign_does_nothing(
    book: Logbook, node: NodeSpeaker
) -> None:
    new = SigningKey.generate()
    index = book.log(
        book.sign(node, identity_pb2.Rotation(new_key=new.spki, possession=new.sign(bytes(32))))
    )
    window(book, node)
    assert told(verified(book).refuted) == [("BAD_SIGNATURE", index)]


def test_a_rotation_to_a_key_that_speaks_already_is_refuted(
    book: Logbook, node: NodeSpeaker
) -> None:
    other = book.people["borealis"].key
    index = book.log(book.sign(node, rotation(other, node.key.key_id, node.key.key_id)))
    assert told(verified(book).refuted) == [("BAD_ROTATION", index)]


def test_a_ledger_keeps_its_key(book: Logbook) -> None:
    ledger = book.people["ledger"]
    message = rotation(SigningKey.generate(), ledger.key.key_id, ledger.key.key_id)
    assert told(verified(book).refuted) == []
    index = book.say("ledger", message)
    assert told(verified(book).refuted) == [("BAD_ROTATION", index)]


def test_nobody_speaks_in_anothers_name(book: Logbook, node: NodeSpeaker) -> None:
    """Neither one who may speak for himself, nor a stranger: both for a place that its author took."""
    assert node.author is not None
    evaluator = book.people["meridian"].key
    forged = []
    stranger = Speaker(SigningKey.generate())
    book.open(stranger)
    opened = len(book.records) - 1
    window(book, node)
    for key in (evaluator, stranger.key):
        taken = replace(node.author, key=key, sequence=node.author.sequence - 1)
        fact = governance_pb2.Fact(indicator="task_horizon", value=1.0)
        said, _ = taken.say(fact, book.now_ms, book.now_ms, salt=book.draw(16))
        forged.append(book.log(said))
    outcome = verified(book)
    assert told(outcome.refuted) == [("WRONG_AUTHOR", forged[0])]
    assert told(outcome.missing) == [
        ("STANDING_NOT_SHOWN", opened),
        ("STANDING_NOT_SHOWN", forged[1]),
    ]


def test_a_new_key_opens_a_new_epoch(book: Logbook, node: NodeSpeaker) -> None:
    assert node.author is not None
    new = SigningKey.generate()
    book.log(book.sign(node, rotation(new, node.key.key_id, node.key.key_id)))
    node.author = replace(node.author, key=new)
    index = window(book, node)
    assert told(verified(book).refuted) == [("NOT_AN_OPENING", index)]


def test_an_export_brings_every_change_of_the_keys_that_it_needs(
    book: Logbook, node: NodeSpeaker, tmp_path: Path
) -> None:
    first = book.people["aurora"].key.key_id
    rotate(book, book.people["aurora"])
    later = enrol(book, first)
    rotate(book, later)
    window(book, later)
    book.say("aurora", identity_pb2.Revocation(key_id=node.key.key_id))
    late = window(book, node)
    book.serve(tmp_path)
    whole, revoked = (
        verified(book, export(DirectoryStore(tmp_path), SaidBy(author)))
        for author in (author_of(book, late - 2), node.key.key_id)
    )
    assert (whole.conclusion, whole.missing) == (Conclusion.VERIFIED, [])
    assert told(revoked.refuted) == [("REVOKED_KEY", late)]
    assert revoked.missing == []
    some = verified(book, export(DirectoryStore(tmp_path), RangeOf(late - 2, late - 1)))
    assert (some.conclusion, some.missing) == (Conclusion.VERIFIED, [])
    assert "ENDED_KEYS" in [remark.reason for remark in some.beyond]


def test_a_rotation_at_a_place_that_was_taken_does_nothing(
    book: Logbook, node: NodeSpeaker
) -> None:
    thief = replace(node)
    window(book, node)
    late = book.log(
        book.sign(thief, rotation(SigningKey.generate(), node.key.key_id, node.key.key_id))
    )
    window(book, node)
    assert told(verified(book).refuted) == [("EQUIVOCATION", late)]


# ------------------------------------------------------------------------------------- lost keys


def lost(book: Logbook, by: str, speaker: Speaker) -> int:
    """Let somebody else replace a key, and its author go on; return the index of what did it."""
    assert speaker.author is not None
    first, new = speaker.author.author, SigningKey.generate()
    index = book.say(by, recovery(new, first, book.pins.digest))
    speaker.key = new
    speaker.author = Author.opening(new, book.draw(16), speaker.newest, first)
    book.log(book.sign(speaker, book._opening(new, identity_pb2.TELEMETRY_SIMULATED)))
    return index


def test_whose_lost_key_was_replaced_is_verified_and_a_thief_refuted(
    book: Logbook, node: NodeSpeaker
) -> None:
    thieves = [replace(node), replace(book.people["aurora"])]
    lost(book, "aurora/recovery", book.people["aurora"])
    lost(book, "aurora", node)
    window(book, node)
    assert verified(book).conclusion is Conclusion.VERIFIED
    assert "1 pinned as recovery keys" in " ".join(one.message for one in verified(book).verified)
    late = [
        book.log(book.sign(thief, governance_pb2.Reply(text="late", finding="F")))
        for thief in thieves
    ]
    assert told(verified(book).refuted) == [("REVOKED_KEY", index) for index in late]


@pytest.mark.parametrize("who", ["borealis/recovery", "borealis", "meridian", "ledger"])
def test_nobody_else_replaces_a_key(book: Logbook, node: NodeSpeaker, who: str) -> None:
    message = recovery(SigningKey.generate(), node.key.key_id, book.pins.digest)
    index = book.say(who, message)
    window(book, node)
    assert told(verified(book).refuted) == [("BAD_ROTATION", index)]


def test_a_recovery_key_that_says_anything_else_is_refuted(book: Logbook) -> None:
    index = book.say("aurora/recovery", governance_pb2.Accession(party="aurora"))
    assert told(verified(book).refuted) == [("WRONG_AUTHOR", index)]


def test_an_export_brings_whoever_had_a_word_in_it(
    book: Logbook, node: NodeSpeaker, tmp_path: Path
) -> None:
    """The node's new key is by its party's, that by two judges', and one of theirs by its recovery key."""
    party, judge = book.people["aurora"], book.people["judge-tanaka"]
    given = SigningKey.generate()
    book.open(judge)
    lost(book, "judge-tanaka/recovery", judge)
    assert party.author is not None
    first = party.author.author
    for name in ("judge-tanaka", "judge-adeyemi"):
        book.say(name, recovery(given, first, book.pins.digest))
    party.key, party.author = given, Author.opening(given, book.draw(16), party.newest, first)
    book.log(book.sign(party, book._opening(given, 0)))
    lost(book, "aurora", node)
    last = window(book, node)
    book.serve(tmp_path)
    for selection in (RangeOf(last, last), SaidBy(author_of(book, last))):
        outcome = verified(book, export(DirectoryStore(tmp_path), selection))
        assert (outcome.conclusion, outcome.missing) == (Conclusion.VERIFIED, [])
    bundle = export(DirectoryStore(tmp_path), RangeOf(last, last))
    assert len(bundle.indices) < len(book.records), "windows, ticks and facts stay at home"
