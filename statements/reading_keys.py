"""Readers' private keys in files: X25519, PKCS #8 PEM, readable by their owner alone."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from statements.errors import KeyFileError
from statements.keys import read_secret, write_secret
from statements.sealing import ReaderKey, ReadingKey

PREFIX = "x25519:"
"""What stands before a reader's key in an agreement, whose 32 bytes follow as 64 hexadecimal digits."""


def pinned_as(key: ReaderKey) -> str:
    """Return a reader's key as agreements write it."""
    return PREFIX + key.raw.hex()


def write_reading_key(path: Path, key: ReadingKey) -> None:
    """Write a private key to a new file; raises as :func:`write_secret`."""
    write_secret(
        path,
        key.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def read_reading_key(path: Path) -> ReadingKey:
    """Return the private key in a file.

    Raises :class:`KeyFileError` when it is missing, readable by others, or not an X25519 key: a key that signs opens
    nothing.
    """
    data = read_secret(path)
    try:
        private = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError("NOT_A_KEY", f"{path} is not an unencrypted PEM private key") from None
    if not isinstance(private, X25519PrivateKey):
        raise KeyFileError(
            "NOT_A_READING_KEY",
            f"{path} holds no X25519 key: make one with `stillwatch audit keygen`",
        )
    return ReadingKey(private)
