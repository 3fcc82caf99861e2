"""Enrolment: what makes a party's statement about a node one that every reader accepts."""

import hashlib

from protos.stillwatch.statement.v1 import identity_pb2
from statements.errors import BodyError
from statements.signing import Verify, VerifyingKey, verify_signature

POSSESSION_DOMAIN = b"stillwatch enrolment v1\n"
MOST_CHIPS = 4096
"""Chips that one node may hold."""

_DIGEST_LENGTH = 32
_NAME_LENGTHS = range(1, 65)


def possession_digest(agreement: bytes, party: bytes, token_digest: bytes) -> bytes:
    """Return the digest that a node's key signs to prove that its holder asked for this enrolment; 32 bytes.

    The three arguments are 32-byte digests: of the agreement's bytes, of the party's first key, of the one-time token.
    """
    return hashlib.sha256(POSSESSION_DOMAIN + agreement + party + token_digest).digest()


def verify_enrolment(
    enrolment: identity_pb2.Enrolment,
    party: bytes,
    agreement: bytes,
    verify: Verify = verify_signature,
) -> VerifyingKey:
    """Return the node's key, once the enrolment is for that party and agreement and proves possession.

    ``party`` is the author digest of who says it, ``agreement`` the digest of the agreement's bytes; whether that
    author is a party is the caller's to check. ``verify`` does as :func:`verify_signature`. Raises :class:`BodyError`
    for a field that breaks its rule and :class:`SignatureError` when the key is none, or the proof is not by it.
    """
    if enrolment.agreement != agreement:
        raise BodyError("BAD_ENROLMENT", "the enrolment is under an agreement of another digest")
    if len(enrolment.token_digest) != _DIGEST_LENGTH:
        raise BodyError("BAD_ENROLMENT", "the token digest must have 32 bytes")
    if len(enrolment.name) not in _NAME_LENGTHS or len(enrolment.site) not in _NAME_LENGTHS:
        raise BodyError("BAD_ENROLMENT", "the names of node and site must have 1 to 64 characters")
    if enrolment.chips > MOST_CHIPS:
        raise BodyError("BAD_ENROLMENT", f"a node holds at most {MOST_CHIPS} chips")
    key = VerifyingKey.from_spki(enrolment.node_key)
    verify(
        key,
        possession_digest(agreement, party, enrolment.token_digest),
        enrolment.possession,
    )
    return key
