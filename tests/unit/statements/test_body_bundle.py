import pytest
from hypothesis import given
from hypothesis import strategies as st

from statements.body import BODY_LIMIT
from statements.body_bundle import decode_body_bundle, encode_body_bundle
from statements.errors import BodyError

bodies = st.lists(st.none() | st.binary(max_size=300), max_size=40)


@given(bodies)
def test_a_bundle_reads_back_with_what_is_not_held_marked(stored: list[bytes | None]) -> None:
    assert decode_body_bundle(encode_body_bundle(stored), len(stored)) == stored


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=9), st.data())
def test_a_bundle_cut_short_is_refused(stored: list[bytes], data: st.DataObject) -> None:
    whole = encode_body_bundle(stored)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BodyError) as caught:
        decode_body_bundle(whole[:cut], len(stored))
    assert caught.value.reason in {"BUNDLE_CUT", "BUNDLE_WIDTH"}


@given(st.binary(max_size=200), st.integers(0, 20))
def test_random_bytes_are_a_bundle_or_refused(data: bytes, width: int) -> None:
    try:
        found = decode_body_bundle(data, width)
    except BodyError:
        return
    assert encode_body_bundle(found) == data


def test_a_body_over_one_mebibyte_and_another_width_are_refused() -> None:
    with pytest.raises(BodyError) as caught:
        decode_body_bundle(encode_body_bundle([bytes(BODY_LIMIT + 1)]), 1)
    assert caught.value.reason == "BUNDLE_CUT"
    with pytest.raises(BodyError) as caught:
        decode_body_bundle(encode_body_bundle([b"", None]), 3)
    assert caught.value.reason == "BUNDLE_WIDTH"
