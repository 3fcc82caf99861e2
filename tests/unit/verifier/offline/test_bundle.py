"""What a bundle shows, what it does not, and every way in which one may be false."""

from contextlib import suppress
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.stillwatch.statement.v1 import governance_pb2, log_pb2
from statements.author import Author, Statement
from statements.errors import PinsError, StatementError
from statements.header import decode_header, encode_header
from statements.kinds import PUBLIC
from statements.offline_bundle import (
    RangeOf,
    SaidBy,
    decode_offline_bundle,
    encode_offline_bundle,
)
from statements.record import Record, decode_record, encode_record
from statements.signing import SigningKey, statement_id
from tests.unit.verifier.logbook import IDLE, T0, Logbook, NodeSpeaker, Speaker
from tests.unit.verifier.offline.bundling import NODE, bundle_of, play, told, verified
from tlog.checkpoint import Checkpoint, sign_checkpoint
from tlog.errors import NoteError, ProofError, TlogError
from tlog.note import Signer
from verifier.errors import VerifierError
from verifier.offline.bundle import verify_bundle
from verifier.offline.outcome import Conclusion, Outcome

SUPPORT = {0, 1, 2, 3, 4}
"""What shows whose the node's records are."""


@pytest.fixture(scope="module")
def played() -> Logbook:
    return play()


@pytest.fixture
def book(played: Logbook) -> Logbook:
    return played.copy()


def node_of(book: Logbook) -> NodeSpeaker:
    return book.nodes[NODE]


def fact() -> governance_pb2.Fact:
    return governance_pb2.Fact(indicator="task_horizon", value=1.0)


# What holds


def test_a_whole_honest_log_is_verified(book: Logbook) -> None:
    outcome = verified(book)
    assert (outcome.missing, outcome.refuted) == ([], [])
    assert outcome.conclusion is Conclusion.VERIFIED
    assert [remark.reason for remark in outcome.verified] == [
        *("AGREEMENT", "LOG_SIGNATURE", "INCLUSION", "WHOLE", "BODIES", "SIGNATURES"),
        *("STANDING", "CHAINS", "BEGINNING"),
    ]
    assert {"QUORUM_NONE", "REHEARSAL", "LATER"} <= {remark.reason for remark in outcome.beyond}


def test_a_range_with_its_support_is_verified(book: Logbook) -> None:
    outcome = verified(book, bundle_of(book, SUPPORT | {6, 7, 8}, RangeOf(6, 8)))
    assert (outcome.conclusion, outcome.missing) == (Conclusion.VERIFIED, [])
    assert "every record from 6 to 8 is here" in [remark.message for remark in outcome.verified]


def test_an_authors_records_are_verified_and_said_not_to_be_all(book: Logbook) -> None:
    selection = SaidBy(node_of(book).key.key_id)
    for indices in ({5, 6, 8, 10}, {5, 6, 8}):
        outcome = verified(book, bundle_of(book, SUPPORT | indices, selection))
        assert (outcome.conclusion, outcome.missing) == (Conclusion.VERIFIED, [])
        assert "WHOLE" not in [remark.reason for remark in outcome.verified]
        assert "MORE_SAID" in [remark.reason for remark in outcome.beyond]


# What refutes all of it


def test_an_agreement_that_was_not_named_is_refused(book: Logbook) -> None:
    with pytest.raises(VerifierError) as refused:
        verify_bundle(bundle_of(book), bytes(32))
    assert refused.value.reason == "OTHER_AGREEMENT"
    other = replace(bundle_of(book), agreement=book.text.encode() + b"\n")
    with pytest.raises(VerifierError):
        verified(book, other)


def test_a_log_that_the_agreement_does_not_list_is_refused(book: Logbook) -> None:
    stranger = Signer("rehearsal.example/other", Ed25519PrivateKey.generate())
    tree = Checkpoint(stranger.name, len(book.records), book.prefix().root)
    with pytest.raises(PinsError) as refused:
        verified(book, replace(bundle_of(book), note=sign_checkpoint(tree, stranger)))
    assert refused.value.reason == "UNKNOWN_LEDGER"


def test_a_checkpoint_that_the_log_did_not_sign_is_refused(book: Logbook) -> None:
    forger = Signer(book.origin, Ed25519PrivateKey.generate())
    tree = Checkpoint(book.origin, len(book.records), book.prefix().root)
    with pytest.raises(NoteError) as refused:
        verified(book, replace(bundle_of(book), note=sign_checkpoint(tree, forger)))
    assert refused.value.reason == "NOT_SIGNED"


def test_a_record_that_is_not_in_the_tree_is_refused(book: Logbook) -> None:
    bundle = bundle_of(book, {0, 5, 8})
    record = decode_record(bundle.records[1])
    changed = encode_record(record._replace(logged_at_ms=record.logged_at_ms + 1))
    for false in (
        replace(bundle, records=(bundle.records[0], changed, bundle.records[2])),
        replace(bundle, records=bundle.records[::-1]),
        replace(bundle, indices=(0, 6, 8)),
    ):
        with pytest.raises(ProofError):
            verified(book, false)


# What is missing


def test_a_body_that_is_not_there_is_missing(book: Logbook) -> None:
    book.bodies[8] = None
    outcome = verified(book)
    assert outcome.conclusion is Conclusion.INCOMPLETE
    assert told(outcome.missing) == [("BODY_NOT_HELD", 8)]


def test_a_record_of_the_range_that_is_not_there_is_missing(book: Logbook) -> None:
    outcome = verified(book, bundle_of(book, SUPPORT | {6, 8}, RangeOf(6, 8)))
    assert told(outcome.missing) == [("RECORDS_MISSING", None)]
    assert told(verified(book, bundle_of(book, range(13))).missing) == [("RECORDS_MISSING", None)]
    beyond = bundle_of(book, SUPPORT | {12, 13}, RangeOf(12, 20))
    assert told(verified(book, beyond).missing) == [("RECORDS_MISSING", None)]


@pytest.mark.parametrize(
    ("left_out", "missing"),
    [
        (8, [("CHAIN_GAP", 10)]),
        (4, [("CHAIN_GAP", 5)]),  # the enrolment shows the key as well
        (3, [("STANDING_NOT_SHOWN", 4)]),
        (0, [("BEGINNING_NOT_SHOWN", None)]),
        (2, [("KEY_NOT_SHOWN", 3), ("STANDING_NOT_SHOWN", 4)]),
    ],
)
def test_what_an_author_export_leaves_out_is_missed(
    book: Logbook, left_out: int, missing: list[tuple[str, int | None]]
) -> None:
    whole = SUPPORT | {5, 6, 8, 10}
    selection = SaidBy(node_of(book).key.key_id)
    outcome = verified(book, bundle_of(book, whole - {left_out}, selection))
    assert outcome.conclusion is Conclusion.INCOMPLETE
    assert told(outcome.missing) == missing


def test_a_gap_in_the_log_itself_is_missed_whatever_is_selected(book: Logbook) -> None:
    torn = book.without(8)
    at = 9
    for bundle in (
        bundle_of(torn),
        bundle_of(torn, SUPPORT | {6, 7, 8, at}, RangeOf(6, at)),
    ):
        assert told(verified(torn, bundle).missing) == [("CHAIN_GAP", at)]


def test_an_epoch_before_that_is_not_there_is_missed(book: Logbook) -> None:
    node = node_of(book)
    book.open(node)
    whole = verified(book)
    assert whole.conclusion is Conclusion.VERIFIED
    selection = SaidBy(node.key.key_id)
    outcome = verified(book, bundle_of(book, {0, 1, 2, 3, 14}, selection))
    assert told(outcome.missing) == [("CHAIN_GAP", 14)]


def test_a_stranger_may_open_a_chain_and_does_not_stand(book: Logbook) -> None:
    stranger = Speaker(SigningKey.generate())
    book.log(book.sign(stranger, fact()))
    outcome = verified(book)
    assert told(outcome.missing) == [("STANDING_NOT_SHOWN", 14)]


def test_a_node_that_spoke_before_its_enrolment_does_not_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book = Logbook.begin()
    early = Speaker(SigningKey.generate())
    book.open(early)
    monkeypatch.setattr(SigningKey, "generate", lambda: early.key)
    book.enrol("aurora", "early")
    assert ("STANDING_NOT_SHOWN", 2) in told(verified(book).missing)


def test_a_bundle_of_an_author_who_says_nothing_in_it_is_incomplete(book: Logbook) -> None:
    outcome = verified(book, bundle_of(book, SUPPORT, SaidBy(b"n" * 32)))
    assert told(outcome.missing) == [("RECORDS_MISSING", None)]


# What is false in one record


def test_another_body_is_refuted_and_read_no_further(book: Logbook) -> None:
    book.bodies[4] = book.bodies[5]
    outcome = verified(book)
    assert told(outcome.refuted) == [("BODY_MISMATCH", 4)]
    assert outcome.conclusion is Conclusion.REFUTED


def resigned(book: Logbook, index: int, signature: bytes) -> None:
    record = decode_record(book.records[index])
    book.records[index] = encode_record(record._replace(signature=signature))


def test_a_signature_by_somebody_else_is_refuted(book: Logbook) -> None:
    identity = statement_id(decode_record(book.records[8]).header)
    resigned(book, 8, SigningKey.generate().sign(identity))
    outcome = verified(book)
    assert told(outcome.refuted) == [("BAD_SIGNATURE", 8)]


def test_what_a_log_puts_into_an_authors_mouth_does_not_make_it_contradict_itself(
    book: Logbook,
) -> None:
    header = decode_header(decode_record(book.records[8]).header)
    words = encode_header(header._replace(end_ms=header.end_ms + 1))
    book.records.append(encode_record(Record(words, decode_record(book.records[8]).signature, T0)))
    book.bodies.append(book.bodies[8])
    assert told(verified(book).refuted) == [("BAD_SIGNATURE", 14)]


def test_two_statements_for_one_place_are_refuted(book: Logbook) -> None:
    node = node_of(book)
    assert node.author is not None
    place = node.author
    book.log(book.window(node, book.now_ms, IDLE))
    node.author = place
    book.log(book.window(node, book.now_ms, IDLE))
    assert told(verified(book).refuted) == [("EQUIVOCATION", 15)]


def test_an_author_goes_on_from_what_was_logged_first(book: Logbook) -> None:
    node = node_of(book)
    thief = replace(node)
    book.log(book.window(node, book.now_ms, IDLE))
    forked = book.log(book.window(thief, book.now_ms + 60_000, IDLE))
    book.log(book.window(node, book.now_ms, IDLE))
    assert told(verified(book).refuted) == [("EQUIVOCATION", forked)]


def test_a_statement_after_another_past_is_refuted(book: Logbook) -> None:
    node = node_of(book)
    assert node.author is not None
    node.author = replace(node.author, previous=b"\x01" * 32)
    book.log(book.window(node, book.now_ms, IDLE))
    assert told(verified(book).refuted) == [("WRONG_PREVIOUS", 14)]


def test_a_record_that_comes_again_is_refuted(book: Logbook) -> None:
    book.records.append(book.records[10])
    book.bodies.append(book.bodies[10])
    assert told(verified(book).refuted) == [("LOGGED_TWICE", 14)]


def test_a_statement_logged_before_its_past_is_refuted(book: Logbook) -> None:
    node = node_of(book)
    one, other = (book.window(node, book.now_ms, IDLE) for _ in range(2))
    book.log(other)
    book.log(one)
    assert told(verified(book).refuted) == [("LOGGED_OUT_OF_ORDER", 14)]


def test_an_epoch_that_nobody_opened_is_refuted(book: Logbook) -> None:
    evaluator = book.people["meridian"]
    evaluator.author = Author.opening(evaluator.key, b"e" * 16, evaluator.newest)
    book.log(book.sign(evaluator, fact()))
    assert told(verified(book).refuted) == [("NOT_AN_OPENING", 14)]


def test_only_a_party_enrols(book: Logbook) -> None:
    book.people["meridian"], book.people["aurora"] = book.people["aurora"], book.people["meridian"]
    book.enrol("aurora", "aurora/1")
    outcome = verified(book)
    assert told(outcome.refuted) == [("BAD_ENROLMENT", 14)]
    assert told(outcome.missing) == [("STANDING_NOT_SHOWN", 15)]


def test_a_leaf_that_is_no_record_is_refuted(book: Logbook) -> None:
    book.records.append(bytes(len(book.records[0])))
    book.bodies.append(None)
    assert told(verified(book).refuted) == [("MALFORMED_RECORD", 14)]


def test_a_log_that_began_with_something_else_is_refuted(book: Logbook) -> None:
    ledger = book.people["ledger"]
    author = Author.opening(ledger.key, b"l" * 16)
    said, _ = author.say(governance_pb2.Agreement(text=b"another"), T0, T0, salt=b"s" * 16)
    book.records[0] = encode_record(Record(said.header, said.signature, T0))
    book.bodies[0] = said.stored
    assert ("OTHER_BEGINNING", 0) in told(verified(book).refuted)


def test_only_the_ledger_says_the_time(book: Logbook) -> None:
    index = book.say("meridian", log_pb2.Tick(checkpoint=book.note(), time=book.now_ms))
    assert told(verified(book).refuted) == [("WRONG_AUTHOR", index)]


def test_a_log_that_is_no_rehearsal_is_not_called_one() -> None:
    outcome = verified(Logbook.begin(rehearsal=False))
    assert "REHEARSAL" not in [remark.reason for remark in outcome.beyond]


# Sealed bodies


def with_digest(book: Logbook, disclosure: int) -> Outcome:
    """Verify a log whose last window names a body that is not what is stored."""
    node = node_of(book)
    said = book.window(node, book.now_ms, IDLE)
    header = decode_header(said.header)._replace(body_digest=b"\x01" * 32, disclosure=disclosure)
    words = encode_header(header)
    signature = node.key.sign(statement_id(words))
    book.log(Statement(words, signature, said.stored))
    return verified(book)


def test_a_sealed_body_is_held_to_what_is_stored(book: Logbook) -> None:
    assert with_digest(book, PUBLIC + 1).conclusion is Conclusion.VERIFIED


def test_a_public_body_is_what_is_stored(book: Logbook) -> None:
    assert told(with_digest(book, PUBLIC).refuted) == [("BODY_MISMATCH", 14)]


# Anything at all

WHOLE = play()
BYTES = encode_offline_bundle(bundle_of(WHOLE, SUPPORT | {6, 7, 8}, RangeOf(6, 8)))


@given(st.integers(1024, len(BYTES) - 1), st.integers(0, 7))
@settings(max_examples=300)
def test_no_flipped_bit_is_verified(at: int, bit: int) -> None:
    """Behind the selection: that one is whoever made the bundle's own claim, and held to what is there."""
    changed = bytearray(BYTES)
    changed[at] ^= 1 << bit
    with suppress(StatementError, TlogError, VerifierError):
        outcome = verify_bundle(decode_offline_bundle(bytes(changed)), WHOLE.pins.digest)
        assert outcome.conclusion is not Conclusion.VERIFIED
