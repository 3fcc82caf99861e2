"""The one writer of a log: places, and answers for what is durable alone."""

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ForkError, JournalError
from ledger.journal.interface import Entry
from ledger.journal.sqlite import SqliteJournal
from ledger.refusal import Refusal
from ledger.screening import Screened
from ledger.sequencer import Logged, Outcome, Sequencer, _Group
from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2, log_pb2
from statements.author import Statement
from statements.header import decode_header, encode_header
from statements.kinds import Kind
from statements.record import decode_record
from tests.unit.ledger.cast import MINUTE, T0, Cast, FailingJournal, Hours, Person, screened


class Log:
    """A sequencer with a journal and a clock, and short words for what tests say to it."""

    def __init__(self, cast: Cast, journal: FailingJournal, hours: Hours) -> None:
        self.cast, self.journal, self.hours = cast, journal, hours
        self.open()

    def open(self) -> None:
        self.sequencer = Sequencer.open(self.journal, self.cast.keyring(), self.hours)

    def send(self, *said: tuple[Person, Statement]) -> list[Outcome]:
        (outcomes,) = self.sequencer.log([[screened(one) for _, one in said]])
        return outcomes

    def party(self, *said: Statement) -> list[Outcome]:
        return self.send(*((self.cast.party, one) for one in said))

    def headers(self) -> list[bytes]:
        return [decode_record(r).header for r, _ in self.journal.leaves(0, self.journal.size())]


@pytest.fixture
def log(cast: Cast, journal: FailingJournal, hours: Hours) -> Log:
    return Log(cast, journal, hours)


def reasons(outcomes: list[Outcome]) -> list[str]:
    return [one.reason if isinstance(one, Refusal) else "" for one in outcomes]


def test_what_is_acknowledged_is_in_the_journal_at_its_index(cast: Cast, log: Log) -> None:
    said = [cast.party.open(), *cast.party.summaries(3)]
    outcomes = log.party(*said)
    for index, (one, outcome) in enumerate(zip(said, outcomes, strict=True)):
        assert isinstance(outcome, Logged)
        assert outcome.index == index
        ((record, stored),) = log.journal.read(index, index + 1)
        assert (record, stored) == (outcome.record, one.stored)
        assert decode_record(record).header == one.header
        assert decode_record(record).logged_at_ms == T0


def test_a_group_leaves_nothing_when_what_it_claims_again_cannot_be_read(
    cast: Cast, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, first, second, third = cast.party.open(), *cast.party.summaries(3)
    log.party(opening, first)
    with monkeypatch.context() as broken:
        broken.setattr(log.journal, "leaves", lambda start, end: iter(()))
        with pytest.raises(JournalError):
            log.party(second, first, third)
    assert len(log.headers()) == 2
    outcomes = log.party(second, first, third)
    assert [one.index for one in outcomes if isinstance(one, Logged)] == [2, 1, 3]
    assert len(log.headers()) == 4


def test_a_statement_sent_again_gets_the_receipt_first_given(cast: Cast, log: Log) -> None:
    said = [cast.party.open(), *cast.party.summaries(2)]
    first = log.party(*said)
    log.hours.ms += MINUTE
    resigned = Statement(said[1].header, cast.party_key.sign(said[1].id), said[1].stored)
    assert log.party(*said) == first
    assert log.party(resigned) == [first[1]], "identity is the statement's, not the signature's"
    assert log.journal.size() == 3


def test_a_statement_twice_in_one_group_takes_one_place(cast: Cast, log: Log) -> None:
    said = [cast.party.open(), cast.party.summary()]
    outcomes = log.party(*said, *said)
    assert outcomes[:2] == outcomes[2:]
    assert log.journal.size() == 2


def test_receipts_say_whether_the_body_is_held_also_when_it_is_sent_later(
    cast: Cast, log: Log
) -> None:
    said = [cast.party.open(), cast.party.summary()]
    withheld = Statement(said[1].header, said[1].signature, b"")
    assert [isinstance(one, Logged) and one.body_held for one in log.party(said[0], withheld)] == [
        True,
        False,
    ]
    (again,) = log.party(said[1])
    assert isinstance(again, Logged)
    assert not again.body_held, "what is logged without its body stays so"


def test_another_statement_for_a_place_is_a_fork_within_a_group_and_after_it(
    cast: Cast, log: Log
) -> None:
    opening = cast.party.open()
    place = cast.party.place
    one = cast.party.summary()
    cast.party.place = place
    other = cast.party.summary()
    assert reasons(log.party(opening, one, other)) == ["", "", "FORK"]
    (late,) = log.party(other)
    assert isinstance(late, Refusal)
    assert (late.reason, late.wanted_sequence) == ("FORK", 2)
    assert log.headers() == [opening.header, one.header]


def test_places_that_lie_far_apart_are_all_found_again(cast: Cast, log: Log) -> None:
    said = [cast.party.open(), *cast.party.summaries(400, size=1)]
    first = log.party(*said)
    some = [0, 3, 70, 135, 136, 400]
    assert log.party(*(said[at] for at in some)) == [first[at] for at in some]


def test_an_enrolment_counts_for_what_follows_in_its_group(cast: Cast, log: Log) -> None:
    said, (node,) = cast.enrolled()
    outcomes = log.send(
        *((cast.party, one) for one in said), (node, node.open()), (node, node.summary())
    )
    assert reasons(outcomes) == ["", "", "", ""]


def test_refusals_of_screening_go_through_and_take_no_place(cast: Cast, log: Log) -> None:
    refusal = Refusal("HIGH_S", "no")
    opening = screened(cast.party.open())
    assert log.sequencer.log([[refusal, opening, refusal]])[0][::2] == [refusal, refusal]
    assert log.journal.size() == 1


def test_a_group_that_did_not_become_durable_leaves_nothing_behind(cast: Cast, log: Log) -> None:
    said, (node,) = cast.enrolled()
    log.journal.failures = ["before"]
    with pytest.raises(JournalError):
        log.party(*said)
    assert log.sequencer.size == 0
    assert log.sequencer.heads(cast.party_key.key_id, 9) == []
    assert not log.sequencer.keyring.is_live(node.key.key_id)
    assert reasons(log.party(*said)) == ["", ""]
    assert log.sequencer.keyring.is_live(node.key.key_id)


def test_a_second_enrolment_that_failed_takes_no_live_key_away(cast: Cast, log: Log) -> None:
    said, (node,) = cast.enrolled()
    log.party(*said)
    again = cast.party.say(cast.enrolment(node))
    log.journal.failures = ["before"]
    with pytest.raises(JournalError):
        log.party(again)
    assert log.sequencer.keyring.is_live(node.key.key_id)


def test_a_commit_whose_answer_was_lost_is_found_again(cast: Cast, log: Log) -> None:
    said = [cast.party.open(), cast.party.summary()]
    log.journal.failures = ["after"]
    with pytest.raises(JournalError):
        log.party(*said)
    outcomes = log.party(*said)
    assert reasons(outcomes) == ["", ""]
    assert log.headers() == [one.header for one in said], "each is there once"


def test_the_ledgers_own_words_find_a_lost_commit_too(cast: Cast, log: Log) -> None:
    log.journal.failures = ["after"]
    tick = log_pb2.Tick(checkpoint=b"x", time=T0)
    with pytest.raises(JournalError):
        log.sequencer.say(cast.ledger_key, tick, draw=cast.draw.randbytes)
    assert log.sequencer.say(cast.ledger_key, tick, draw=cast.draw.randbytes).index == 1
    assert [decode_header(header).sequence for header in log.headers()] == [0, 1]


def test_a_journal_that_somebody_else_wrote_to_is_a_fork(cast: Cast, log: Log) -> None:
    SqliteJournal.append(log.journal, 0, [(bytes(380), None)])
    with pytest.raises(ForkError) as refused:
        log.party(cast.party.open())
    assert refused.value.reason == "JOURNAL_MOVED"


def test_everything_is_known_again_after_a_restart(cast: Cast, log: Log) -> None:
    said, (node,) = cast.enrolled()
    first = log.party(*said)
    opening = node.open()
    log.send((node, opening))
    heads = log.sequencer.heads(node.key.key_id, 9)
    log.open()
    assert log.sequencer.size == 3
    assert log.sequencer.heads(node.key.key_id, 9) == heads
    assert log.party(*said) == first
    assert reasons(log.send((node, node.summary()))) == [""]


def test_a_restart_reads_no_bodies_but_those_that_teach_keys(
    cast: Cast, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, _ = cast.enrolled()
    log.party(*said, *cast.party.summaries(20))
    read: list[range] = []
    real = log.journal.read

    def reading(start: int, end: int) -> Iterator[Entry]:
        read.append(range(start, end))
        return real(start, end)

    monkeypatch.setattr(log.journal, "read", reading)
    log.open()
    assert read == [range(2)], "the opening, and the enrolment after it"


def test_the_logs_time_never_goes_back(cast: Cast, log: Log) -> None:
    log.party(cast.party.open())
    log.hours.ms -= MINUTE
    assert log.sequencer.now_ms() == T0
    log.open()
    assert log.sequencer.now_ms() == T0, "not after a restart either"
    log.party(cast.party.summary())
    times = [decode_record(r).logged_at_ms for r, _ in log.journal.leaves(0, 2)]
    assert times == [T0, T0]


def test_the_ledger_begins_its_chain_with_whatever_it_says_first(cast: Cast, log: Log) -> None:
    agreement = governance_pb2.Agreement(text=cast.text)
    first = log.sequencer.say(cast.ledger_key, agreement, draw=cast.draw.randbytes)
    second = log.sequencer.say(cast.ledger_key, log_pb2.Tick(), draw=cast.draw.randbytes)
    headers = [decode_header(decode_record(one.record).header) for one in (first, second)]
    assert [header.kind for header in headers] == [Kind.AGREEMENT, Kind.TICK]
    assert [header.sequence for header in headers] == [0, 1]
    assert headers[0].epoch == headers[1].epoch


@given(
    plan=st.lists(
        st.tuples(st.integers(0, 11), st.sampled_from(["", "", "", "before", "after"])),
        max_size=25,
    )
)
def test_in_any_order_with_any_failures_each_statement_is_logged_once_where_acknowledged(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[int, str]]
) -> None:
    cast = Cast()
    said = [cast.party.open(), *cast.party.summaries(11, size=1)]
    log = Log(cast, FailingJournal(tmp_path_factory.mktemp("log")), Hours())
    acknowledged: dict[bytes, int] = {}
    for at, failure in plan:
        log.journal.failures = [failure] if failure else []
        batch = said[max(0, at - 2) : at + 1]
        try:
            outcomes = log.party(*batch)
        except JournalError:
            continue
        for one, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Logged):
                assert acknowledged.setdefault(one.header, outcome.index) == outcome.index
            else:
                assert outcome.reason == "GAP"
    headers = log.headers()
    assert len(set(headers)) == len(headers)
    assert headers == [one.header for one in said[: len(headers)]], "in the chain's order"
    for header, index in acknowledged.items():
        assert headers[index] == header
    log.journal.close()


class ByTheRules(Sequencer):
    """A sequencer without the short way: every statement is judged by every rule."""

    def _go_on(self, one: Screened, group: _Group) -> Logged | None:
        return None


def play(cast: Cast, draw: random.Random) -> list[list[Statement]]:
    """Return batches of two nodes and their party: what is next, again, ahead, forked, of others, after the end."""
    enrolling, nodes = cast.enrolled(2)
    batches = [[*enrolling, *(node.open() for node in nodes)]]
    said: list[Statement] = list(batches[0])
    for _ in range(12):
        batch: list[Statement] = []
        for _ in range(draw.randrange(1, 6)):
            node = draw.choice(nodes)
            what = draw.choice(["next", "next", "next", "again", "gap", "changed", "end", "open"])
            if what == "next":
                batch += node.summaries(draw.randrange(1, 3))
            elif what == "again":
                batch.append(draw.choice(said))
            elif what == "gap":
                node.summary()
                batch.append(node.summary())
            elif what == "open":
                batch.append(node.open())
            elif what == "end":
                batch.append(cast.party.say(identity_pb2.Revocation(key_id=node.key.key_id)))
            else:
                one = draw.choice(said)
                header = decode_header(one.header)
                change = draw.choice(
                    [
                        header._replace(previous=draw.randbytes(32)),
                        header._replace(sequence=draw.randrange(6)),
                        header._replace(author=cast.party_key.key_id),
                        header._replace(key_id=nodes[0].key.key_id),
                        header._replace(epoch=draw.randbytes(16)),
                        header._replace(end_ms=header.end_ms + 1),
                    ]
                )
                batch.append(one._replace(header=encode_header(change)))
        said += batch
        batches.append(batch)
    return batches


@pytest.mark.parametrize("seed", range(25))
def test_the_short_way_gives_no_other_answer_than_the_rules(
    cast: Cast, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    batches = play(cast, draw)
    found: list[list[list[Outcome]]] = []
    for kind in (Sequencer, ByTheRules):
        (tmp_path / kind.__name__).mkdir()
        journal = FailingJournal(tmp_path / kind.__name__)
        sequencer = kind.open(journal, cast.keyring(), Hours())
        outcomes: list[list[Outcome]] = []
        for at, batch in enumerate(batches):
            group = [[screened(one) for one in batch]]
            if at % 3 == 2:  # the group fails once, and what it changed is taken back
                journal.failures = ["before"]
                with suppress(JournalError):
                    sequencer.log(group)
                journal.failures = []
            outcomes += sequencer.log(group)
        found.append(outcomes)
        journal.close()
    assert found[0] == found[1]
    assert any(isinstance(one, Logged) for batch in found[0][1:] for one in batch)
    assert any(isinstance(one, Refusal) for batch in found[0][1:] for one in batch)
