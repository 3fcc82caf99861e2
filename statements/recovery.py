"""A new key for whoever lost theirs: drawn by its owner, and given by somebody who may.

The owner draws the key and makes a *request*, which proves that it holds it, for this author and agreement alone. The
holder of the recovery key, the node's party or a member of the panel logs it. Neither hands a private key to the other.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protos.stillwatch.statement.v1 import identity_pb2
from statements.errors import KeyFileError, KeyLifeError, StatementError
from statements.keys import (
    read_author,
    read_signing_key,
    sync_folder,
    write_author,
    write_signing_key,
)
from statements.pins import Pins, Role
from statements.rotation import recovery, verify_recovery
from statements.signing import SigningKey, VerifyingKey

FORMAT: Final = "stillwatch.recovery-request/1"
_BINARY: Final = ("agreement", "author", "new_key", "possession")


@dataclass(frozen=True, slots=True)
class RecoveryRequest:
    """What the holder of a new key asks for: digests of agreement and author, the key (SPKI DER), 64 bytes of proof."""

    agreement: bytes
    author: bytes
    new_key: bytes
    possession: bytes

    def message(self, reason: str | None = None) -> identity_pb2.Rotation:
        """Return what whoever may grants it says."""
        return identity_pb2.Rotation(
            new_key=self.new_key, possession=self.possession, author=self.author, reason=reason
        )


def draw_successor(key_path: Path, author: bytes) -> SigningKey:
    """Draw a new key for an author into a file, with ``KEY.author`` beside it; a call that was cut short goes on.

    Raises :class:`KeyFileError` when the file holds another key, or cannot be written.
    """
    if key_path.exists():
        key = read_signing_key(key_path)
        if key.key_id == author or read_author(key_path, key) != author:
            raise KeyFileError(
                "KEY_EXISTS",
                f"{key_path} exists, and is not a new key of that author: move it away",
            )
        return key
    try:
        key_path.with_name(key_path.name + ".chain").unlink(missing_ok=True)  # the lost key's
        write_author(key_path, author)
        sync_folder(key_path.parent)
    except OSError as error:
        raise KeyFileError(
            "KEY_UNWRITABLE", f"cannot write beside {key_path}: {error.strerror}"
        ) from None
    key = SigningKey.generate()
    write_signing_key(key_path, key)
    return key


def request_recovery(key: SigningKey, author: bytes, agreement: bytes) -> RecoveryRequest:
    """Return the request that an author goes on under ``key``."""
    made = recovery(key, author, agreement)
    return RecoveryRequest(agreement, author, made.new_key, made.possession)


def verify_request(request: RecoveryRequest, agreement: bytes) -> VerifyingKey:
    """Return the new key of a request under that agreement, by whoever holds it; raises :class:`StatementError`."""
    if request.agreement != agreement:
        raise KeyLifeError("OTHER_AGREEMENT", "the request is for an agreement of another digest")
    return verify_recovery(request.message(), agreement)


def entitled(pins: Pins, speaker: bytes, author: bytes) -> str:
    """Return by what right somebody may say that an author goes on under a new key: what an agreement shows of it.

    Raises :class:`KeyLifeError` when the ledger would refuse it for certain.
    """
    pin, own = pins.by_key.get(author), pins.by_recovery.get(speaker)
    if own is not None and own.key_id == author:
        return "recovery"
    said = pins.by_key.get(speaker)
    if pin is None and said is not None and said.role is Role.PARTY:
        return "party"
    if pins.panel is not None and speaker in pins.panel.able.get(author, ()):
        return "vote"
    whose = "that node" if pin is None else f"{pin.role.value} {pin.id}"
    raise KeyLifeError(
        "NOT_ENTITLED",
        f"this key does not replace that of {whose}: its recovery key does, a node's party, or members of the panel "
        "without a conflict",
    )


def encode_request(request: RecoveryRequest) -> str:
    """Return a request as JSON text, binary values in hexadecimal."""
    fields = {name: getattr(request, name).hex() for name in _BINARY}
    return json.dumps({"format": FORMAT, **fields}, indent=2) + "\n"


def decode_request(text: str, where: str) -> RecoveryRequest:
    """Return the request in a JSON text, not verified; ``where`` names it in errors."""
    try:
        found = json.loads(text)
        if not isinstance(found, Mapping) or found.get("format") != FORMAT:
            raise StatementError("NOT_A_REQUEST", f"{where}: not of the format {FORMAT}")
        return RecoveryRequest(*(bytes.fromhex(found[name]) for name in _BINARY))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise StatementError(
            "NOT_A_REQUEST", f"{where}: not a recovery request: {error!r}"
        ) from None
