"""Whether a screened statement may take its place."""

import dataclasses

import pytest

from ledger.admission import fork, judge
from ledger.chains import Chains
from ledger.keyring import Keyring
from ledger.refusal import Refusal
from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2, log_pb2
from statements.author import Statement
from statements.header import decode_header, encode_header
from tests.unit.ledger.cast import Cast, Person, screened


class Book:
    """Chains and keys, and statements put into them as the sequencer does."""

    def __init__(self, cast: Cast) -> None:
        self.chains, self.keyring, self.size = Chains(), cast.keyring(), 0

    def log(self, *said: Statement) -> None:
        for one in said:
            header = decode_header(one.header)
            self.keyring.learn(header, one)
            self.chains.push(header, self.size, one.id)
            self.size += 1

    def judge(self, person: Person, said: Statement) -> Refusal | int | None:
        return judge(screened(said), self.chains, self.keyring)

    def reason(self, person: Person, said: Statement) -> str:
        verdict = self.judge(person, said)
        assert isinstance(verdict, Refusal), verdict
        return verdict.reason


@pytest.fixture
def book(cast: Cast) -> Book:
    return Book(cast)


def test_the_next_statement_of_a_live_key_is_logged(cast: Cast, book: Book) -> None:
    opening = cast.party.open()
    assert book.judge(cast.party, opening) is None
    book.log(opening)
    assert book.judge(cast.party, cast.party.summary()) is None


def test_a_key_that_is_neither_pinned_nor_enrolled_is_refused(cast: Cast, book: Book) -> None:
    stranger = cast.person()
    assert book.reason(stranger, stranger.open()) == "UNKNOWN_KEY"


def test_an_author_other_than_the_holder_of_the_key_is_refused(cast: Cast, book: Book) -> None:
    said = cast.party.open()
    header = decode_header(said.header)._replace(author=cast.evaluator_key.key_id)
    forged = said._replace(header=encode_header(header))
    verdict = judge(screened(forged), book.chains, book.keyring)
    assert isinstance(verdict, Refusal)
    assert verdict.reason == "WRONG_AUTHOR"


def test_a_gap_is_answered_with_the_sequence_wanted(cast: Cast, book: Book) -> None:
    opening = cast.party.open()
    cast.party.summary()
    later = cast.party.summary()
    before = book.judge(cast.party, later)
    assert isinstance(before, Refusal)
    assert (before.reason, before.wanted_sequence) == ("GAP", 0)
    book.log(opening)
    after = book.judge(cast.party, later)
    assert isinstance(after, Refusal)
    assert (after.reason, after.wanted_sequence) == ("GAP", 1)


def test_a_statement_sent_again_is_found_at_its_place(cast: Cast, book: Book) -> None:
    said = [cast.party.open(), *cast.party.summaries(2)]
    book.log(*said)
    assert [book.judge(cast.party, one) for one in said] == [0, 1, 2]


def test_a_fork_is_told_from_the_holder_of_the_place_and_names_the_sequence_wanted() -> None:
    refusal = fork(3, 7)
    assert (refusal.reason, refusal.wanted_sequence) == ("FORK", 7)
    assert "open a new epoch" in refusal.message


def test_a_statement_after_another_than_the_newest_is_refused(cast: Cast, book: Book) -> None:
    book.log(cast.party.open(), cast.party.summary())
    assert cast.party.place is not None
    cast.party.place = dataclasses.replace(cast.party.place, previous=b"\7" * 32)
    verdict = book.judge(cast.party, cast.party.summary())
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.wanted_sequence) == ("WRONG_PREVIOUS", 2)


def test_an_epoch_begins_with_an_opening_and_has_no_second_one(cast: Cast, book: Book) -> None:
    opening = cast.party.open()
    assert cast.party.place is not None
    first = cast.person(cast.party_key)
    first.place = dataclasses.replace(cast.party.place, sequence=0, epoch=bytes(16))
    assert book.reason(cast.party, first.summary()) == "NOT_AN_OPENING"
    book.log(opening)
    again = identity_pb2.Opening(key=cast.party_key.spki, logs=["x"], agreements=[bytes(32)])
    assert book.reason(cast.party, cast.party.say(again)) == "NOT_AN_OPENING"


def test_only_the_ledger_says_the_time(cast: Cast, book: Book) -> None:
    book.log(cast.party.open())
    tick = log_pb2.Tick(checkpoint=b"x", time=1)
    assert book.reason(cast.party, cast.party.say(tick)) == "WRONG_AUTHOR"
    book.log(*cast.founding())
    assert book.judge(cast.ledger, cast.ledger.say(tick)) is None


def test_only_parties_enrol(cast: Cast, book: Book) -> None:
    book.log(cast.evaluator.open())
    said = cast.evaluator.say(cast.enrolment(cast.person()))
    assert book.reason(cast.evaluator, said) == "BAD_ENROLMENT"


def test_a_pinned_key_cannot_be_enrolled_as_a_node(cast: Cast, book: Book) -> None:
    book.log(cast.party.open())
    said = cast.party.say(cast.enrolment(cast.evaluator))
    assert book.reason(cast.party, said) == "BAD_ENROLMENT"


def test_what_is_said_and_for_when_is_no_reason_to_refuse(cast: Cast, book: Book) -> None:
    book.log(cast.evaluator.open())
    claims = [governance_pb2.Fact(), governance_pb2.Ruling(), governance_pb2.Agreement(text=b"?")]
    for claim in claims:
        said = cast.evaluator.say(claim, 0, 2**63)
        assert book.judge(cast.evaluator, said) is None
        book.log(said)


def test_two_nodes_that_were_enrolled_twice_are_both_logged(cast: Cast, book: Book) -> None:
    said, (node,) = cast.enrolled()
    book.log(*said)
    assert book.judge(cast.party, cast.party.say(cast.enrolment(node))) is None


def test_a_keyring_of_another_ledger_lets_no_tick_of_this_one_through(cast: Cast) -> None:
    book = Book(cast)
    book.keyring = Keyring(cast.pins, cast.party_key.key_id)
    book.log(*cast.founding())
    tick = cast.ledger.say(log_pb2.Tick(checkpoint=b"x", time=1))
    assert book.reason(cast.ledger, tick) == "WRONG_AUTHOR"
