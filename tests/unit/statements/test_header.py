import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.stillwatch.statement.v1 import header_pb2
from statements.errors import HeaderError
from statements.header import (
    AUTHOR,
    HEADER_LENGTH,
    KEY_ID,
    PREVIOUS,
    SEQUENCE,
    SPEAKER,
    TEMPLATE,
    Header,
    decode_header,
    encode_header,
)

digests = st.binary(min_size=32, max_size=32)
u64 = st.integers(0, 2**64 - 1)
headers = st.builds(
    Header,
    kind=st.integers(0, 2**32 - 1),
    author=digests,
    key_id=digests,
    epoch=st.binary(min_size=16, max_size=16),
    sequence=u64,
    previous=digests,
    start_ms=u64,
    end_ms=u64,
    seen_log=digests,
    seen_size=u64,
    seen_root=digests,
    body_digest=digests,
    stored_digest=digests,
    disclosure=st.integers(0, 2**32 - 1),
)


@given(headers)
def test_every_header_has_one_length_and_reads_back(header: Header) -> None:
    data = encode_header(header)
    assert len(data) == HEADER_LENGTH
    assert decode_header(data) == header


@given(headers, headers)
def test_the_slices_are_where_the_fields_are(header: Header, other: Header) -> None:
    data = encode_header(header)
    assert (data[AUTHOR], data[KEY_ID], data[PREVIOUS]) == (
        header.author,
        header.key_id,
        header.previous,
    )
    assert int.from_bytes(data[SEQUENCE], "little") == header.sequence
    speaks = (header.kind, header.author, header.key_id, header.epoch)
    twin = other._replace(kind=speaks[0], author=speaks[1], key_id=speaks[2], epoch=speaks[3])
    assert encode_header(twin)[SPEAKER] == data[SPEAKER], "what comes after does not count"
    for name in ("kind", "author", "key_id", "epoch"):
        changed = header._replace(**{name: getattr(other, name)})
        same = getattr(changed, name) == getattr(header, name)
        assert (encode_header(changed)[SPEAKER] == data[SPEAKER]) == same


@given(headers)
def test_the_layout_is_the_one_that_protobuf_writes(header: Header) -> None:
    message = header_pb2.Header(
        kind=header.kind,
        author=header.author,
        key_id=header.key_id,
        epoch=header.epoch,
        sequence=header.sequence,
        previous=header.previous,
        start=header.start_ms,
        end=header.end_ms,
        seen_log=header.seen_log,
        seen_size=header.seen_size,
        seen_root=header.seen_root,
        body_digest=header.body_digest,
        stored_digest=header.stored_digest,
        disclosure=header.disclosure,
    )
    assert message.SerializeToString(deterministic=True) == encode_header(header)


@given(headers)
def test_the_template_holds_the_constant_bytes(header: Header) -> None:
    data = encode_header(header)
    for offset, constant in TEMPLATE:
        assert data[offset : offset + len(constant)] == constant


@given(headers, st.integers(0, len(TEMPLATE) - 1), st.integers(1, 255))
def test_another_field_layout_is_refused(header: Header, field: int, change: int) -> None:
    data = bytearray(encode_header(header))
    data[TEMPLATE[field][0]] ^= change
    with pytest.raises(HeaderError) as caught:
        decode_header(bytes(data))
    assert caught.value.reason == "MALFORMED_HEADER"


@given(headers, st.binary(min_size=1, max_size=40))
def test_unknown_fields_are_refused(header: Header, tail: bytes) -> None:
    with pytest.raises(HeaderError):
        decode_header(encode_header(header) + tail)


@given(st.binary(max_size=400))
def test_random_bytes_are_no_header(data: bytes) -> None:
    with pytest.raises(HeaderError):
        decode_header(data)


def test_a_digest_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(HeaderError):
        encode_header(
            Header(
                1,
                b"a" * 31,
                b"k" * 32,
                b"e" * 16,
                0,
                bytes(32),
                0,
                0,
                bytes(32),
                0,
                bytes(32),
                bytes(32),
                bytes(32),
                1,
            )
        )


def test_a_negative_time_is_refused() -> None:
    with pytest.raises(HeaderError):
        encode_header(
            Header(
                1,
                b"a" * 32,
                b"k" * 32,
                b"e" * 16,
                0,
                bytes(32),
                -1,
                0,
                bytes(32),
                0,
                bytes(32),
                bytes(32),
                bytes(32),
                1,
            )
        )
