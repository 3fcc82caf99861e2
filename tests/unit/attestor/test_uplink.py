"""The uplink: in order, resumed, freed only on proof, and not fooled by what a ledger says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestor.backoff import Backoff
from attestor.errors import UplinkError
from attestor.log_view import LogView
from attestor.spool import Spool
from attestor.uplink import Uplink, newest_logged
from protos.stillwatch.statement.v1 import inventory_pb2
from statements.author import NOTHING, Author, Statement
from statements.errors import SubmissionError
from statements.header import decode_header
from statements.ledger_client import Head, Receipt, Refusal
from statements.log_trust import LogTrust
from statements.record import Record, encode_record
from statements.signing import SigningKey, statement_id
from tests.unit.attestor.fake_ledger import PIN, FakeLedger
from tlog.checkpoint import Checkpoint, sign_checkpoint
from tlog.note import Signer, Verifier
from tlog.policy import parse_policy

KEY, OTHER = SigningKey.generate(), SigningKey.generate()


@dataclass
class Rig:
    spool: Spool
    ledger: FakeLedger
    uplink: Uplink
    view: LogView
    now: list[float]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    spool, ledger, view, now = (
        Spool(tmp_path / "spool"),
        FakeLedger(),
        LogView(LogTrust(Verifier.from_vkey(PIN.vkey), parse_policy("quorum none"))),
        [0.0],
    )
    uplink = Uplink(
        ledger,
        view,
        [(spool, [KEY.key_id, OTHER.key_id])],
        monotonic=lambda: now[0],
        draw=lambda: 1.0,
        checkpoint_every_s=1.0,
    )
    return Rig(spool, ledger, uplink, view, now)


def fill(spool: Spool, key: SigningKey, number: int, epoch: bytes = b"e" * 16) -> Author:
    author = Author.opening(key, epoch)
    said = []
    for place in range(number):
        message = inventory_pb2.Inventory(driver=str(place))
        statement, after = author.say(message, 0, 0, salt=bytes(16))
        said.append((author, statement))
        author = after
    spool.add(said)
    return author


def logged(ledger: FakeLedger, key: SigningKey) -> list[int]:
    headers = [decode_header(record[3:305]) for record in ledger.records]
    return [header.sequence for header in headers if header.author == key.key_id]


def test_statements_go_up_in_order_and_are_freed_on_proof_alone(rig: Rig) -> None:
    fill(rig.spool, KEY, 5)
    fill(rig.spool, OTHER, 3)
    rig.ledger.published = 0
    assert rig.uplink.round()
    assert logged(rig.ledger, KEY) == [0, 1, 2, 3, 4]
    assert logged(rig.ledger, OTHER) == [0, 1, 2]
    assert rig.spool.count() == (0, 8)
    rig.ledger.published, rig.now[0] = 6, 1.0
    assert not rig.uplink.round()
    assert rig.spool.count() == (0, 2)
    rig.ledger.published, rig.now[0] = None, 2.0
    rig.uplink.round()
    assert rig.spool.count() == (0, 0)
    assert rig.uplink.seen.size == 8
    assert rig.spool.seen(rig.view.log) == rig.uplink.seen


def test_an_outage_loses_nothing_and_a_lost_acknowledgement_doubles_nothing(rig: Rig) -> None:
    fill(rig.spool, KEY, 4)
    rig.ledger.down = True
    with pytest.raises(SubmissionError):
        rig.uplink.round()
    rig.ledger.down = False
    rig.ledger.append([item.statement for item in rig.spool.unlogged(KEY.key_id, 2)])
    rig.uplink.round()
    assert logged(rig.ledger, KEY) == [0, 1, 2, 3]
    assert rig.spool.count()[0] == 0


def test_a_gap_is_sent_again_from_the_sequence_wanted(rig: Rig) -> None:
    fill(rig.spool, KEY, 4)
    items = rig.spool.unlogged(KEY.key_id, 9)
    rig.ledger.append([items[0].statement])
    rig.spool.acknowledge([(item.place, item.sequence, b"r") for item in items[:3]])
    assert not rig.uplink.send()
    assert [item.sequence for item in rig.spool.unlogged(KEY.key_id, 9)] == [1, 2, 3]
    rig.now[0] = 1.0
    assert rig.uplink.send()
    assert logged(rig.ledger, KEY) == [0, 1, 2, 3]


def test_a_gap_that_cannot_be_filled_opens_a_new_epoch(rig: Rig) -> None:
    fill(rig.spool, KEY, 3)
    items = rig.spool.unlogged(KEY.key_id, 9)
    rig.spool.free([items[0].place])
    rig.uplink.send()
    wedge = rig.uplink.wedges.get(block=False)
    assert (wedge.author, wedge.previous, wedge.reason) == (KEY.key_id, NOTHING, "GAP")


def test_a_fork_holds_the_author_until_its_chain_has_opened_again(rig: Rig) -> None:
    fill(rig.spool, KEY, 2)
    fill(rig.spool, OTHER, 1)
    mine = Author.opening(KEY, b"e" * 16)
    stray, _ = mine.say(inventory_pb2.Inventory(driver="stray"), 0, 0, salt=bytes(16))
    rig.ledger.append([stray])
    rig.uplink.send()
    wedge = rig.uplink.wedges.get(block=False)
    assert wedge.reason == "FORK"
    assert wedge.previous == statement_id(stray.header)
    assert logged(rig.ledger, OTHER) == [0]
    rig.now[0] = 100.0
    before = len(rig.ledger.batches)
    assert not rig.uplink.send()
    assert len(rig.ledger.batches) == before
    rig.uplink.release(KEY.key_id)
    rig.uplink.send()
    assert len(rig.ledger.batches) == before + 1


def test_a_node_that_is_not_enrolled_yet_waits_and_holds_up_nobody(rig: Rig) -> None:
    fill(rig.spool, KEY, 2)
    fill(rig.spool, OTHER, 2)
    rig.ledger.refuse[KEY.key_id] = "UNKNOWN_KEY"
    assert rig.uplink.send()
    assert logged(rig.ledger, OTHER) == [0, 1]
    assert not rig.uplink.send()
    assert len(rig.ledger.batches) == 1
    rig.ledger.refuse.clear()
    rig.now[0] = 0.3
    assert rig.uplink.send()
    assert logged(rig.ledger, KEY) == [0, 1]


def test_an_acknowledgement_of_anything_but_what_was_sent_is_none(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(rig.spool, KEY, 1)
    fill(rig.spool, OTHER, 1)
    sent = rig.spool.unlogged(KEY.key_id, 1)[0].statement
    stray = rig.spool.unlogged(OTHER.key_id, 1)[0].statement
    good = [
        Receipt(at, encode_record(Record(s.header, s.signature, 0)), body_held=True)
        for at, s in enumerate((sent, stray))
    ]
    wrong = {
        "another statement": replace(good[0], record=good[1].record),
        "no record": replace(good[0], record=good[0].record[:-1]),
        "another signature": replace(
            good[0], record=encode_record(Record(sent.header, bytes(64), 0))
        ),
        "no body": replace(good[0], body_held=False),
    }
    for receipt in wrong.values():
        monkeypatch.setattr(rig.ledger, "append", lambda _, r=receipt: [r])
        only = Uplink(
            rig.ledger, rig.view, [(rig.spool, [KEY.key_id])], monotonic=lambda: rig.now[0]
        )
        with pytest.raises(SubmissionError) as caught:
            only.send()
        assert caught.value.reason in {"BAD_RECEIPT", "BODY_NOT_HELD"}
    assert rig.spool.count() == (2, 0)


def test_a_body_that_the_ledger_does_not_hold_is_sent_again_and_holds_up_nobody(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(rig.spool, KEY, 1)
    fill(rig.spool, OTHER, 2)
    append = rig.ledger.append

    def lose_the_first(statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        first, *rest = append(statements)
        assert isinstance(first, Receipt)
        return [replace(first, body_held=False), *rest]

    monkeypatch.setattr(rig.ledger, "append", lose_the_first)
    with pytest.raises(SubmissionError) as caught:
        rig.uplink.send()
    assert caught.value.reason == "BODY_NOT_HELD"
    assert rig.spool.count() == (1, 2)
    monkeypatch.undo()
    rig.uplink.round()
    assert rig.spool.count() == (0, 0)


def test_what_has_piled_up_goes_up_in_batches_that_a_ledger_reads(rig: Rig) -> None:
    author, said = Author.opening(KEY, b"e" * 16), list[tuple[Author, Statement]]()
    for _ in range(20):
        message = inventory_pb2.Inventory(driver="d" * 900_000)
        statement, after = author.say(message, 0, 0, salt=bytes(16))
        said.append((author, statement))
        author = after
    rig.spool.add(said)
    while rig.uplink.send():
        pass
    assert rig.ledger.batches == [9, 9, 2]
    assert logged(rig.ledger, KEY) == list(range(20))


def test_a_checkpoint_that_came_with_a_proof_survives_a_restart_too(rig: Rig) -> None:
    fill(rig.spool, KEY, 3)
    rig.ledger.published = 1
    rig.uplink.round()
    rig.ledger.published = None
    rig.uplink.prove()
    rig.uplink.look()
    assert rig.spool.seen(rig.view.log) == rig.uplink.seen


def test_a_record_that_the_log_does_not_hold_is_never_freed(rig: Rig) -> None:
    fill(rig.spool, KEY, 4)
    rig.ledger.published = 0
    rig.uplink.round()
    rig.ledger.published = None
    rig.ledger.records[2] = rig.ledger.records[2][:-1] + b"\x01"
    rig.now[0] = 1.0
    with pytest.raises(UplinkError, match="does not hold record 2"):
        rig.uplink.round()
    assert 2 in [item.log_index for item in rig.spool.unproven(9, 9)]


def test_a_log_that_shrinks_forks_or_is_signed_by_another_is_refused(rig: Rig) -> None:
    fill(rig.spool, KEY, 5)
    rig.uplink.round()
    seen = rig.uplink.seen
    rig.ledger.published = 3
    with pytest.raises(UplinkError) as shrank:
        rig.uplink.look()
    rig.ledger.published = None
    rig.ledger.records[0] = b"another"
    with pytest.raises(UplinkError) as forked:
        rig.uplink.look()
    rig.ledger.records.append(b"more")
    with pytest.raises(UplinkError) as extended:
        rig.uplink.look()
    stranger = Signer("rehearsal.test", Ed25519PrivateKey.generate())
    note = sign_checkpoint(Checkpoint(PIN.origin, 9, bytes(32)), stranger)
    with pytest.raises(UplinkError):
        rig.view.advance(note, rig.ledger.consistency)
    assert shrank.value.reason == "LOG_SHRANK"
    assert forked.value.reason == extended.value.reason == "ROOT_MISMATCH"
    assert rig.uplink.seen == seen


def test_waits_double_up_to_a_limit_and_are_spread() -> None:
    backoff = Backoff(0.1, 1.0, lambda: 1.0)
    assert [round(backoff.fail(), 3) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.succeed()
    assert backoff.fail() == 0.1
    assert Backoff(0.1, 1.0, lambda: 0.0).fail() == 0.05


def test_the_newest_logged_statement_is_the_one_highest_in_the_log() -> None:
    assert newest_logged(()) == NOTHING
    heads = (Head(b"a", 9, b"old", 3), Head(b"b", 0, b"new", 7))
    assert newest_logged(heads) == b"new"


def test_between_two_rounds_there_is_nothing_to_do_until_a_checkpoint_or_a_refused_author_is_due(
    rig: Rig,
) -> None:
    rig.uplink.round()
    assert rig.uplink.idle_s() == 1.0
    rig.now[0] = 0.9
    rig.ledger.refuse[KEY.key_id] = "BUSY"
    fill(rig.spool, KEY, 1)
    assert not rig.uplink.round()
    assert rig.uplink.idle_s() == pytest.approx(0.1)
    rig.now[0] = 1.0
    rig.uplink.round()
    assert rig.uplink.idle_s() == pytest.approx(0.1), "the author is due before the checkpoint"
    rig.now[0] = 2.5
    assert rig.uplink.idle_s() == 0.0


def test_a_stream_that_nothing_more_is_sent_on_is_let_go(rig: Rig) -> None:
    rested: list[int] = []
    rig.ledger.rest = lambda: rested.append(len(rig.ledger.batches))  # type: ignore[method-assign] # listens in
    fill(rig.spool, KEY, 2)
    while rig.uplink.round():
        assert not rested
    assert rested == [1]
