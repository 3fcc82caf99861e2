"""A new key for whoever holds the key in a file: said in the log, then put in the old one's place.

The order is such that a crash loses neither key. The new key is in ``KEY.next`` before anything is said; once the
ledger has logged the rotation, ``KEY.author`` names the author, the old key goes to ``KEY.was-…``, and the new one
takes its place. Whatever stopped in between is taken up again by the next call.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from statements.errors import KeyFileError, SubmissionError
from statements.keys import (
    hold_key,
    read_author,
    read_signing_key,
    sync_folder,
    write_author,
    write_signing_key,
)
from statements.ledger_client import LedgerClient
from statements.pins import Pins
from statements.publication import publish
from statements.rotation import rotation
from statements.signing import SigningKey

Draw = Callable[[int], bytes]
"""Draws that many random bytes."""


@dataclass(frozen=True, slots=True)
class Succession:
    """An author, the digests of the key that went and of the one that came, and where the former was put."""

    author: bytes
    old: bytes
    new: bytes
    retired: Path


def rotate_key(
    client: LedgerClient,
    key_path: Path,
    *,
    now_ms: int,
    pins: Pins,
    origin: str,
    draw: Draw = secrets.token_bytes,
) -> Succession:
    """Let the author whose key is in a file go on under a fresh one.

    Raises :class:`KeyFileError` when somebody speaks with the key now, or its files cannot be used, and
    :class:`SubmissionError` when the ledger refuses or cannot be reached.
    """
    with hold_key(key_path, wait=False):
        old = read_signing_key(key_path)
        author = read_author(key_path, old)
    coming = key_path.with_name(key_path.name + ".next")
    resumed = coming.exists()
    if not resumed:
        write_signing_key(coming, SigningKey.generate())
    new = read_signing_key(coming)
    message = rotation(new, author, old.key_id)
    try:
        publish(client, key_path, message, now_ms=now_ms, pins=pins, origin=origin, draw=draw)
    except SubmissionError as error:
        # An earlier call's rotation was logged, and the old key has ended by it.
        if not (error.reason == "REVOKED_KEY" and resumed and client.speaks(author)):
            raise
    retired = key_path.with_name(f"{key_path.name}.was-{old.key_id.hex()[:12]}")
    try:
        _replace(key_path, coming, retired, author)
    except OSError as error:
        raise KeyFileError(
            "KEY_UNWRITABLE",
            f"the log knows the new key, and {coming} could not take the place of {key_path} ({error.strerror}): "
            "mend that, and call this again",
        ) from None
    return Succession(author, old.key_id, new.key_id, retired)


def _replace(key_path: Path, coming: Path, retired: Path, author: bytes) -> None:
    write_author(key_path, author)
    key_path.with_name(key_path.name + ".chain").unlink(missing_ok=True)
    with suppress(FileExistsError):  # an earlier call came as far
        os.link(key_path, retired)
    sync_folder(key_path.parent)
    coming.replace(key_path)
    sync_folder(key_path.parent)
