"""Who said what in which order: holes, forks, and what nobody but an author can do to its chain."""

import hashlib
from dataclasses import replace

import pytest

from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2, summary_pb2
from statements.author import Author, Seen
from statements.header import decode_header, encode_header
from statements.kinds import Kind
from statements.record import Record, decode_record, encode_record
from tests.unit.verifier.logbook import IDLE, MINUTE, T0, Logbook, NodeSpeaker
from verifier.evidence.chains import Contradiction
from verifier.evidence.gather import Evidence


@pytest.fixture
def book() -> Logbook:
    book = Logbook.begin()
    book.enrol("aurora", "aurora/0")
    return book


def _node(book: Logbook) -> NodeSpeaker:
    return book.nodes["aurora/0"]


def _windows(book: Logbook, count: int) -> list[int]:
    node = _node(book)
    return [book.log(book.window(node, T0 + at * MINUTE, IDLE)) for at in range(count)]


def _authentic(evidence: Evidence) -> set[int]:
    return set(evidence.records.index[evidence.chains.authentic].tolist())


def test_a_window_that_was_never_logged_leaves_a_gap(book: Logbook) -> None:
    indices = _windows(book, 5)
    evidence = book.without(indices[1], indices[2]).evidence()
    (gap,) = evidence.chains.gaps
    assert gap.missing == 2
    assert len(_authentic(evidence)) == len(book.records) - 2


def test_the_first_statements_of_an_epoch_cannot_be_dropped_unseen(book: Logbook) -> None:
    indices = _windows(book, 2)
    inventory, opening = indices[0] - 1, indices[0] - 2
    evidence = book.without(opening, inventory).evidence()
    assert [gap.missing for gap in evidence.chains.gaps] == [2]


def test_the_last_window_can_be_dropped_without_a_gap_and_is_then_simply_missing(
    book: Logbook,
) -> None:
    indices = _windows(book, 3)
    evidence = book.without(indices[-1]).evidence()
    assert evidence.chains.gaps == ()


def test_two_headers_for_one_place_are_proved_and_the_first_logged_counts(book: Logbook) -> None:
    node = _node(book)
    place = node.author
    first = book.log(book.window(node, T0, IDLE))
    node.author = place
    second = book.log(book.window(node, T0 + MINUTE, IDLE))
    evidence = book.evidence()
    (fork,) = evidence.chains.forks
    assert fork.what is Contradiction.SAME_PLACE
    assert evidence.records.index[list(fork.rows)].tolist() == [first, second]
    assert {first} == _authentic(evidence) & {first, second}


def test_a_forged_second_header_is_no_fork(book: Logbook) -> None:
    """Nobody can frame an author without its key, whichever is logged first."""
    index = _windows(book, 2)[0]
    forged = decode_header(decode_record(book.records[index]).header)._replace(end_ms=T0 + 1)
    for at in (index, index + 1):
        trial = replace(book, records=list(book.records), bodies=list(book.bodies))
        trial.records.insert(at, encode_record(Record(encode_header(forged), b"\x01" * 64, T0)))
        trial.bodies.insert(at, None)
        evidence = trial.evidence()
        assert evidence.chains.forks == ()
        assert len(_authentic(evidence)) == len(book.records)


def test_a_header_with_another_past_is_proved(book: Logbook) -> None:
    node = _node(book)
    _windows(book, 1)
    assert node.author is not None
    node.author = replace(node.author, previous=bytes(32))
    _windows(book, 1)
    assert [fork.what for fork in book.evidence().chains.forks] == [Contradiction.OTHER_PAST]


def test_the_same_statement_logged_twice_counts_once(book: Logbook) -> None:
    index = _windows(book, 1)[0]
    book.records.append(book.records[index])
    book.bodies.append(book.bodies[index])
    evidence = book.evidence()
    assert evidence.chains.forks == ()
    assert [fault.reason for fault in evidence.faults] == ["LOGGED_TWICE"]
    assert len(_authentic(evidence)) == len(book.records) - 1


def test_a_fact_logged_twice_is_heard_once(book: Logbook) -> None:
    fact = governance_pb2.Fact(agreement=book.pins.digest, indicator="task_horizon", value=16.0)
    index = book.say("meridian", fact)
    book.records.append(book.records[index])
    book.bodies.append(book.bodies[index])
    heard = [said for said in book.evidence().said if isinstance(said.message, governance_pb2.Fact)]
    assert [said.index for said in heard] == [index]


def _speak_in_old_epoch(book: Logbook, more: int, root: bytes | None = None) -> None:
    """Log a statement of an epoch after its successor, its author having seen the log but ``more`` of its records."""
    node = _node(book)
    old = node.author
    assert old is not None
    size = len(book.records) + more
    book.open(node, 3)
    seen = Seen(
        hashlib.sha256(book.origin.encode()).digest(),
        size,
        book.prefix().root_at(size) if root is None else root,
    )
    said, node.author = old.say(
        summary_pb2.WorkloadSummary(), T0, T0 + MINUTE, salt=bytes(16), seen=seen
    )
    book.log(said)


def test_speaking_in_an_epoch_whose_successor_was_seen_is_proved(book: Logbook) -> None:
    _speak_in_old_epoch(book, 1)
    assert [fork.what for fork in book.evidence().chains.forks] == [Contradiction.SUPERSEDED]


def test_a_statement_of_an_old_epoch_said_before_its_successor_was_seen_is_no_fork(
    book: Logbook,
) -> None:
    _speak_in_old_epoch(book, 0)
    assert book.evidence().chains.forks == ()


def test_an_opening_that_a_ledger_refused_and_logged_later_supersedes_nothing(
    book: Logbook,
) -> None:
    """A node whose opening is refused opens another epoch; in which order the two are logged is the ledger's to say."""
    node = _node(book)
    newest = node.newest
    refused, _ = Author.opening(node.key, b"\x01" * 16, newest).say(
        identity_pb2.Opening(key=node.key.spki), T0, T0, salt=bytes(16)
    )
    book.open(node, 3)
    book.log(refused)
    assert node.author is not None
    log, size = hashlib.sha256(book.origin.encode()).digest(), len(book.records)
    seen = Seen(log, size, book.prefix().root_at(size))
    said, _ = node.author.say(
        summary_pb2.WorkloadSummary(), T0, T0 + MINUTE, salt=bytes(16), seen=seen
    )
    index = book.log(said)
    evidence = book.evidence()
    assert evidence.chains.forks == ()
    assert index in _authentic(evidence)


def test_of_two_openings_after_an_epoch_the_one_logged_first_ends_it(book: Logbook) -> None:
    node = _node(book)
    old, newest = node.author, node.newest
    assert old is not None
    for _ in range(2):
        node.newest = newest
        book.open(node, 3)
        size = len(book.records)
    log = hashlib.sha256(book.origin.encode()).digest()
    said, _ = old.say(
        summary_pb2.WorkloadSummary(), T0, T0 + MINUTE, salt=bytes(16),
        seen=Seen(log, size - 1, book.prefix().root_at(size - 1)),
    )  # fmt: skip
    index = book.log(said)
    (fork,) = book.evidence().chains.forks
    assert fork.rows == (size - 2, index)


@pytest.mark.parametrize("more", [1, 2])
def test_a_ledger_that_shows_an_author_a_longer_log_than_it_serves_does_not_make_it_fork(
    book: Logbook, more: int
) -> None:
    _speak_in_old_epoch(book, more, b"\x01" * 32)
    assert book.evidence().chains.forks == ()


def test_an_epoch_after_a_statement_that_the_log_dropped_shows_the_gap(book: Logbook) -> None:
    node = _node(book)
    index = _windows(book, 3)[-1]
    book.join(node)
    assert book.evidence().chains.gaps == ()
    (gap,) = book.without(index).evidence().chains.gaps
    assert (gap.author, gap.missing) == (node.key.key_id, 1)


def test_a_record_put_before_a_key_was_live_costs_its_author_nothing(book: Logbook) -> None:
    """A ledger that held an enrolment back cannot make a stranger of the node."""
    windows = _windows(book, 2)
    enrolled = next(
        at for at, entry in enumerate(book.records)
        if decode_header(decode_record(entry).header).kind == Kind.ENROLMENT
    )  # fmt: skip
    book.records.insert(enrolled, book.records[windows[1]])
    book.bodies.insert(enrolled, book.bodies[windows[1]])
    evidence = book.evidence()
    assert [fault.reason for fault in evidence.faults] == ["UNKNOWN_KEY"]
    assert {windows[0] + 1, windows[1] + 1} <= _authentic(evidence)


def test_restarts_are_counted(book: Logbook) -> None:
    node = _node(book)
    for _ in range(3):
        book.open(node, 3)
    assert book.evidence().chains.epochs[node.key.key_id] == 4
