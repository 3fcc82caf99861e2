"""Enrolment: a request serves one party, one agreement, one token."""

import json
from dataclasses import replace

import pytest

from attestor.errors import IdentityError
from attestor.identity import (
    EnrolmentRequest,
    decode_request,
    encode_request,
    enrolment,
    request_enrolment,
    token_digest,
    verify_request,
)
from statements.signing import SigningKey

AGREEMENT, PARTY, TOKEN = b"a" * 32, b"p" * 32, "one time"
KEY = SigningKey.generate()


@pytest.fixture
def request_() -> EnrolmentRequest:
    return request_enrolment(
        KEY, token=TOKEN, name="node1", agreement=AGREEMENT, party=PARTY, chips=8, chip_model="H100"
    )


def refusal(request: EnrolmentRequest, tokens: set[bytes] | None = None) -> str:
    with pytest.raises(IdentityError) as caught:
        verify_request(
            request,
            agreement=AGREEMENT,
            party=PARTY,
            tokens={token_digest(TOKEN)} if tokens is None else tokens,
        )
    return caught.value.reason


def test_a_request_travels_as_text_and_is_accepted(request_: EnrolmentRequest) -> None:
    found = decode_request(encode_request(request_), "node1.json")
    assert found == request_
    verify_request(found, agreement=AGREEMENT, party=PARTY, tokens={token_digest(f"{TOKEN}\n")})
    said = enrolment(found, site="hall-2", accounted_from_ms=5)
    assert (said.node_key, said.site, said.name, said.chips) == (KEY.spki, "hall-2", "node1", 8)
    assert said.accounted_from == 5


def test_a_request_for_something_else_is_refused(request_: EnrolmentRequest) -> None:
    assert refusal(replace(request_, agreement=b"b" * 32)) == "OTHER_AGREEMENT"
    assert refusal(replace(request_, party=b"q" * 32)) == "OTHER_PARTY"
    assert refusal(request_, set()) == "UNKNOWN_TOKEN"


def test_a_proof_by_another_key_or_over_something_else_is_refused(
    request_: EnrolmentRequest,
) -> None:
    other = SigningKey.generate()
    assert refusal(replace(request_, node_key=other.spki)) == "NOT_POSSESSED"
    assert refusal(replace(request_, possession=bytes(64))) == "NOT_POSSESSED"
    forged = request_enrolment(
        KEY, token=TOKEN, name="n", agreement=b"b" * 32, party=PARTY, chips=8
    )
    assert refusal(replace(forged, agreement=AGREEMENT)) == "NOT_POSSESSED"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chips", "8"),
        ("chips", -1),
        ("chips", 4097),
        ("chips", 8.0),
        ("chips", float("inf")),
        ("chips", True),
        ("name", 7),
        ("chip_model", None),
        ("chip_model", "\udc80"),
        ("name", "\udc80"),
        ("node_key", "no hexadecimal"),
        ("party", ["00"]),
        ("format", "stillwatch.enrolment-request/2"),
    ],
)
def test_a_request_with_a_field_of_another_kind_is_refused(
    request_: EnrolmentRequest, name: str, value: object
) -> None:
    text = json.dumps(json.loads(encode_request(request_)) | {name: value})
    with pytest.raises(IdentityError) as caught:
        decode_request(text, "f.json")
    assert caught.value.reason == "NOT_A_REQUEST"


@pytest.mark.parametrize("change", [{"name": ""}, {"name": "n" * 65}])
def test_a_request_that_the_ledger_would_refuse_is_refused_by_the_party(
    request_: EnrolmentRequest, change: dict[str, str]
) -> None:
    assert refusal(replace(request_, **change)) == "BAD_ENROLMENT"  # type: ignore[arg-type] # texts


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "x"}', '{"format": 5', "[" * 100_000, "null", "5"]
)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(IdentityError) as caught:
        decode_request(text, "f.json")
    assert caught.value.reason == "NOT_A_REQUEST"


def test_names_and_tokens_must_be_there(request_: EnrolmentRequest) -> None:
    for changed in ({"name": ""}, {"name": "n" * 65}, {"token": " "}):
        settings = {"token": TOKEN, "name": "n"} | changed
        with pytest.raises(IdentityError):
            request_enrolment(KEY, agreement=AGREEMENT, party=PARTY, chips=1, **settings)
    with pytest.raises(IdentityError):
        enrolment(request_, site="")
