"""What a server's folder must hold before anything is served."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from ledger.errors import SetupError
from ledger.tls import ServerTls
from ledger.witness.cli import witness
from ledger.witness.folder import WitnessFolder
from statements.errors import CertificateError, KeyFileError
from tests.pki import Holder, alone, authority, put, write_folder
from tlog.note import Signer

CA = authority("ca")
SIGNER = Signer("rehearsal.example/log", Ed25519PrivateKey.generate())


def own(**how: tuple[float, float]) -> Holder:
    return CA.issue("server", hosts=["127.0.0.1"], hours=how.get("hours", (-1, 24)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "tls", own(), clients={"ca": (CA, ["read"])})


SPOILED: dict[str, Callable[[Path], object]] = {
    "CERTIFICATE_UNREADABLE": lambda folder: (folder / "cert.pem").unlink(),
    "KEY_UNREADABLE": lambda folder: (folder / "key.pem").unlink(),
    "KEY_READABLE": lambda folder: (folder / "key.pem").chmod(0o644),
    "EXPIRED": lambda folder: write_folder(folder, own(hours=(-2, -1))),
    "NOT_VALID_YET": lambda folder: write_folder(folder, own(hours=(1, 2))),
    "NOT_P256": lambda folder: write_folder(
        folder, CA.issue("server", key=rsa.generate_private_key(65_537, 2_048))
    ),
    "OTHER_KEY": lambda folder: put(folder / "cert.pem", own().cert_pem),
    "BAD_CLIENTS": lambda folder: put(folder / "clients.toml", b""),
    "CERTIFICATE_UNREADABLE ": lambda folder: (folder / "clients.toml").unlink(),
}


@pytest.mark.parametrize("reason", SPOILED)
def test_a_server_whose_files_are_not_good_does_not_start(folder: Path, reason: str) -> None:
    SPOILED[reason](folder)
    with pytest.raises((CertificateError, KeyFileError)) as refused:
        ServerTls(folder)
    assert refused.value.reason == reason.strip()


@pytest.mark.parametrize("reason", [reason for reason in SPOILED if "CLIENTS" not in reason][:-1])
def test_a_witness_says_in_one_line_why_it_does_not_start(
    folder: Path, tmp_path: Path, reason: str
) -> None:
    place = WitnessFolder.create(tmp_path / "w", "witness.example/w")
    memory = place.memory()
    memory.add_log(SIGNER.name, SIGNER.vkey)
    memory.close()
    SPOILED[reason](folder)
    result = CliRunner().invoke(
        witness, ["serve", str(place.path), "--http", "127.0.0.1:0", "--tls", str(folder)]
    )
    assert getattr(result.exception, "reason", None) == reason


def test_a_certificate_that_is_about_to_expire_is_told_of_once(folder: Path) -> None:
    seconds = [time.time()]
    tls = ServerTls(folder, every_s=0.0, now_s=lambda: seconds[0])
    hour = 3_600.0
    for passed, told in ((0, 0), (21, 0), (22, 1), (23, 0)):
        seconds[0] = time.time() + passed * hour
        with capture_logs() as said:
            tls.context()
        assert sum("about to expire" in row["event"] for row in said) == told
    write_folder(folder, own(hours=(-1, 240)))
    with capture_logs() as said:
        tls.context()
    assert [row["event"] for row in said] == ["read again"]


def test_a_certificate_that_nobody_issued_serves_too(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tls", alone("server"), clients={"ca": (CA, ["read"])})
    assert ServerTls(folder).clients() is not None


def test_a_server_that_does_not_ask_who_calls_opens_no_port_of_grpc(folder: Path) -> None:
    with pytest.raises(SetupError) as refused:
        ServerTls(folder, with_clients=False).grpc_credentials()
    assert refused.value.reason == "NO_CLIENTS"
