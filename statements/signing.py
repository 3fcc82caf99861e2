"""Signatures: ECDSA P-256 over the DSSE pre-authentication encoding of a header.

A signature is 64 bytes, r and s big-endian, with s in the lower half of the group order: an s in the upper half would
verify as well, so that anybody could make a second signature from a first, and is refused. What is signed is hashed
once: that SHA-256 is the statement's id.

Source: the in-toto DSSE protocol, https://github.com/secure-systems-lab/dsse/blob/master/protocol.md; FIPS 186-5.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from statements.errors import SignatureError
from statements.header import HEADER_LENGTH
from statements.verification import registry

HEADER_TYPE = "application/vnd.stillwatch.header.v1+protobuf"
SIGNATURE_LENGTH = 64
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of the P-256 group."""

DIGEST_LENGTH = 32

_ZERO = bytes(32)
_ORDER = ORDER.to_bytes(32, "big")
_HALF = (ORDER // 2).to_bytes(32, "big")
_PREFIX = f"DSSEv1 {len(HEADER_TYPE)} {HEADER_TYPE} {HEADER_LENGTH} ".encode()
_ECDSA = ec.ECDSA(Prehashed(hashes.SHA256()))


def pae(header: bytes) -> bytes:
    """Return the pre-authentication encoding of a header's bytes."""
    return _PREFIX + header


def statement_id(header: bytes) -> bytes:
    """Return the SHA-256 of what is signed: the statement's id, 32 bytes."""
    return hashlib.sha256(_PREFIX + header).digest()


def key_digest(spki: bytes) -> bytes:
    """Return the SHA-256 of a public key's SPKI DER, which names the key; 32 bytes."""
    return hashlib.sha256(spki).digest()


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A P-256 public key; ``point`` is its x and y, 32 bytes each, little-endian."""

    spki: bytes
    key_id: bytes
    public: ec.EllipticCurvePublicKey = field(repr=False, compare=False)
    point: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        point = self.spki[-64:-32][::-1] + self.spki[-32:][::-1]
        object.__setattr__(self, "point", point)

    @classmethod
    def from_spki(cls, spki: bytes) -> "VerifyingKey":
        """Return the key that a SPKI DER holds.

        Raises :class:`SignatureError` when it holds none, or one of another curve, or is not the one encoding of
        its key (else a key could have two names).
        """
        try:
            public = serialization.load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm):
            raise SignatureError("BAD_KEY", "the bytes are not a SPKI DER public key") from None
        if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
            raise SignatureError("BAD_KEY", "the key is not an ECDSA P-256 key")
        if _spki(public) != spki:
            raise SignatureError("BAD_KEY", "the key is not in its canonical encoding")
        return cls(spki, key_digest(spki), public)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A P-256 private key, and the public half that others know it by."""

    private: ec.EllipticCurvePrivateKey = field(repr=False)
    spki: bytes
    key_id: bytes

    @classmethod
    def generate(cls) -> "SigningKey":
        """Draw a new key from the operating system's randomness."""
        return cls.from_private(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_private(cls, private: ec.EllipticCurvePrivateKey) -> "SigningKey":
        """Wrap a private key; raises :class:`SignatureError` for another curve."""
        if private.curve.name != "secp256r1":
            raise SignatureError("BAD_KEY", "the key is not an ECDSA P-256 key")
        spki = _spki(private.public_key())
        return cls(private, spki, key_digest(spki))

    def sign(self, digest: bytes) -> bytes:
        """Sign a 32-byte digest, such as a statement's id; 64 bytes with a low s."""
        r, s = decode_dss_signature(self.private.sign(digest, _ECDSA))
        return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")

    def verifying_key(self) -> VerifyingKey:
        """Return the public half."""
        return VerifyingKey(self.spki, self.key_id, self.private.public_key())


def verify_signature(key: VerifyingKey, digest: bytes, signature: bytes) -> None:
    """Refuse a signature that is malformed, malleable, or not of that digest by that key.

    Raises :class:`SignatureError` with the reason ``MALFORMED_SIGNATURE``, ``HIGH_S`` or ``BAD_SIGNATURE``.
    """
    if len(signature) != SIGNATURE_LENGTH:
        raise SignatureError(
            "MALFORMED_SIGNATURE", f"a signature has 64 bytes, this has {len(signature)}"
        )
    r, s = signature[:32], signature[32:]
    if not (_ZERO < r < _ORDER and _ZERO < s < _ORDER):
        raise SignatureError("MALFORMED_SIGNATURE", "r or s is outside the group order")
    if s > _HALF:
        raise SignatureError("HIGH_S", "s is in the upper half: use the order minus s")
    encoded = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    try:
        key.public.verify(encoded, digest, _ECDSA)
    except InvalidSignature:
        raise SignatureError("BAD_SIGNATURE", "the signature is not by the key named") from None


Verify = Callable[[VerifyingKey, bytes, bytes], None]
"""Refuses a signature as :func:`verify_signature` does, which it may have asked before."""


def verify_batch(
    keys: Sequence[VerifyingKey], digests: Sequence[bytes], signatures: Sequence[bytes]
) -> dict[int, SignatureError]:
    """Return why each position fails; an empty answer means that every signature verifies.

    The three sequences have one length. A backend (:mod:`statements.verification`) may vouch for some of the
    signatures; the others are verified one by one. Libraries run without the interpreter's lock, so that threads verify
    parts of a large batch at once.
    """
    if not len(keys) == len(digests) == len(signatures):
        raise ValueError("each signature has one key and one digest")
    # 1. Only what has the form of a signature goes to the backend.
    sound = [at for at, one in enumerate(signatures) if _is_sound(one, digests[at])]
    # 2. What it vouches for verifies.
    vouched = registry.chosen().backend.vouch(
        [keys[at].point for at in sound],
        [digests[at] for at in sound],
        [signatures[at] for at in sound],
    )
    # 3. Whatever else there is gets its answer, and its reason, from the implementation that is always there.
    failures: dict[int, SignatureError] = {}
    for at in sorted({*range(len(signatures))}.difference([sound[place] for place in vouched])):
        try:
            verify_signature(keys[at], digests[at], signatures[at])
        except SignatureError as error:
            failures[at] = error
    return failures


def _is_sound(signature: bytes, digest: bytes) -> bool:
    """Return whether a signature has the form that :func:`verify_signature` asks for."""
    return (
        len(signature) == SIGNATURE_LENGTH
        and len(digest) == DIGEST_LENGTH
        and _ZERO < signature[:32] < _ORDER
        and _ZERO < signature[32:] <= _HALF
    )


def _spki(public: ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
