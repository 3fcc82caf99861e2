"""What two keys sign so that an author goes on under the second."""

import pytest

from protos.stillwatch.statement.v1 import identity_pb2
from statements.errors import BodyError, SignatureError, StatementError
from statements.header import Header
from statements.rotation import (
    recovery,
    replaced_author,
    rotation,
    verify_revocation,
    verify_rotation,
)
from statements.signing import SigningKey

AGREEMENT, AUTHOR, OLD = b"g" * 32, b"a" * 32, b"k" * 32
HEADER = Header(
    kind=7,
    author=AUTHOR,
    key_id=OLD,
    epoch=bytes(16),
    sequence=1,
    previous=bytes(32),
    start_ms=0,
    end_ms=0,
    seen_log=bytes(32),
    seen_size=0,
    seen_root=bytes(32),
    body_digest=bytes(32),
    stored_digest=bytes(32),
    disclosure=1,
)
SAVIOUR = HEADER._replace(author=b"r" * 32, key_id=b"r" * 32)


@pytest.fixture(scope="module")
def new() -> SigningKey:
    return SigningKey.generate()


def test_a_rotation_says_whose_key_it_replaces(new: SigningKey) -> None:
    own, others = rotation(new, AUTHOR, OLD), recovery(new, AUTHOR, AGREEMENT, "lost")
    assert verify_rotation(own, HEADER, AGREEMENT) == new.verifying_key()
    assert verify_rotation(others, SAVIOUR, AGREEMENT) == new.verifying_key()
    assert replaced_author(own, HEADER) == replaced_author(others, SAVIOUR) == AUTHOR


@pytest.mark.parametrize(
    "header", [HEADER._replace(author=b"b" * 32), HEADER._replace(key_id=b"l" * 32)]
)
def test_what_a_new_key_agreed_to_serves_no_other_author_and_no_other_key(
    new: SigningKey, header: Header
) -> None:
    with pytest.raises(SignatureError):
        verify_rotation(rotation(new, AUTHOR, OLD), header, AGREEMENT)


def test_a_recovery_serves_whoever_may_say_so_for_that_author_under_that_agreement_alone(
    new: SigningKey,
) -> None:
    """Which key goes is not named: a thief may have rotated it meanwhile."""
    agreed = recovery(new, AUTHOR, AGREEMENT)
    judge = SAVIOUR._replace(author=b"j" * 32, key_id=b"j" * 32)
    assert verify_rotation(agreed, judge, AGREEMENT) == new.verifying_key()
    with pytest.raises(SignatureError):
        verify_rotation(agreed, SAVIOUR, b"h" * 32)
    agreed.author = b"b" * 32
    with pytest.raises(SignatureError):
        verify_rotation(agreed, SAVIOUR, AGREEMENT)


def test_neither_proof_serves_as_the_other(new: SigningKey) -> None:
    own, others = rotation(new, AUTHOR, OLD), recovery(new, AUTHOR, AGREEMENT)
    own.author = AUTHOR
    others.ClearField("author")
    for message in (own, others):
        with pytest.raises(SignatureError):
            verify_rotation(message, HEADER, AGREEMENT)


@pytest.mark.parametrize(
    "message",
    [
        identity_pb2.Rotation(new_key=b"no key", author=AUTHOR),
        identity_pb2.Rotation(new_key=b"no key"),
        identity_pb2.Rotation(author=b""),
        identity_pb2.Rotation(author=b"a" * 31),
    ],
)
def test_a_rotation_to_no_key_or_of_no_author_is_refused(message: identity_pb2.Rotation) -> None:
    with pytest.raises(StatementError):
        verify_rotation(message, SAVIOUR, AGREEMENT)


def test_a_revocation_names_a_key() -> None:
    verify_revocation(identity_pb2.Revocation(key_id=bytes(32)))
    with pytest.raises(BodyError):
        verify_revocation(identity_pb2.Revocation(key_id=bytes(31)))
