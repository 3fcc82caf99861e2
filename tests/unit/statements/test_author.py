import hashlib

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from protos.stillwatch.statement.v1 import governance_pb2, header_pb2, identity_pb2, summary_pb2
from statements.author import NOTHING, Author, Seen
from statements.body import (
    BODY_LIMIT,
    body_digest,
    decode_body,
    encode_body,
    verify_stored,
)
from statements.errors import BodyError, RecordError
from statements.header import decode_header
from statements.kinds import Kind, kind_of, parse_content
from statements.record import RECORD_LENGTH, Record, decode_record, encode_record
from statements.signing import SigningKey, statement_id, verify_signature

KEY = SigningKey.generate()
SALT = bytes(range(16))


def test_a_chain_names_each_statement_by_the_one_before() -> None:
    author = Author.opening(KEY, b"e" * 16)
    previous = NOTHING
    for sequence in range(4):
        message: Message = (
            identity_pb2.Opening(key=KEY.spki) if sequence == 0 else summary_pb2.WorkloadSummary()
        )
        statement, author = author.say(message, 1_000, 2_000, salt=SALT)
        header = decode_header(statement.header)
        assert (header.sequence, header.previous) == (sequence, previous)
        assert header.author == header.key_id == KEY.key_id
        verify_signature(KEY.verifying_key(), statement.id, statement.signature)
        previous = statement_id(statement.header)


def test_a_statement_binds_its_body_period_and_what_was_seen() -> None:
    seen = Seen(b"l" * 32, 7, b"r" * 32)
    fact = governance_pb2.Fact(indicator="horizon", value=16.0)
    statement, _ = Author.opening(KEY, b"e" * 16).say(fact, 5, 9, salt=SALT, seen=seen)
    header = decode_header(statement.header)
    assert header.kind == Kind.FACT
    assert (header.start_ms, header.end_ms) == (5, 9)
    assert (header.seen_log, header.seen_size, header.seen_root) == (b"l" * 32, 7, b"r" * 32)
    assert header.body_digest == header.stored_digest == hashlib.sha256(statement.stored).digest()
    assert parse_content(Kind.FACT, decode_body(statement.stored)) == fact


def test_every_kind_has_one_message_and_every_message_one_kind() -> None:
    for kind in Kind:
        assert kind_of(parse_content(kind, b"")) is kind
    assert {int(kind) for kind in Kind} == set(header_pb2.Kind.values()) - {0}


def test_a_message_that_is_no_kind_cannot_be_said() -> None:
    with pytest.raises(BodyError) as caught:
        kind_of(header_pb2.Record())
    assert caught.value.reason == "UNKNOWN_KIND"


@given(st.binary(max_size=2_000))
def test_a_body_reads_back_and_is_refused_under_another_digest(content: bytes) -> None:
    body = encode_body(content, SALT)
    assert decode_body(body) == content
    verify_stored(body, body_digest(body))
    with pytest.raises(BodyError) as caught:
        verify_stored(body + b"x", body_digest(body))
    assert caught.value.reason == "BODY_MISMATCH"


def test_a_body_over_one_mebibyte_is_refused() -> None:
    with pytest.raises(BodyError) as caught:
        encode_body(bytes(BODY_LIMIT), SALT)
    assert caught.value.reason == "BODY_TOO_LARGE"
    with pytest.raises(BodyError) as caught:
        verify_stored(bytes(BODY_LIMIT + 1), bytes(32))
    assert caught.value.reason == "BODY_TOO_LARGE"


@pytest.mark.parametrize("body", [b"\xff", header_pb2.Body(salt=b"short").SerializeToString(), b""])
def test_bytes_that_are_no_body_are_refused(body: bytes) -> None:
    with pytest.raises(BodyError) as caught:
        decode_body(body)
    assert caught.value.reason == "MALFORMED_BODY"


def test_a_salt_of_another_length_is_refused() -> None:
    with pytest.raises(BodyError):
        encode_body(b"", b"short")


def test_content_of_another_shape_is_refused() -> None:
    with pytest.raises(BodyError) as caught:
        parse_content(Kind.FACT, b"\xff\xff")
    assert caught.value.reason == "MALFORMED_BODY"


@given(
    st.binary(min_size=302, max_size=302),
    st.binary(min_size=64, max_size=64),
    st.integers(0, 2**64 - 1),
)
def test_a_record_is_the_one_layout_that_protobuf_writes(
    header: bytes, signature: bytes, time: int
) -> None:
    record = Record(header, signature, time)
    data = encode_record(record)
    assert len(data) == RECORD_LENGTH
    assert decode_record(data) == record
    message = header_pb2.Record(header=header, signature=signature, logged_at=time)
    assert message.SerializeToString(deterministic=True) == data


@given(st.binary(max_size=500))
def test_random_bytes_are_no_record(data: bytes) -> None:
    with pytest.raises(RecordError):
        decode_record(data)


def test_a_record_with_other_fields_is_refused() -> None:
    data = bytearray(encode_record(Record(bytes(302), bytes(64), 1)))
    data[0] = 0x12
    with pytest.raises(RecordError):
        decode_record(bytes(data))
    with pytest.raises(RecordError):
        encode_record(Record(b"", bytes(64), 1))
