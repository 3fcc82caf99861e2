"""The body of a statement: a salt and the content, found by digest."""

import hashlib

from google.protobuf.message import DecodeError

from protos.stillwatch.statement.v1 import header_pb2
from statements.errors import BodyError

SALT_LENGTH = 16
BODY_LIMIT = 1 << 20
"""Most bytes of a stored body."""


def encode_body(content: bytes, salt: bytes) -> bytes:
    """Return a body's bytes; ``salt`` is 16 bytes of the operating system's randomness.

    Raises :class:`BodyError` when the salt has another length or the body would exceed 1 MiB.
    """
    if len(salt) != SALT_LENGTH:
        raise BodyError("MALFORMED_BODY", f"a salt has {SALT_LENGTH} bytes, this has {len(salt)}")
    body = header_pb2.Body(salt=salt, content=content).SerializeToString()
    if len(body) > BODY_LIMIT:
        raise BodyError(
            "BODY_TOO_LARGE", f"the body has {len(body)} bytes; at most {BODY_LIMIT} are allowed"
        )
    return body


def body_digest(body: bytes) -> bytes:
    """Return the SHA-256 by which a header names a body; 32 bytes."""
    return hashlib.sha256(body).digest()


def verify_stored(stored: bytes, stored_digest: bytes) -> None:
    """Refuse stored bytes that are too large or not those that a header names: :class:`BodyError`."""
    verify_hashed(len(stored), body_digest(stored), stored_digest)


def verify_hashed(size: int, digest: bytes, stored_digest: bytes) -> None:
    """Refuse, as :func:`verify_stored` does, stored bytes of that size and SHA-256, which somebody else has."""
    if size > BODY_LIMIT:
        raise BodyError(
            "BODY_TOO_LARGE", f"the body has {size} bytes; at most {BODY_LIMIT} are allowed"
        )
    if digest != stored_digest:
        raise BodyError("BODY_MISMATCH", "the stored bytes do not have the digest in the header")


def decode_body(body: bytes) -> bytes:
    """Return the content of a plaintext body whose digest was verified.

    Raises :class:`BodyError` when the bytes are no body, or the salt is not 16 bytes.
    """
    try:
        message = header_pb2.Body.FromString(body)
    except DecodeError:
        raise BodyError("MALFORMED_BODY", "the bytes do not parse as a body") from None
    if len(message.salt) != SALT_LENGTH:
        raise BodyError("MALFORMED_BODY", f"a salt has {SALT_LENGTH} bytes")
    return message.content
