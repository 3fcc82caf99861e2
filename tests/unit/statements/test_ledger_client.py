"""The ledger's client: what a real ledger answers is read, what no ledger could mean is refused with a reason."""

import threading
import time
from collections.abc import Callable

import pytest

from protos.stillwatch.ledger.v1 import ledger_pb2
from protos.stillwatch.statement.v1 import identity_pb2
from statements.author import Author, Statement
from statements.errors import SubmissionError
from statements.keys import read_signing_key
from statements.ledger_client import (
    LedgerClient,
    Receipt,
    Refusal,
    verify_receipt,
)
from statements.record import Record, encode_record
from statements.signing import SigningKey
from tests.unit.statements.conftest import ORIGIN, Liar, RealLedger
from tlog.checkpoint import verify_checkpoint
from tlog.merkle import leaf_hash, verify_consistency, verify_inclusion
from tlog.note import Verifier

TOO_LARGE = 2**63


def opening(key: SigningKey, pins_digest: bytes, epoch: bytes) -> Statement:
    said = identity_pb2.Opening(key=key.spki, logs=[ORIGIN], agreements=[pins_digest])
    return Author.opening(key, epoch).say(said, 0, 0, salt=bytes(16))[0]


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(SubmissionError) as caught:
        call()
    return caught.value.reason


def test_no_thread_works_on_a_stream_that_was_closed(ledger: RealLedger) -> None:
    key = SigningKey.generate()  # nobody knows it: refused, and that is an answer
    before = set(threading.enumerate())
    with LedgerClient(ledger.target) as client:
        client.append([opening(key, ledger.pins.digest, b"9" * 16)])
        during = {thread for thread in threading.enumerate() if thread not in before}
        began = time.monotonic()
        client.rest()
        left = [thread.name for thread in during if thread.is_alive()]
        assert time.monotonic() - began < 2
    assert len(during) >= 2, "grpc's sender and the reader of answers, at least"
    assert "append-answers" not in left
    assert len(left) <= 1, "grpc's own, of the channel"


def test_what_a_real_ledger_logged_can_be_proven(ledger: RealLedger) -> None:
    key = read_signing_key(ledger.party)
    statement = opening(key, ledger.pins.digest, b"1" * 16)
    log = Verifier.from_vkey(ledger.pins.ledgers[0].vkey)
    with LedgerClient(ledger.target) as client:
        before = verify_checkpoint(client.checkpoint(), ORIGIN, log)
        (receipt,) = client.append([statement])
        assert isinstance(receipt, Receipt)
        verify_receipt(statement, receipt)
        deadline = time.monotonic() + 10
        while verify_checkpoint(client.checkpoint(), ORIGIN, log).size <= receipt.index:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        proof = client.inclusion(receipt.index)
        tree = verify_checkpoint(proof.checkpoint, ORIGIN, log)
        verify_inclusion(
            receipt.index, tree.size, leaf_hash(receipt.record), proof.hashes, tree.root
        )
        hashes = client.consistency(before.size, tree.size)
        verify_consistency(before.size, tree.size, hashes, before.root, tree.root)
        heads = client.author(key.key_id)
        assert (b"1" * 16, 0, statement.id, receipt.index) in [
            (head.epoch, head.sequence, head.statement_id, head.index) for head in heads
        ]


def test_a_refusal_is_a_result_with_a_reason_and_the_stream_goes_on(ledger: RealLedger) -> None:
    stranger = opening(SigningKey.generate(), ledger.pins.digest, b"2" * 16)
    known = opening(read_signing_key(ledger.party), ledger.pins.digest, b"3" * 16)
    with LedgerClient(ledger.target) as client:
        (refusal,) = client.append([stranger])
        assert isinstance(refusal, Refusal)
        assert (refusal.reason, refusal.wanted_sequence) == ("UNKNOWN_KEY", None)
        (receipt,) = client.append([known])
        assert isinstance(receipt, Receipt)


def test_after_a_rest_the_next_batch_goes_out_on_another_stream(ledger: RealLedger) -> None:
    statement = opening(read_signing_key(ledger.party), ledger.pins.digest, b"4" * 16)
    with LedgerClient(ledger.target) as client:
        first = client.append([statement])
        client.rest()
        client.rest()
        assert client.append([statement]) == first


def test_a_call_that_a_real_ledger_ends_carries_its_words(ledger: RealLedger) -> None:
    with LedgerClient(ledger.target) as client:
        assert refused(lambda: client.inclusion(10**9)) == "NOT_FOUND"
        assert refused(lambda: client.consistency(5, 2)) == "INVALID_ARGUMENT"
        assert refused(lambda: client.append([])) == "INVALID_ARGUMENT"
        with pytest.raises(SubmissionError, match=r"BATCH_SIZE"):
            client.append([])


def test_nobody_listening_is_unavailable_and_names_the_ledger() -> None:
    with LedgerClient("127.0.0.1:1", deadline=5.0) as client:
        with pytest.raises(SubmissionError, match=r"127\.0\.0\.1:1") as caught:
            client.author(bytes(32))
        assert caught.value.reason == "UNAVAILABLE"
        assert refused(client.checkpoint) == "UNAVAILABLE"
        assert refused(lambda: client.append([])) == "UNAVAILABLE"


def test_a_ledger_that_hangs_up_or_never_answers_costs_an_error_and_no_wait(liar: Liar) -> None:
    with LedgerClient(liar.target, deadline=0.2) as client:
        assert refused(lambda: client.append([])) == "STREAM_ENDED"
        liar.answer_append = lambda _: time.sleep(0.5)  # answers None, late
        assert refused(lambda: client.append([])) == "DEADLINE_EXCEEDED"
        liar.answer_append = lambda _: ledger_pb2.AppendResponse()
        assert client.append([]) == []


def test_an_answer_with_too_few_results_is_refused(liar: Liar) -> None:
    liar.answer_append = lambda _: ledger_pb2.AppendResponse()
    with LedgerClient(liar.target) as client:
        assert refused(lambda: client.append([Statement(b"", b"", b"")])) == "BAD_ANSWER"


def result(**fields: object) -> ledger_pb2.AppendResult:
    return ledger_pb2.AppendResult(**fields)  # type: ignore[arg-type] # fields by name


@pytest.mark.parametrize(
    "answer",
    [
        result(receipt=ledger_pb2.Receipt(index=TOO_LARGE)),
        result(reason=ledger_pb2.REASON_GAP, wanted_sequence=TOO_LARGE),
    ],
)
def test_numbers_that_no_log_has_are_refused(liar: Liar, answer: ledger_pb2.AppendResult) -> None:
    liar.answer_append = lambda _: ledger_pb2.AppendResponse(results=[answer])
    liar.answers["GetInclusionProof"] = ledger_pb2.GetInclusionProofResponse(size=TOO_LARGE)
    with LedgerClient(liar.target) as client:
        assert refused(lambda: client.append([Statement(b"", b"", b"")])) == "BAD_ANSWER"
        assert refused(lambda: client.inclusion(0)) == "BAD_ANSWER"


@pytest.mark.parametrize(
    "head",
    [
        ledger_pb2.ChainHead(epoch=b"e" * 15, statement_id=bytes(32)),
        ledger_pb2.ChainHead(epoch=b"e" * 16, statement_id=bytes(31)),
        ledger_pb2.ChainHead(epoch=b"e" * 16, statement_id=bytes(32), sequence=TOO_LARGE),
        ledger_pb2.ChainHead(epoch=b"e" * 16, statement_id=bytes(32), index=TOO_LARGE),
    ],
)
def test_a_head_of_another_shape_is_refused(liar: Liar, head: ledger_pb2.ChainHead) -> None:
    liar.answers["GetAuthor"] = ledger_pb2.GetAuthorResponse(heads=[head])
    with LedgerClient(liar.target) as client:
        assert refused(lambda: client.author(bytes(32))) == "BAD_ANSWER"


def test_answers_that_are_no_messages_are_errors_with_a_reason(babbler: str) -> None:
    with LedgerClient(babbler, deadline=5.0) as client:
        assert refused(client.checkpoint) == "INTERNAL"
        assert refused(lambda: client.author(bytes(32))) == "INTERNAL"
        assert refused(lambda: client.inclusion(0)) == "INTERNAL"
        assert refused(lambda: client.consistency(1, 2)) == "INTERNAL"
        assert refused(lambda: client.append([])) == "INTERNAL"


def test_an_answer_larger_than_is_read_is_an_error_with_a_reason(liar: Liar) -> None:
    liar.answers["GetCheckpoint"] = ledger_pb2.GetCheckpointResponse(checkpoint=bytes(65 << 20))
    with LedgerClient(liar.target, deadline=20.0) as client:
        assert refused(client.checkpoint) == "RESOURCE_EXHAUSTED"


def test_reasons_of_a_newer_ledger_are_passed_on_by_number(liar: Liar) -> None:
    newer = ledger_pb2.AppendResult(message="new", wanted_sequence=3)
    newer.reason = 999  # type: ignore[assignment] # a value of a later version
    both = [newer, result(reason=ledger_pb2.REASON_FORK, receipt=ledger_pb2.Receipt(index=1))]
    liar.answer_append = lambda _: ledger_pb2.AppendResponse(results=both)
    with LedgerClient(liar.target) as client:
        first, second = client.append([Statement(b"", b"", b"")] * 2)
    assert first == Refusal("999", "new", 3)
    assert second == Refusal("FORK", "", None)


def test_words_of_a_ledger_are_not_endless_and_move_no_cursor(liar: Liar) -> None:
    said = result(reason=ledger_pb2.REASON_BUSY, message="\x1b[2J\x9b" + "no " * 10_000)
    liar.answer_append = lambda _: ledger_pb2.AppendResponse(results=[said])
    with LedgerClient(liar.target) as client:
        (refusal,) = client.append([Statement(b"", b"", b"")])
    assert isinstance(refusal, Refusal)
    assert refusal.message.isprintable()
    assert refusal.message.endswith("no no no")
    assert len(refusal.message) == 1_000


def test_a_receipt_for_anything_but_what_was_sent_is_refused() -> None:
    key = SigningKey.generate()
    sent = opening(key, bytes(32), b"4" * 16)
    other = opening(key, bytes(32), b"5" * 16)

    def reason(header: bytes, signature: bytes, *, body_held: bool = True) -> str:
        record = encode_record(Record(header, signature, 7))
        return refused(lambda: verify_receipt(sent, Receipt(0, record, body_held)))

    assert reason(other.header, sent.signature) == "BAD_RECEIPT"
    assert reason(sent.header, key.sign(sent.id)) == "BAD_RECEIPT"
    assert reason(sent.header, sent.signature, body_held=False) == "BODY_NOT_HELD"
    assert refused(lambda: verify_receipt(sent, Receipt(0, b"", True))) == "BAD_RECEIPT"
