"""Cosignatures: a witness's word that a checkpoint extends all it saw of the log, after C2SP tlog-cosignature.

Two algorithms: Ed25519 over the note's text and a timestamp, ML-DSA-44 over the tree that the note names, the
cosigner's name and a timestamp. https://c2sp.org/tlog-cosignature
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from tlog.checkpoint import parse_checkpoint
from tlog.errors import NoteError
from tlog.note import Note, SignatureLine, check_name, decode_base64, encode_base64, note_key_id

LATEST = 2**63 - 1
"""The latest time that a cosignature may name, Unix seconds."""
_TIME = struct.Struct(">Q")
_LABEL = b"subtree/v1\n\0"


class Algorithm(IntEnum):
    """How a cosigner signs; the value is its signature type."""

    ED25519 = 0x04
    ML_DSA_44 = 0x06


_KEY_LENGTHS = {Algorithm.ED25519: 32, Algorithm.ML_DSA_44: 1312}
_SIGNATURE_LENGTHS = {Algorithm.ED25519: 64, Algorithm.ML_DSA_44: 2420}


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A known witness key: its name, algorithm, 4-byte id, and the public key."""

    name: str
    algorithm: Algorithm
    key_id: bytes
    public: Ed25519PublicKey | MLDSA44PublicKey = field(repr=False, compare=False)
    raw: bytes = field(repr=False)

    @classmethod
    def from_vkey(cls, vkey: str) -> "Cosigner":
        """Return the key of a verifier key line, ``name+id+base64``; raises :class:`NoteError`."""
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise NoteError("BAD_VKEY", f"a verifier key is NAME+ID+KEY, not {vkey[:80]!r}")
        name, key_id, encoded = parts
        check_name(name)
        key = decode_base64(encoded)
        try:
            algorithm = Algorithm(key[0]) if key else None
        except ValueError:
            algorithm = None
        if algorithm is None or len(key) != 1 + _KEY_LENGTHS[algorithm]:
            raise NoteError("BAD_VKEY", f"the key of {name} is not one that cosigns")
        if key_id != note_key_id(name, key).hex():
            raise NoteError("BAD_VKEY", f"the id of {name} is not that of its key")
        public: Ed25519PublicKey | MLDSA44PublicKey
        if algorithm is Algorithm.ED25519:
            public = Ed25519PublicKey.from_public_bytes(key[1:])
        else:
            public = MLDSA44PublicKey.from_public_bytes(key[1:])
        return cls(name, algorithm, bytes.fromhex(key_id), public, key[1:])


@dataclass(frozen=True, slots=True)
class CosigningKey:
    """A witness's private key, and the name that it cosigns under."""

    name: str
    private: Ed25519PrivateKey | MLDSA44PrivateKey = field(repr=False)

    @property
    def algorithm(self) -> Algorithm:
        """How it signs."""
        ed25519 = isinstance(self.private, Ed25519PrivateKey)
        return Algorithm.ED25519 if ed25519 else Algorithm.ML_DSA_44

    @property
    def vkey(self) -> str:
        """The verifier key line that others know this key by."""
        key = self._key()
        return f"{self.name}+{note_key_id(self.name, key).hex()}+{encode_base64(key)}"

    def cosign(self, text: str, time_s: int) -> SignatureLine:
        """Return the cosignature over a checkpoint's text at a time, Unix seconds."""
        if not 0 < time_s <= LATEST:
            raise NoteError("BAD_TIME", f"no time of a cosignature: {time_s}")
        signature = self.private.sign(_message(self.algorithm, self.name, text, time_s))
        key_id = note_key_id(self.name, self._key())
        return SignatureLine(self.name, key_id, _TIME.pack(time_s) + signature)

    def _key(self) -> bytes:
        return bytes([self.algorithm]) + self.private.public_key().public_bytes_raw()


def verify_cosignature(line: SignatureLine, text: str, cosigner: Cosigner) -> int:
    """Return the time, Unix seconds, at which a witness cosigned a checkpoint's text.

    Raises :class:`NoteError` when the line is not that witness's, or its signature does not verify.
    """
    if (line.name, line.key_id) != (cosigner.name, cosigner.key_id):
        raise NoteError("OTHER_KEY", f"the cosignature is of {line.name}, not of {cosigner.name}")
    if len(line.signature) != _TIME.size + _SIGNATURE_LENGTHS[cosigner.algorithm]:
        raise NoteError("BAD_SIGNATURE", f"the cosignature of {line.name} has another length")
    (time_s,) = _TIME.unpack_from(line.signature)
    if not 0 < time_s <= LATEST:
        raise NoteError("BAD_SIGNATURE", f"the cosignature of {line.name} names no time")
    message = _message(cosigner.algorithm, cosigner.name, text, time_s)
    try:
        cosigner.public.verify(line.signature[_TIME.size :], message)
    except InvalidSignature:
        raise NoteError(
            "BAD_SIGNATURE", f"the cosignature of {line.name} does not verify"
        ) from None
    return int(time_s)


def verify_cosignatures(note: Note, known: Sequence[Cosigner]) -> dict[Cosigner, int]:
    """Return the known witnesses that cosigned a note, with the time of each, Unix seconds; there may be none.

    Lines of unknown keys are ignored. Raises :class:`NoteError` when a known witness's cosignature does not verify, or
    when it cosigned twice.
    """
    by_key = {(one.name, one.key_id): one for one in known}
    found: dict[Cosigner, int] = {}
    for line in note.signatures:
        cosigner = by_key.get((line.name, line.key_id))
        if cosigner is None:
            continue
        if cosigner in found:
            raise NoteError("BAD_SIGNATURE", f"{line.name} cosigned twice")
        found[cosigner] = verify_cosignature(line, note.text, cosigner)
    return found


def _message(algorithm: Algorithm, name: str, text: str, time_s: int) -> bytes:
    """Return what is signed."""
    if algorithm is Algorithm.ED25519:
        return f"cosignature/v1\ntime {time_s}\n{text}".encode()
    tree = parse_checkpoint(Note(text, ()))
    return b"".join(
        (
            _LABEL,
            _short(name),
            _TIME.pack(time_s),
            _short(tree.origin),
            _TIME.pack(0),
            _TIME.pack(tree.size),
            tree.root,
        )
    )


def _short(text: str) -> bytes:
    data = text.encode()
    if not 1 <= len(data) <= 255:
        raise NoteError("BAD_NAME", f"a name of 1 to 255 bytes is signed, not {len(data)}")
    return bytes([len(data)]) + data
