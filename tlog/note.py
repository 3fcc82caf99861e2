"""Signed notes with Ed25519 keys, after C2SP signed-note (https://c2sp.org/signed-note).

A note's text is believed only once a known key's signature over it was verified. Signature lines of unknown keys are
kept and ignored. Base64 must be canonical: a note has one spelling.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tlog.errors import NoteError

ED25519 = 1
"""The signature type of plain Ed25519."""
NOTE_LIMIT = 1 << 20
"""Most bytes of a note that are read."""
SIGNATURES_LIMIT = 128

_DASH = "— "


@dataclass(frozen=True, slots=True)
class Verifier:
    """A known key: its name, its 4-byte id, and the Ed25519 public key."""

    name: str
    key_id: bytes
    public: Ed25519PublicKey = field(repr=False, compare=False)

    @classmethod
    def from_vkey(cls, vkey: str) -> "Verifier":
        """Return the key of a verifier key line, ``name+id+base64``; raises :class:`NoteError`."""
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise NoteError("BAD_VKEY", f"a verifier key is NAME+ID+KEY, not {vkey!r}")
        name, key_id, encoded = parts
        check_name(name)
        key = decode_base64(encoded)
        if len(key) != 33 or key[0] != ED25519:
            raise NoteError("BAD_VKEY", f"the key of {name} is not an Ed25519 key")
        if key_id != note_key_id(name, key).hex():
            raise NoteError("BAD_VKEY", f"the id of {name} is not that of its key")
        return cls(name, bytes.fromhex(key_id), Ed25519PublicKey.from_public_bytes(key[1:]))


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that signs notes under a name."""

    name: str
    private: Ed25519PrivateKey = field(repr=False)

    @property
    def vkey(self) -> str:
        """The verifier key line that others know this key by."""
        key = self._key()
        return f"{self.name}+{note_key_id(self.name, key).hex()}+{encode_base64(key)}"

    def sign(self, text: str) -> "Note":
        """Return a note with this signature alone; raises :class:`NoteError` for text no note can have."""
        check_name(self.name)
        _check_text(text)
        key_id = note_key_id(self.name, self._key())
        return Note(text, (SignatureLine(self.name, key_id, self.private.sign(text.encode())),))

    def _key(self) -> bytes:
        return bytes([ED25519]) + self.private.public_key().public_bytes_raw()


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One signature: the key's name, its 4-byte id, and the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes

    def encode(self) -> str:
        """Return the line, its newline included."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends in a newline, and its signatures. Nothing is verified by its being one of these."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def encode(self) -> bytes:
        """Return the note's bytes."""
        return (self.text + "\n" + "".join(line.encode() for line in self.signatures)).encode()


def parse_note(data: bytes) -> Note:
    """Return the note that bytes spell, not verified.

    Raises :class:`NoteError` when they are no note, too large, or not spelt canonically.
    """
    if len(data) > NOTE_LIMIT:
        raise NoteError("NOTE_TOO_LARGE", f"the note has {len(data)} bytes")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise NoteError("BAD_NOTE", "the note is not UTF-8") from None
    text, separator, signed = whole.rpartition("\n\n")
    if not separator or not signed.endswith("\n"):
        raise NoteError("BAD_NOTE", "the note has no signatures after an empty line")
    text += "\n"
    _check_text(text)
    lines = signed[:-1].split("\n")
    if len(lines) > SIGNATURES_LIMIT:
        raise NoteError("BAD_NOTE", f"the note has {len(lines)} signatures")
    return Note(text, tuple(parse_signature(line) for line in lines))


def verify_note(note: Note, known: Sequence[Verifier]) -> tuple[Verifier, ...]:
    """Return the known keys that signed the note, each once; at least one.

    Raises :class:`NoteError` when none did, when a known key's signature does not verify, or when it signed twice.
    """
    signed: list[Verifier] = []
    for line in note.signatures:
        for verifier in known:
            if (line.name, line.key_id) != (verifier.name, verifier.key_id):
                continue
            if verifier in signed:
                raise NoteError("BAD_SIGNATURE", f"{line.name} signed twice")
            try:
                verifier.public.verify(line.signature, note.text.encode())
            except InvalidSignature:
                raise NoteError(
                    "BAD_SIGNATURE", f"the signature of {line.name} does not verify"
                ) from None
            signed.append(verifier)
    if not signed:
        names = ", ".join(verifier.name for verifier in known)
        raise NoteError("NOT_SIGNED", f"the note is not signed by {names}")
    return tuple(signed)


def note_key_id(name: str, key: bytes) -> bytes:
    """Return a key's 4-byte id; ``key`` begins with its signature type."""
    return hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]


def encode_base64(data: bytes) -> str:
    """Return the standard base64 of RFC 4648, section 4."""
    return base64.b64encode(data).decode()


def decode_base64(text: str) -> bytes:
    """Return the bytes of canonical base64; raises :class:`NoteError` for any other spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("BAD_BASE64", f"not base64: {text!r}") from None
    if encode_base64(data) != text:
        raise NoteError("BAD_BASE64", f"not the canonical base64 of its bytes: {text!r}")
    return data


def parse_signature(line: str) -> SignatureLine:
    """Return the signature that a line of a note spells, not verified; raises :class:`NoteError`."""
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise NoteError("BAD_NOTE", f"not a signature line: {line!r}")
    check_name(name)
    data = decode_base64(encoded)
    if len(data) < 5:
        raise NoteError("BAD_NOTE", f"the signature of {name} is cut short")
    return SignatureLine(name, data[:4], data[4:])


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a key: :class:`NoteError`."""
    if not name or "+" in name or any(c.isspace() or ord(c) < 0x20 for c in name):
        raise NoteError("BAD_NAME", f"not the name of a key: {name!r}")


def _check_text(text: str) -> None:
    if not text.endswith("\n") or any(ord(c) < 0x20 and c != "\n" for c in text):
        raise NoteError("BAD_NOTE", "the text does not end in a newline, or has control characters")
