"""A new key in the place of an old one, against a real ledger, whatever stops in between."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2
from statements.enrolment import possession_digest
from statements.errors import KeyFileError, SubmissionError
from statements.header import Header, decode_header
from statements.keys import hold_key, read_author, read_signing_key, write_signing_key
from statements.ledger_client import LedgerClient
from statements.publication import Published, publish
from statements.record import decode_record
from statements.signing import SigningKey
from statements.succession import Succession, rotate_key
from tests.unit.statements.conftest import ORIGIN, RealLedger


@pytest.fixture
def node(tmp_path: Path, ledger: RealLedger) -> Path:
    """The key of a node that was just enrolled."""
    path, key = tmp_path / "node.key", SigningKey.generate()
    write_signing_key(path, key)
    party = read_signing_key(ledger.party).key_id
    token = hashlib.sha256(key.spki).digest()
    enrolment = identity_pb2.Enrolment(
        node_key=key.spki,
        site="hall",
        name="node",
        token_digest=token,
        possession=key.sign(possession_digest(ledger.pins.digest, party, token)),
        agreement=ledger.pins.digest,
        chips=8,
    )
    with LedgerClient(ledger.target) as client:
        publish(client, ledger.party, enrolment, now_ms=5, pins=ledger.pins, origin=ORIGIN)
    return path


def say(client: LedgerClient, ledger: RealLedger, path: Path) -> Published:
    message = governance_pb2.Accession(agreement=ledger.pins.digest, party="-")
    return publish(client, path, message, now_ms=5, pins=ledger.pins, origin=ORIGIN)


def rotate(client: LedgerClient, ledger: RealLedger, path: Path) -> Succession:
    return rotate_key(client, path, now_ms=6, pins=ledger.pins, origin=ORIGIN)


def header(published: Published) -> Header:
    return decode_header(decode_record(published.record).header)


def test_the_author_stays_and_its_key_changes_as_often_as_it_likes(
    node: Path, ledger: RealLedger
) -> None:
    first = read_signing_key(node)
    with LedgerClient(ledger.target) as client:
        say(client, ledger, node)
        for _ in range(2):
            before = read_signing_key(node)
            done = rotate(client, ledger, node)
            key = read_signing_key(node)
            assert (done.author, done.old, done.new) == (first.key_id, before.key_id, key.key_id)
            assert read_signing_key(done.retired).key_id == before.key_id
            assert stat.S_IMODE(node.stat().st_mode) == 0o600
            assert read_author(node, key) == first.key_id
            said = header(say(client, ledger, node))
            assert (said.author, said.key_id, said.sequence) == (first.key_id, key.key_id, 1)
        assert client.speaks(first.key_id)


def test_the_key_that_went_says_nothing_more(node: Path, ledger: RealLedger) -> None:
    with LedgerClient(ledger.target) as client:
        done = rotate(client, ledger, node)
        with pytest.raises(SubmissionError) as refused:
            say(client, ledger, done.retired)
    assert refused.value.reason == "REVOKED_KEY"


def test_a_rotation_whose_answer_was_lost_is_finished_by_the_next_call(
    node: Path, ledger: RealLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LedgerClient(ledger.target) as client:
        append = client.append

        def deaf(said):  # type: ignore[no-untyped-def] # as append
            append(said)
            raise SubmissionError("UNAVAILABLE", "the answer was lost")

        monkeypatch.setattr(client, "append", deaf)
        with pytest.raises(SubmissionError, match="the answer was lost"):
            rotate(client, ledger, node)
        monkeypatch.undo()
        old = read_signing_key(node)
        done = rotate(client, ledger, node)
        assert done.old == old.key_id
        assert header(say(client, ledger, node)).author == old.key_id


@pytest.mark.parametrize("at", ["replace", "link"])
def test_a_crash_while_files_change_places_loses_neither_key(
    node: Path, ledger: RealLedger, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    first = read_signing_key(node)

    def crash(*_: object) -> None:
        raise OSError(5, "the disk is gone")

    with LedgerClient(ledger.target) as client:
        where = Path if at == "replace" else os
        replace = Path.replace

        def replaced(path: Path, to: Path) -> Path:
            return crash(path, to) if path.name.endswith(".next") else replace(path, to)  # type: ignore[func-returns-value, return-value]

        monkeypatch.setattr(where, at, replaced if at == "replace" else crash)
        with pytest.raises(KeyFileError) as caught:
            rotate(client, ledger, node)
        assert caught.value.reason == "KEY_UNWRITABLE"
        monkeypatch.undo()
        done = rotate(client, ledger, node)
        assert (done.author, done.old) == (first.key_id, first.key_id)
        assert header(say(client, ledger, node)).author == first.key_id


def test_a_key_that_its_party_revoked_cannot_be_rotated(node: Path, ledger: RealLedger) -> None:
    key = read_signing_key(node)
    message = identity_pb2.Revocation(key_id=key.key_id)
    with LedgerClient(ledger.target) as client:
        publish(client, ledger.party, message, now_ms=5, pins=ledger.pins, origin=ORIGIN)
        for _ in range(2):  # what the first left behind does not look like success
            with pytest.raises(SubmissionError) as refused:
                rotate(client, ledger, node)
            assert refused.value.reason == "REVOKED_KEY"
        assert not client.speaks(key.key_id)
    assert read_signing_key(node).key_id == key.key_id


def test_a_key_that_somebody_speaks_with_is_left_alone(node: Path, ledger: RealLedger) -> None:
    with (
        LedgerClient(ledger.target) as client,
        hold_key(node, wait=False),
        pytest.raises(KeyFileError) as caught,
    ):
        rotate(client, ledger, node)
    assert caught.value.reason == "KEY_IN_USE"
    assert not node.with_name("node.key.next").exists()


@pytest.mark.parametrize("text", ["", "no digest", "ab" * 31])
def test_an_author_file_that_names_nobody_is_refused(node: Path, text: str) -> None:
    node.with_name("node.key.author").write_text(text)
    with pytest.raises(KeyFileError) as caught:
        read_author(node, read_signing_key(node))
    assert caught.value.reason == "BAD_AUTHOR_FILE"
