"""Responses written by hand are those that protobuf writes."""

import random

import pytest

from ledger.answers import encode_response
from ledger.refusal import Refusal
from ledger.sequencer import Logged, Outcome
from protos.stillwatch.ledger.v1 import ledger_pb2
from statements.record import RECORD_LENGTH

DRAW = random.Random(5)
INDICES = [0, 1, 127, 128, 16_383, 16_384, 2**21 - 1, 2**21, 2**35, 2**63, 2**64 - 1]
OUTCOMES: list[Outcome] = [
    *(
        Logged(at, DRAW.randbytes(RECORD_LENGTH), body_held=held)
        for at in INDICES
        for held in (True, False)
    ),
    Refusal("GAP", "sequence 5 came", 3),
    Refusal("BAD_SIGNATURE", "no"),
    Refusal("WRONG_PREVIOUS", "another", 0),
]


def as_message(outcome: Outcome) -> ledger_pb2.AppendResult:
    if isinstance(outcome, Refusal):
        return ledger_pb2.AppendResult(
            reason=outcome.code, message=outcome.message, wanted_sequence=outcome.wanted_sequence
        )
    return ledger_pb2.AppendResult(
        receipt=ledger_pb2.Receipt(
            index=outcome.index, record=outcome.record, body_held=outcome.body_held
        )
    )


@pytest.mark.parametrize("outcome", OUTCOMES, ids=str)
def test_one_outcome(outcome: Outcome) -> None:
    expected = ledger_pb2.AppendResponse(results=[as_message(outcome)])
    assert encode_response([outcome]) == expected.SerializeToString(deterministic=True)


def test_many_outcomes() -> None:
    response = ledger_pb2.AppendResponse.FromString(encode_response(OUTCOMES))
    assert list(response.results) == [as_message(one) for one in OUTCOMES]
