"""A ledger's folder: what it serves, and below ``private/`` what it keeps to itself.

::

    checkpoint  tile/  bodies/      the log, as served
    private/    ledger.json         origin, journal and object store
                note.key            Ed25519, signs checkpoints
                statement.key       P-256, signs the ledger's own statements
                journal.sqlite
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.errors import SetupError
from statements.keys import (
    read_secret,
    read_signing_key,
    sync_folder,
    write_secret,
    write_signing_key,
)
from statements.pins import Pins
from statements.signing import SigningKey
from tlog.note import Signer, Verifier

PRIVATE: Final = "private"
_SETTINGS: Final = "ledger.json"
_NOTE_KEY: Final = "note.key"
_STATEMENT_KEY: Final = "statement.key"
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class LedgerFolder:
    """An existing ledger: its folder, keys, and the names of its journal and object store."""

    path: Path
    signer: Signer
    key: SigningKey
    journal: str
    objects: str

    @classmethod
    def create(cls, path: Path, origin: str) -> "LedgerFolder":
        """Make a folder with new keys; raises :class:`SetupError` when one is there.

        Raises :class:`NoteError` for an origin that cannot name a log.
        """
        signer = Signer(origin, Ed25519PrivateKey.generate())
        Verifier.from_vkey(signer.vkey)
        private = path / PRIVATE
        if private.exists():
            raise SetupError(
                "LEDGER_EXISTS", f"{path} is a ledger already: give another folder, or --agreement"
            )
        fresh = path / f"{PRIVATE}.new"
        settings = {"origin": origin, "journal": "sqlite", "objects": "directory"}
        note_key = signer.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        try:
            path.mkdir(parents=True, exist_ok=True)
            sync_folder(path.parent)
            shutil.rmtree(fresh, ignore_errors=True)  # one that stopped half-way
            fresh.mkdir(mode=0o700)
            write_secret(fresh / _SETTINGS, json.dumps(settings, indent=2).encode() + b"\n")
            write_signing_key(fresh / _STATEMENT_KEY, SigningKey.generate())
            write_secret(fresh / _NOTE_KEY, note_key)
            fresh.rename(private)
            sync_folder(path)
        except OSError as error:
            raise SetupError("UNWRITABLE", f"cannot make {private}: {error.strerror}") from error
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "LedgerFolder":
        """Return the ledger in a folder; raises :class:`SetupError` or :class:`KeyFileError`."""
        private = path / PRIVATE
        try:
            settings = json.loads((private / _SETTINGS).read_text())
            origin, journal, objects = (
                str(settings[key]) for key in ("origin", "journal", "objects")
            )
        except (OSError, ValueError, KeyError, TypeError):
            raise SetupError(
                "NOT_A_LEDGER",
                f"{path} is not a ledger's folder: make one with `stillwatch ledger init {path} --origin ORIGIN`",
            ) from None
        try:
            note_key = serialization.load_pem_private_key(
                read_secret(private / _NOTE_KEY), password=None
            )
        except (ValueError, TypeError):
            note_key = None
        if not isinstance(note_key, Ed25519PrivateKey):
            raise SetupError("NOT_A_KEY", f"{private / _NOTE_KEY} holds no Ed25519 key")
        key = read_signing_key(private / _STATEMENT_KEY)
        return cls(path, Signer(origin, note_key), key, journal, objects)

    @property
    def private(self) -> Path:
        """The part that is not served."""
        return self.path / PRIVATE

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self.signer.name

    @property
    def stanza(self) -> str:
        """What the agreement's TOML has to say of this ledger."""
        return (
            "[[ledgers]]\n"
            f"origin = {json.dumps(self.origin)}\n"
            f"vkey = {json.dumps(self.signer.vkey)}\n"
            f'key = "sha256:{self.key.key_id.hex()}"\n'
        )

    def verify_pinned(self, pins: Pins) -> None:
        """Refuse an agreement that does not pin this ledger's keys: :class:`SetupError`."""
        pin = pins.ledger(self.origin)
        if (pin.vkey, pin.key_id) != (self.signer.vkey, self.key.key_id):
            raise SetupError(
                "NOT_PINNED",
                f"the agreement pins other keys for {self.origin}; it must say:\n{self.stanza}",
            )

    @contextmanager
    def held(self, lock: str = "lock", patience_s: float = 0.0) -> Iterator[None]:
        """Keep other processes of this machine from running the same ledger; wait so long for one to end."""
        path = self.private / lock
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SetupError(
                "UNWRITABLE", f"cannot open {path}: {error.strerror}; free space or repair the disk"
            ) from error
        deadline = time.monotonic() + patience_s
        try:
            while not _locked(descriptor):
                if time.monotonic() >= deadline:
                    raise SetupError(
                        "IN_USE", f"another process runs the ledger in {self.path}: stop it first"
                    )
                time.sleep(_LOOK_S)
            yield
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
