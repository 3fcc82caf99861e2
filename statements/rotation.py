"""Rotation and revocation: what ends a key's life, in a form that every reader accepts.

A rotation is signed by two keys: the header by the one that may say so, the proof within by the one that comes. The
author stays the digest of its first key, and goes on in a new epoch. Who may say so is :mod:`statements.key_lives`'.
"""

import hashlib

from protos.stillwatch.statement.v1 import identity_pb2
from statements.errors import BodyError
from statements.header import Header
from statements.signing import SigningKey, VerifyingKey, verify_signature

POSSESSION_DOMAIN = b"stillwatch rotation v1\n"
RECOVERY_DOMAIN = b"stillwatch recovery v1\n"
_DIGEST_LENGTH = 32


def rotation_digest(author: bytes, key_id: bytes) -> bytes:
    """Return the digest that a new key signs to take over from an old one; 32 bytes.

    ``author`` is the digest of the author's first key, ``key_id`` that of the key that goes.
    """
    return hashlib.sha256(POSSESSION_DOMAIN + author + key_id).digest()


def recovery_digest(agreement: bytes, author: bytes) -> bytes:
    """Return the digest that a new key signs to take over where the author's key is lost; 32 bytes.

    ``agreement`` is the digest of the agreement's bytes. Which key goes is not named: a thief may rotate it meanwhile.
    """
    return hashlib.sha256(RECOVERY_DOMAIN + agreement + author).digest()


def rotation(new: SigningKey, author: bytes, key_id: bytes) -> identity_pb2.Rotation:
    """Return what the key of digest ``key_id`` says so that its author goes on under ``new``."""
    return identity_pb2.Rotation(
        new_key=new.spki, possession=new.sign(rotation_digest(author, key_id))
    )


def recovery(
    new: SigningKey, author: bytes, agreement: bytes, reason: str | None = None
) -> identity_pb2.Rotation:
    """Return what somebody else says so that an author whose key is lost or stolen goes on under ``new``."""
    return identity_pb2.Rotation(
        new_key=new.spki,
        possession=new.sign(recovery_digest(agreement, author)),
        author=author,
        reason=reason,
    )


def replaced_author(message: identity_pb2.Rotation, header: Header) -> bytes:
    """Return whose key a rotation replaces."""
    return message.author if message.HasField("author") else header.author


def verify_rotation(
    message: identity_pb2.Rotation, header: Header, agreement: bytes
) -> VerifyingKey:
    """Return the new key, once it has proved that its holder takes over that author.

    ``header`` is that of the statement which says so, ``agreement`` the digest of the agreement's bytes. Whether its
    author may say so is the caller's to check. Raises :class:`BodyError` when the author named is none, and
    :class:`SignatureError` when the bytes are no key, or the proof is not by it.
    """
    if message.HasField("author"):
        return verify_recovery(message, agreement)
    return _verify_possession(message, rotation_digest(header.author, header.key_id))


def verify_recovery(message: identity_pb2.Rotation, agreement: bytes) -> VerifyingKey:
    """Return the new key of an author whose key is lost; as :func:`verify_rotation`, whoever says so."""
    if len(message.author) != _DIGEST_LENGTH:
        raise BodyError("MALFORMED_BODY", "a rotation names its author by 32 bytes")
    return _verify_possession(message, recovery_digest(agreement, message.author))


def _verify_possession(message: identity_pb2.Rotation, digest: bytes) -> VerifyingKey:
    key = VerifyingKey.from_spki(message.new_key)
    verify_signature(key, digest, message.possession)
    return key


def verify_revocation(message: identity_pb2.Revocation) -> None:
    """Refuse a revocation that can name no key; raises :class:`BodyError`."""
    if len(message.key_id) != _DIGEST_LENGTH:
        raise BodyError("MALFORMED_BODY", "a revocation names its key by 32 bytes")
