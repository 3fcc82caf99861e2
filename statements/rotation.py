"""Rotation and revocation: what ends a key's life, in a form that every reader accepts.

A rotation is signed by both keys: the header by the one that goes, the proof within by the one that comes. The author
stays the digest of its first key, and goes on in a new epoch.
"""

import hashlib

from protos.stillwatch.statement.v1 import identity_pb2
from statements.errors import BodyError
from statements.signing import SigningKey, VerifyingKey, verify_signature

POSSESSION_DOMAIN = b"stillwatch rotation v1\n"
_DIGEST_LENGTH = 32


def rotation_digest(author: bytes, key_id: bytes) -> bytes:
    """Return the digest that a new key signs to take over from an old one; 32 bytes.

    ``author`` is the digest of the author's first key, ``key_id`` that of the key that goes.
    """
    return hashlib.sha256(POSSESSION_DOMAIN + author + key_id).digest()


def rotation(new: SigningKey, author: bytes, key_id: bytes) -> identity_pb2.Rotation:
    """Return what the key of digest ``key_id`` says so that its author goes on under ``new``."""
    return identity_pb2.Rotation(
        new_key=new.spki, possession=new.sign(rotation_digest(author, key_id))
    )


def verify_rotation(message: identity_pb2.Rotation, author: bytes, key_id: bytes) -> VerifyingKey:
    """Return the new key, once it has proved that its holder takes over that author from that key.

    Raises :class:`SignatureError` when the bytes are no key, or the proof is not by it.
    """
    key = VerifyingKey.from_spki(message.new_key)
    verify_signature(key, rotation_digest(author, key_id), message.possession)
    return key


def verify_revocation(message: identity_pb2.Revocation) -> None:
    """Refuse a revocation that can name no key; raises :class:`BodyError`."""
    if len(message.key_id) != _DIGEST_LENGTH:
        raise BodyError("MALFORMED_BODY", "a revocation names its key by 32 bytes")
