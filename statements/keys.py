"""Private keys in files: PKCS #8 PEM, readable by their owner alone."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from statements.errors import KeyFileError
from statements.signing import SigningKey

_OWNER_ONLY = 0o600


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read, durable when this returns.

    Raises :class:`KeyFileError` when the file exists, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError:
        raise KeyFileError(
            "KEY_EXISTS", f"{path} exists: move it away first, a lost key cannot be made again"
        ) from None
    except OSError as error:
        raise KeyFileError("KEY_UNWRITABLE", f"cannot write {path}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise KeyFileError("KEY_UNWRITABLE", f"cannot write {path}: {error.strerror}") from None


def sync_folder(folder: Path) -> None:
    """Make the names of a folder's files durable; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_secret(path: Path) -> bytes:
    """Return a secret file's bytes.

    Raises :class:`KeyFileError` when it is missing, or when others than its owner can read or write it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyFileError(
                    "KEY_READABLE",
                    f"{path} is open to others (mode {mode:04o}): run chmod 600 {path}",
                )
            return file.read()
    except OSError as error:
        raise KeyFileError("KEY_UNREADABLE", f"cannot read {path}: {error.strerror}") from None


@contextmanager
def hold_key(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a key's file while this process speaks with the key: two that speak at once contradict each other.

    With ``wait`` the present holder is waited for. Raises :class:`KeyFileError` when the file cannot be opened or
    held, without ``wait`` also when another process holds it.
    """
    with ExitStack() as held:
        try:
            file = held.enter_context(path.open("rb"))
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KeyFileError(
                "KEY_IN_USE",
                f"another process speaks with {path}: stop it first, or the two will contradict each other in the log",
            ) from None
        except OSError as error:
            raise KeyFileError("KEY_UNREADABLE", f"cannot hold {path}: {error.strerror}") from None
        yield


def write_signing_key(path: Path, key: SigningKey) -> None:
    """Write a private key to a new file; raises as :func:`write_secret`."""
    write_secret(
        path,
        key.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def read_signing_key(path: Path) -> SigningKey:
    """Return the private key in a file.

    Raises :class:`KeyFileError` when it is missing, readable by others, or not a P-256 key.
    """
    data = read_secret(path)
    try:
        private = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError("NOT_A_KEY", f"{path} is not an unencrypted PEM private key") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise KeyFileError("NOT_A_KEY", f"{path} holds no ECDSA P-256 key")
    return SigningKey.from_private(private)


def write_author(path: Path, author: bytes) -> None:
    """Write beside the file of a key for whom it speaks, durable once the folder is; raises OSError."""
    beside = path.with_name(path.name + ".author")
    fresh = beside.with_name(beside.name + ".new")
    with fresh.open("w", encoding="ascii") as file:
        file.write(author.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(beside)


def read_author(path: Path, key: SigningKey) -> bytes:
    """Return the author for whom the key in a file speaks: the digest of its first key, in ``KEY.author`` if another.

    Raises :class:`KeyFileError` when that file cannot be read, or holds no digest.
    """
    beside = path.with_name(path.name + ".author")
    try:
        author = bytes.fromhex(beside.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return key.key_id
    except (OSError, ValueError) as error:
        raise KeyFileError("BAD_AUTHOR_FILE", f"{beside} cannot be read: {error}") from None
    if len(author) != len(key.key_id):
        raise KeyFileError("BAD_AUTHOR_FILE", f"{beside} must hold 64 hexadecimal digits")
    return author
