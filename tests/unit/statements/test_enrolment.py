from dataclasses import dataclass, field

import pytest

from protos.stillwatch.statement.v1 import identity_pb2
from statements.enrolment import MOST_CHIPS, possession_digest, verify_enrolment
from statements.errors import BodyError, SignatureError
from statements.signing import SigningKey

AGREEMENT, PARTY, TOKEN = b"a" * 32, b"p" * 32, b"t" * 32
KEY = SigningKey.generate()


@dataclass
class Made:
    enrolment: identity_pb2.Enrolment = field(
        default_factory=lambda: identity_pb2.Enrolment(
            node_key=KEY.spki,
            site="hall-2",
            name="node1",
            token_digest=TOKEN,
            possession=KEY.sign(possession_digest(AGREEMENT, PARTY, TOKEN)),
            agreement=AGREEMENT,
            chips=8,
        )
    )


def test_a_node_that_asked_is_enrolled_under_its_key() -> None:
    assert verify_enrolment(Made().enrolment, PARTY, AGREEMENT).key_id == KEY.key_id


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("agreement", b"b" * 32),
        ("agreement", b""),
        ("token_digest", b"t" * 31),
        ("site", ""),
        ("site", "s" * 65),
        ("name", ""),
        ("name", "n" * 65),
        ("chips", MOST_CHIPS + 1),
    ],
)
def test_a_field_that_breaks_its_rule_is_refused(name: str, value: object) -> None:
    enrolment = Made().enrolment
    setattr(enrolment, name, value)
    with pytest.raises(BodyError) as caught:
        verify_enrolment(enrolment, PARTY, AGREEMENT)
    assert caught.value.reason == "BAD_ENROLMENT"


def test_a_proof_for_another_party_token_or_key_is_refused() -> None:
    with pytest.raises(SignatureError):
        verify_enrolment(Made().enrolment, b"q" * 32, AGREEMENT)
    for name, value in (
        ("token_digest", b"u" * 32),
        ("node_key", SigningKey.generate().spki),
        ("node_key", b"no key"),
        ("possession", b""),
    ):
        enrolment = Made().enrolment
        setattr(enrolment, name, value)
        with pytest.raises(SignatureError):
            verify_enrolment(enrolment, PARTY, AGREEMENT)
