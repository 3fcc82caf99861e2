"""What fsck says of second statements for one place: one an epoch proves a fork, any other was not to be logged."""

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.journal.interface import Entry
from statements.header import decode_header
from statements.record import Record, decode_record, encode_record
from tests.unit.ledger import test_fsck as fsck
from tests.unit.ledger.cast import T0
from tests.unit.ledger.test_fsck import Log, make


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return make(tmp_path_factory.mktemp("made"), (20,))


def _second(log: Log, *, sequence: int = 1) -> Entry:
    """Return another statement for a place that a node's statement holds."""
    node = log.people[0]
    headers = [decode_header(decode_record(record).header) for record, _ in log.entries]
    (first,) = [h for h in headers if (h.author, h.sequence) == (node.key.key_id, sequence)]
    assert node.place is not None
    node.place = replace(node.place, sequence=sequence, previous=first.previous)
    said = node.summary()
    return encode_record(Record(said.header, said.signature, T0)), said.stored


def _reasons(log: Log, place: Path, *more: Entry) -> list[str]:
    found = fsck.TestRecords().publish(log, place, [*log.entries, *more])
    return [flaw.reason for flaw in found.flaws]


def test_one_second_statement_an_epoch_is_a_proof_and_no_flaw(log: Log, tmp_path: Path) -> None:
    assert _reasons(log, tmp_path, _second(log)) == []


def test_a_second_proof_of_one_epoch_is_a_flaw(log: Log, tmp_path: Path) -> None:
    assert _reasons(log, tmp_path, _second(log), _second(log)) == ["FORK"]
    (tmp_path / "other").mkdir()
    both = _second(log), _second(log, sequence=2)
    assert _reasons(log, tmp_path / "other", *both) == ["FORK"]


def test_the_same_statement_twice_is_a_flaw_and_no_proof(log: Log, tmp_path: Path) -> None:
    proof = _second(log)
    node = log.people[0].key.key_id
    again = next(
        entry
        for entry in log.entries
        if decode_header(decode_record(entry[0]).header).author == node
    )
    assert _reasons(log, tmp_path, again) == ["FORK"]
    (tmp_path / "other").mkdir()
    assert _reasons(log, tmp_path / "other", again, proof) == ["FORK"]
