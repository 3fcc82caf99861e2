"""Certificates and keys that are not good, files that change, and addresses that take TLS."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from structlog.testing import capture_logs

import stillwatch
from statements.channel import open_channel
from statements.errors import CertificateError, KeyFileError, StatementError
from statements.ledger_client import LedgerClient
from statements.tls import ClientTls
from statements.watched import Watched
from tests.pki import alone, authority, p256, put, write_folder

CA = authority("ca")


def refusal(folder: Path) -> tuple[str, str]:
    with pytest.raises((CertificateError, KeyFileError)) as refused:
        ClientTls(folder)
    return refused.value.reason, str(refused.value)


def test_a_folder_is_a_ca_and_who_one_is_if_one_is_anybody(tmp_path: Path) -> None:
    write_folder(tmp_path, trusts=[CA, authority("other")])
    assert ClientTls(tmp_path).credentials().own is None
    me = CA.issue("me")
    write_folder(tmp_path, me)
    found = ClientTls(tmp_path).credentials().own
    assert found is not None
    assert (found.chain, found.expires) == (me.cert_pem, me.certificate.not_valid_after_utc)
    context = ClientTls(tmp_path).credentials().context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("ca.pem", None, "CERTIFICATE_UNREADABLE"),
        ("ca.pem", b"", "NOT_A_CERTIFICATE"),
        ("ca.pem", b"\xff" * 100, "NOT_A_CERTIFICATE"),
        ("ca.pem", CA.cert_pem[:100], "NOT_A_CERTIFICATE"),
        ("ca.pem", CA.key_pem, "NOT_A_CERTIFICATE"),
        ("ca.pem", CA.issue("old", hours=(-2, -1)).cert_pem, "EXPIRED"),
        ("ca.pem", CA.cert_pem + CA.issue("new", hours=(1, 2)).cert_pem, "NOT_VALID_YET"),
        ("cert.pem", None, "CERTIFICATE_UNREADABLE"),
        ("cert.pem", alone("other").cert_pem, "OTHER_KEY"),
        ("key.pem", None, "KEY_UNREADABLE"),
        ("key.pem", b"", "NOT_A_KEY"),
        (
            "key.pem",
            p256()
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            "NOT_A_KEY",
        ),
        (
            "key.pem",
            p256().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            ),
            "NOT_A_KEY",
        ),
        ("key.pem", alone("other").key_pem, "OTHER_KEY"),
    ],
)
def test_a_file_that_is_not_good_is_named(
    tmp_path: Path, name: str, data: bytes | None, reason: str
) -> None:
    write_folder(tmp_path, CA.issue("me"), trusts=[CA])
    (tmp_path / name).unlink()
    if data is not None:
        put(tmp_path / name, data)
    found, words = refusal(tmp_path)
    assert found == reason
    assert str(tmp_path / name) in words


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65_537, 2_048), ec.generate_private_key(ec.SECP384R1())]
)
def test_keys_other_than_p256_are_refused(
    tmp_path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    me = CA.issue("me")
    write_folder(tmp_path, CA.issue("me", key=key), trusts=[CA])
    assert refusal(tmp_path)[0] == "NOT_P256"
    put(tmp_path / "cert.pem", me.cert_pem)
    assert refusal(tmp_path)[0] == "NOT_A_KEY"
    write_folder(tmp_path, me, trusts=[authority("of another key", key=key)])
    assert refusal(tmp_path)[0] == "NOT_P256"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    write_folder(tmp_path, CA.issue("me"), trusts=[CA])
    (tmp_path / "key.pem").chmod(mode)
    assert refusal(tmp_path)[0] == "KEY_READABLE"


def test_new_files_are_used_once_they_are_good(tmp_path: Path) -> None:
    write_folder(tmp_path, CA.issue("me"), trusts=[CA])
    tls = ClientTls(tmp_path, every_s=0.0)
    first = tls.credentials()
    assert tls.credentials() is first
    second = CA.issue("me")
    put(tmp_path / "cert.pem", second.cert_pem)
    assert tls.credentials() is first, "a certificate without its key"
    put(tmp_path / "key.pem", second.key_pem)
    own = tls.credentials().own
    assert own is not None
    assert own.chain == second.cert_pem


def test_files_are_looked_at_once_a_second(tmp_path: Path) -> None:
    seconds = [0.0]
    reads: list[str] = []

    def read() -> str:
        reads.append("")
        return "same"

    watched = Watched("a test", read, str.upper, every_s=1.0, monotonic=lambda: seconds[0])
    for now in (0.0, 0.5, 0.99, 1.0, 1.5, 2.5):
        seconds[0] = now
        assert watched.get() == "SAME"
    assert len(reads) == 3


def test_what_is_not_good_is_told_once_until_it_is_something_else() -> None:
    held = ["good"]

    def parse(text: str) -> str:
        if text != "good":
            raise StatementError("BAD", f"it is {text}")
        return text

    watched = Watched("a test", lambda: held[0], parse, every_s=0.0)
    for text, told in (("bad", 1), ("bad", 0), ("worse", 1), ("good", 0), ("bad", 1)):
        held[0] = text
        with capture_logs() as said:
            assert watched.get() == "good"
        assert [row["reason"] for row in said if row["log_level"] == "error"] == ["BAD"] * told


@pytest.mark.parametrize(
    "target", ["127.0.0.1:7701", "127.8.9.1:7701", "[::1]:7701", "localhost:7701"]
)
def test_this_machine_itself_may_be_spoken_to_in_plain(target: str) -> None:
    open_channel(target, None, []).close()


@pytest.mark.parametrize(
    "target",
    [
        "192.0.2.1:7701",
        "log.example:7701",
        "localhost.example:7701",
        "[2001:db8::1]:7701",
        "[::ffff:192.0.2.1]:7701",
        "0.0.0.0:7701",
        "[::]:7701",
        "127.1:7701",
        "2130706433:7701",
        "127.0.0.1",
        "127.0.0.1:7701,192.0.2.1:7701",
        "ipv4:192.0.2.1:7701",
        "dns:///log.example:7701",
        "unix:/tmp/socket",
        "127.0.0.1:7701\n",
        "",
    ],
)
def test_any_other_machine_takes_tls(target: str) -> None:
    with pytest.raises(CertificateError, match=re.escape("see --tls DIR")) as refused:
        LedgerClient(target)
    assert refused.value.reason == "TLS_REQUIRED"


def test_every_command_that_speaks_to_a_server_can_do_it_over_tls() -> None:
    def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
        if not isinstance(command, click.Group):
            yield name, command
            return
        context = click.Context(command)
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            assert below is not None
            yield from walk(below, f"{name} {each}")

    def addresses(command: click.Command) -> bool:
        said = [
            f"{parameter.metavar} {getattr(parameter, 'help', '')}" for parameter in command.params
        ]
        words = re.compile(r"HOST:PORT|URL|address where", re.IGNORECASE)
        return any(words.search(one) for one in [*said, command.help or ""])

    speaking = {
        name: any("--tls" in parameter.opts for parameter in command.params)
        for name, command in walk(stillwatch.main, "stillwatch")
        if addresses(command)
    }
    assert {"stillwatch audit forks", "stillwatch agent rotate"} <= set(speaking)
    assert [name for name, can in speaking.items() if not can] == []
