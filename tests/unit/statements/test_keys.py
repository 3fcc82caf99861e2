import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from statements.errors import KeyFileError
from statements.keys import hold_key, read_signing_key, write_secret, write_signing_key
from statements.signing import SigningKey
from tests.unit.statements.conftest import no_room


def test_a_written_key_is_its_owners_alone_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    key = SigningKey.generate()
    previous = os.umask(0)
    try:
        write_signing_key(path, key)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_signing_key(path).key_id == key.key_id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o611])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "node.key"
    write_signing_key(path, SigningKey.generate())
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600") as caught:
        read_signing_key(path)
    assert caught.value.reason == "KEY_READABLE"


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    write_signing_key(path, SigningKey.generate())
    before = path.read_bytes()
    with pytest.raises(KeyFileError) as caught:
        write_signing_key(path, SigningKey.generate())
    assert caught.value.reason == "KEY_EXISTS"
    assert path.read_bytes() == before


def test_a_missing_key_and_an_unwritable_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        read_signing_key(tmp_path / "none")
    assert caught.value.reason == "KEY_UNREADABLE"
    with pytest.raises(KeyFileError) as caught:
        write_secret(tmp_path / "none" / "key", b"")
    assert caught.value.reason == "KEY_UNWRITABLE"


def pem(
    private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, password: bytes = b""
) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    "data",
    [
        b"not a key",
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(ec.generate_private_key(ec.SECP256R1()), b"secret"),
    ],
    ids=["noise", "ed25519", "p384", "encrypted"],
)
def test_a_file_without_a_p256_key_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "node.key"
    write_secret(path, data)
    with pytest.raises(KeyFileError) as caught:
        read_signing_key(path)
    assert caught.value.reason == "NOT_A_KEY"


def test_two_cannot_speak_with_one_key_at_once(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    write_signing_key(path, SigningKey.generate())
    with hold_key(path, wait=False):
        with (
            pytest.raises(KeyFileError, match="stop it first") as caught,
            hold_key(path, wait=False),
        ):
            pass
        assert caught.value.reason == "KEY_IN_USE"
    with hold_key(path, wait=False):
        pass


def test_a_key_that_is_not_there_cannot_be_held_and_others_errors_pass_through(
    tmp_path: Path,
) -> None:
    with pytest.raises(KeyFileError) as caught, hold_key(tmp_path / "none", wait=True):
        pass
    assert caught.value.reason == "KEY_UNREADABLE"
    path = tmp_path / "node.key"
    write_signing_key(path, SigningKey.generate())
    with pytest.raises(OSError, match="of the caller"), hold_key(path, wait=True):
        raise OSError("of the caller")


def test_a_disk_that_is_full_leaves_no_half_a_key_behind(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    with no_room(), pytest.raises(KeyFileError) as caught:
        write_signing_key(path, SigningKey.generate())
    assert caught.value.reason == "KEY_UNWRITABLE"
    assert not path.exists()
    write_signing_key(path, SigningKey.generate())
