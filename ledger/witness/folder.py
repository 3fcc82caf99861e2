"""A witness's folder: two keys, and what it remembers.

::

    witness.json      the name that it cosigns under
    ed25519.key       cosigns (C2SP tlog-cosignature, type 4)
    ml-dsa-44.key     cosigns beside it (type 6)
    memory.sqlite     the logs that it knows, and what it cosigned of each
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from ledger.errors import SetupError
from ledger.witness.memory import WitnessMemory
from statements.keys import read_secret, sync_folder, write_secret
from tlog.cosignature import Cosigner, CosigningKey

_SETTINGS: Final = "witness.json"
_ED25519: Final = "ed25519.key"
_ML_DSA: Final = "ml-dsa-44.key"
_MEMORY: Final = "memory.sqlite"


@dataclass(frozen=True, slots=True)
class WitnessFolder:
    """An existing witness: its folder and its keys, the Ed25519 one first."""

    path: Path
    keys: tuple[CosigningKey, ...]

    @classmethod
    def create(cls, path: Path, name: str) -> "WitnessFolder":
        """Make a folder with new keys; raises :class:`SetupError` when one is there.

        Raises :class:`NoteError` for a name that no witness can have.
        """
        ed25519 = CosigningKey(name, Ed25519PrivateKey.generate())
        ml_dsa = CosigningKey(name, MLDSA44PrivateKey.generate())
        for key in (ed25519, ml_dsa):
            Cosigner.from_vkey(key.vkey)
        if (path / _SETTINGS).exists():
            raise SetupError("WITNESS_EXISTS", f"{path} is a witness already: give another folder")
        try:
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)
            sync_folder(path.parent)
        except OSError as error:
            raise SetupError("UNWRITABLE", f"cannot make {path}: {error.strerror}") from error
        for file, key in ((_ED25519, ed25519), (_ML_DSA, ml_dsa)):
            write_secret(
                path / file,
                key.private.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ),
            )
        write_secret(path / _SETTINGS, json.dumps({"name": name}).encode() + b"\n")
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "WitnessFolder":
        """Return the witness in a folder; raises :class:`SetupError` or :class:`KeyFileError`."""
        try:
            name = str(json.loads((path / _SETTINGS).read_bytes())["name"])
        except (OSError, ValueError, KeyError, TypeError):
            raise SetupError(
                "NOT_A_WITNESS",
                f"{path} is not a witness's folder: make one with `stillwatch witness init {path} --name NAME`",
            ) from None
        return cls(
            path, tuple(CosigningKey(name, _read(path / file)) for file in (_ED25519, _ML_DSA))
        )

    @property
    def name(self) -> str:
        """The name that it cosigns under."""
        return self.keys[0].name

    def memory(self) -> WitnessMemory:
        """Open what it remembers."""
        return WitnessMemory(self.path / _MEMORY)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder: of two servers with one memory, each would wait for the other."""
        with (self.path / _SETTINGS).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SetupError(
                    "IN_USE", f"another process serves {self.path}: stop it first"
                ) from None
            yield


def _read(path: Path) -> Ed25519PrivateKey | MLDSA44PrivateKey:
    try:
        key = serialization.load_pem_private_key(read_secret(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey | MLDSA44PrivateKey):
        raise SetupError("NOT_A_KEY", f"{path} holds no key that cosigns")
    return key
