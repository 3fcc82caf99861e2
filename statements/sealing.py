"""Sealing: a body that only the readers of a disclosure class can open.

A body is encrypted under a key of its own, which HKDF derives from the author's content key of that day and from the
body's *place*: author, epoch, sequence, and the digest of the plaintext. So no nonce is ever used twice, without any
counter to keep: a key meets a second message only where place and plaintext are the same, and then so is every byte of
the result. A snapshot that was restored and says something else at the same place says it under another key. The place
is the associated data too, and whoever opens checks the plaintext against ``body_digest``: AES-GCM alone would let one
ciphertext open under two keys.

The content key itself is sealed by HPKE (RFC 9180, base mode) to each reader, bound to author, day, class and to a
public commitment. The commitment makes a false seal provable: whoever is handed the content key can check that it is
the one that was logged, and that a body does not open under it.

Nothing here reads a clock; the only randomness is what HPKE draws for its ephemeral keys.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from statements.body import BODY_LIMIT, body_digest
from statements.errors import SealError

DAY_MS: Final = 86_400_000
CONTENT_KEY_LENGTH: Final = 32
COMMITMENT_LENGTH: Final = 32
OVERHEAD: Final = 16
"""Bytes by which a sealed body is longer than the body."""

_BODY_DOMAIN: Final = b"stillwatch sealed body v1\n"
_KEY_DOMAIN: Final = b"stillwatch content key v1\n"
_COMMITMENT_DOMAIN: Final = b"stillwatch content key commitment v1\n"
_DERIVATION_DOMAIN: Final = b"stillwatch content key derivation v1\n"
_NONCE: Final = bytes(12)
"""One nonce for all: each key seals one message."""
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a body stands: author (32 bytes), epoch (16), sequence, and the digest of the plaintext body (32)."""

    author: bytes
    epoch: bytes
    sequence: int
    body_digest: bytes

    def bound(self) -> bytes:
        """Return the bytes that bind a ciphertext to this place: each part has one length."""
        return (
            _BODY_DOMAIN
            + self.author
            + self.epoch
            + self.sequence.to_bytes(8, "big")
            + self.body_digest
        )


@dataclass(frozen=True, slots=True)
class ReaderKey:
    """The public key of a reader, X25519: ``raw`` are its 32 bytes, ``key_id`` the SHA-256 of its SPKI DER."""

    raw: bytes
    key_id: bytes

    @classmethod
    def from_raw(cls, raw: bytes) -> "ReaderKey":
        """Return the key of 32 bytes.

        Raises :class:`SealError` when they are none, or one of the few with which everybody shares one secret.
        """
        try:
            public = X25519PublicKey.from_public_bytes(raw)
            X25519PrivateKey.from_private_bytes(b"\x01" * 32).exchange(public)
        except ValueError:
            raise SealError("NOT_A_READER_KEY", "the bytes are no usable X25519 key") from None
        return cls(raw, _spki_digest(public))


@dataclass(frozen=True, slots=True)
class ReadingKey:
    """The private key of a reader."""

    private: X25519PrivateKey

    @classmethod
    def generate(cls) -> "ReadingKey":
        """Return a key from the operating system's randomness."""
        return cls(X25519PrivateKey.generate())

    @property
    def public(self) -> ReaderKey:
        """The key that agreements name."""
        return ReaderKey.from_raw(self.private.public_key().public_bytes_raw())


@dataclass(frozen=True, slots=True)
class ContentKey:
    """An author's content key: whose, for which day (since 1970-01-01), for which disclosure class, and 32 bytes."""

    author: bytes
    day: int
    disclosure: int
    key: bytes

    @property
    def commitment(self) -> bytes:
        """What is said of the key in public; 32 bytes. The key is random, so that this does not show it."""
        named = _named(_COMMITMENT_DOMAIN, self.author, self.day, self.disclosure)
        return hashlib.sha256(named + self.key).digest()


def day_of(start_ms: int) -> int:
    """Return the day whose content key seals a body: that on which the body's period starts."""
    return start_ms // DAY_MS


def derive_content_key(secret: bytes, author: bytes, day: int, disclosure: int) -> ContentKey:
    """Return the content key that an author with a secret of 32 bytes has for a day and class.

    Derived rather than drawn, so that an author that starts again can open what its spool still holds.
    """
    info = _named(_DERIVATION_DOMAIN, author, day, disclosure)
    return ContentKey(author, day, disclosure, _hkdf(secret, info))


def seal_body(body: bytes, place: Place, content_key: ContentKey) -> bytes:
    """Return a body's ciphertext; the same for the same body, place and key.

    Raises :class:`SealError` when it would exceed 1 MiB, or the place is not that of the body.
    """
    _verify_place(body, place)
    if len(body) + OVERHEAD > BODY_LIMIT:
        raise SealError(
            "BODY_TOO_LARGE", f"sealed, the body has {len(body) + OVERHEAD} bytes: too many"
        )
    return AESGCM(_hkdf(content_key.key, place.bound())).encrypt(_NONCE, body, place.bound())


def open_body(sealed: bytes, place: Place, content_key: ContentKey) -> bytes:
    """Return the body whose ciphertext stands at ``place``.

    Raises :class:`SealError` when it does not open, or opens to another body than the header names.
    """
    try:
        body = AESGCM(_hkdf(content_key.key, place.bound())).decrypt(_NONCE, sealed, place.bound())
    except (InvalidTag, ValueError):
        raise SealError(
            "DOES_NOT_OPEN", "the stored bytes do not open under the content key that was logged"
        ) from None
    _verify_place(body, place)
    return body


def seal_content_key(content_key: ContentKey, reader: ReaderKey) -> bytes:
    """Return a content key, sealed to a reader: HPKE's encapsulated key followed by the ciphertext."""
    public = X25519PublicKey.from_public_bytes(reader.raw)
    return _SUITE.encrypt(content_key.key, public, info=_info(content_key, content_key.commitment))


def open_content_key(
    sealed: bytes, key: ReadingKey, *, author: bytes, day: int, disclosure: int, commitment: bytes
) -> ContentKey:
    """Return the content key that was sealed to ``key`` for that author, day and class.

    Raises :class:`SealError` when it does not open, or is not the one that was committed to.
    """
    blank = ContentKey(author, day, disclosure, b"")
    try:
        raw = _SUITE.decrypt(sealed, key.private, info=_info(blank, commitment))
    except (InvalidTag, ValueError):
        raise SealError(
            "KEY_DOES_NOT_OPEN", "the content key does not open with the reader's key"
        ) from None
    found = ContentKey(author, day, disclosure, raw)
    if len(raw) != CONTENT_KEY_LENGTH or found.commitment != commitment:
        raise SealError("OTHER_CONTENT_KEY", "the content key is not the one committed to")
    return found


def _verify_place(body: bytes, place: Place) -> None:
    if body_digest(body) != place.body_digest:
        raise SealError("OTHER_BODY", "the body does not have the body_digest of its header")


def _info(content_key: ContentKey, commitment: bytes) -> bytes:
    named = _named(_KEY_DOMAIN, content_key.author, content_key.day, content_key.disclosure)
    return named + commitment


def _named(domain: bytes, author: bytes, day: int, disclosure: int) -> bytes:
    return domain + author + day.to_bytes(4, "big") + disclosure.to_bytes(4, "big")


def _hkdf(secret: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), CONTENT_KEY_LENGTH, None, info).derive(secret)


def _spki_digest(public: X25519PublicKey) -> bytes:
    spki = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()
