"""Two statements for one place, found across logs: by their signatures alone, whoever held them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from protos.stillwatch.statement.v1 import governance_pb2
from statements.author import Statement
from statements.errors import SubmissionError
from statements.ledger_client import LedgerClient, Receipt, Refusal
from statements.record import Record, encode_record
from statements.signing import SigningKey
from tests.unit.verifier.logbook import IDLE, MINUTE, T0, Logbook, Speaker
from verifier.errors import VerifierError
from verifier.evidence.forks import Source, Split, find_splits
from verifier.handover import Proof, hand_over


def source(book: Logbook, name: str) -> Source:
    return Source(name, range(len(book.records)), book.records, book.bodies)


@pytest.fixture
def books() -> tuple[Logbook, Logbook]:
    """Two logs that begin alike."""
    one = Logbook.begin()
    one.enrol("aurora", "aurora/0")
    return one, one.copy()


def _reply(text: str) -> governance_pb2.Reply:
    return governance_pb2.Reply(finding="F", text=text)


def _found(*books: Logbook) -> list[Split]:
    return list(find_splits([source(book, str(at)) for at, book in enumerate(books)]))


def test_what_one_author_told_two_logs_is_found_with_where_each_lies(
    books: tuple[Logbook, Logbook],
) -> None:
    one, other = books
    places = one.say("aurora", _reply("one")), other.say("aurora", _reply("two"))
    (split,) = _found(one, other)
    assert [(said.place.source, said.place.index) for said in (split.one, split.other)] == [
        ("0", places[0]),
        ("1", places[1]),
    ]
    assert split.one.header.author == one.people["aurora"].key.key_id
    assert split.one.statement.stored == one.bodies[places[0]]


def test_logs_that_hold_the_same_or_less_show_no_fork(books: tuple[Logbook, Logbook]) -> None:
    one, other = books
    one.say("aurora", _reply("one"))
    one.log(one.window(one.nodes["aurora/0"], T0, IDLE))
    assert _found(one, other) == []
    assert _found(one, one) == []
    assert _found(one) == []
    assert _found() == []


def test_a_fork_within_one_log_is_found_too(books: tuple[Logbook, Logbook]) -> None:
    book, _ = books
    node = book.nodes["aurora/0"]
    clone = replace(node)
    book.log(book.window(node, T0, IDLE))
    book.log(book.window(clone, T0 + MINUTE, IDLE))
    (split,) = _found(book)
    assert split.one.header.author == node.key.key_id


def test_one_proof_an_epoch_is_enough(books: tuple[Logbook, Logbook]) -> None:
    one, other = books
    for book, text in ((one, "one"), (other, "two")):
        first = book.say("aurora", _reply(text))
        book.say("aurora", _reply(text))
        assert first
    (split,) = _found(one, other)
    assert split.one.header.sequence == split.other.header.sequence == 2


def test_a_header_that_its_key_did_not_sign_accuses_nobody(
    books: tuple[Logbook, Logbook],
) -> None:
    one, other = books
    one.say("aurora", _reply("one"))
    said = other.sign(other.people["aurora"], _reply("two"))
    thief = SigningKey.generate()
    other.log(Statement(said.header, thief.sign(said.id), said.stored))
    assert _found(one, other) == []


def test_a_false_copy_of_a_statement_hides_no_fork(books: tuple[Logbook, Logbook]) -> None:
    """Nor does one without its body keep the body away."""
    one, other = books
    liar, bare = one.copy(), one.copy()
    said = one.sign(one.people["aurora"], _reply("one"))
    one.log(said)
    liar.log(Statement(said.header, SigningKey.generate().sign(said.id), said.stored))
    bare.log(said, body=False)
    other.say("aurora", _reply("two"))
    (split,) = _found(liar, bare, one, other)
    assert split.one.place.source == "2"
    assert split.one.statement == said


def test_without_an_opening_that_shows_the_key_nothing_is_said(
    books: tuple[Logbook, Logbook],
) -> None:
    one, other = books
    first, second = one.say("aurora", _reply("one")), other.say("aurora", _reply("two"))
    bare = [
        Source("a", [first], [one.records[first]], [one.bodies[first]]),
        Source("b", [second], [other.records[second]], [other.bodies[second]]),
    ]
    assert list(find_splits(bare)) == []
    (split,) = find_splits([*bare, source(one, "c")])
    assert {split.one.place.index, split.other.place.index} == {first, second}


def test_another_key_s_epoch_of_that_name_is_no_fork(books: tuple[Logbook, Logbook]) -> None:
    """Anybody can copy an epoch's name; only the key that signed twice contradicted itself."""
    one, other = books
    one.say("aurora", _reply("one"))
    victim = one.people["aurora"].author
    assert victim is not None
    mallory = Speaker(SigningKey.generate())
    other.open(mallory)
    place = replace(victim, key=mallory.key, sequence=victim.sequence - 1)
    said, _ = place.say(_reply("two"), T0, T0, salt=bytes(16))
    other.log(said)
    assert _found(one, other) == []


def test_leaves_that_are_no_records_are_passed_over(books: tuple[Logbook, Logbook]) -> None:
    one, other = books
    other.records.append(b"no record")
    other.bodies.append(None)
    other.records.append(encode_record(Record(bytes(302), bytes(64), 0)))
    other.bodies.append(b"\xff")
    one.say("aurora", _reply("one"))
    other.say("aurora", _reply("two"))
    assert len(_found(one, other)) == 1


# ------------------------------------------------------------------------------------------ handing over


class _Ledger(LedgerClient):
    """A ledger that answers as a test says, and counts what it was asked."""

    def __init__(self, answer: Callable[[Sequence[Statement]], list[Receipt | Refusal]]) -> None:
        self.answer = answer
        self.batches: list[list[bytes]] = []

    def append(self, statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        self.batches.append([one.id for one in statements])
        return self.answer(statements)


def _answering(answer: list[Receipt | Refusal]) -> _Ledger:
    return _Ledger(lambda _: answer)


@pytest.fixture
def split(books: tuple[Logbook, Logbook]) -> Split:
    one, other = books
    one.say("aurora", _reply("one"))
    other.say("aurora", _reply("two"))
    (split,) = _found(one, other)
    return split


def _receipt(one: Statement, index: int) -> Receipt:
    return Receipt(index, encode_record(Record(one.header, one.signature, 1)), body_held=True)


def test_the_one_that_the_ledger_holds_goes_first_whichever_that_is(split: Split) -> None:
    def holds_the_other(said: Sequence[Statement]) -> list[Receipt | Refusal]:
        if said[0].id == split.other.statement.id:
            return [_receipt(said[0], 7), _receipt(said[1], 9)]
        return [Refusal("FORK", "held by another", None), _receipt(said[1], 7)]

    ledger = _Ledger(holds_the_other)
    assert hand_over(ledger, split) == Proof(7, 9)
    assert len(ledger.batches) == 2


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("REVOKED_KEY", "proves nothing any more"),
        ("FORK", "proved there already"),
        ("GAP", "must hold one of the two"),
        ("UNKNOWN_KEY", "must hold one of the two"),
    ],
)
def test_a_proof_that_is_not_taken_is_explained(split: Split, reason: str, words: str) -> None:
    ledger = _Ledger(lambda said: [Refusal(reason, "so it says", None) for _ in said])
    with pytest.raises(VerifierError, match=words) as caught:
        hand_over(ledger, split)
    assert caught.value.reason == "NOT_TAKEN"


def test_a_body_that_is_wanted_and_not_held_is_told_with_where(split: Split) -> None:
    bodiless = Statement(split.other.statement.header, split.other.statement.signature, b"")
    bare = replace(split, other=replace(split.other, statement=bodiless))
    ledger = _Ledger(lambda said: [Refusal("BODY_MISSING", "must be sent", None) for _ in said])
    with pytest.raises(VerifierError, match=r"not held where you have it from: record .* of 1"):
        hand_over(ledger, bare)


def test_a_ledger_that_acknowledges_something_else_is_not_believed(split: Split) -> None:
    for record in (b"no record", _receipt(split.other.statement, 3).record):
        answer: list[Receipt | Refusal] = [Receipt(3, record, body_held=True)] * 2
        with pytest.raises(SubmissionError) as caught:
            hand_over(_answering(answer), split)
        assert caught.value.reason == "BAD_RECEIPT"
