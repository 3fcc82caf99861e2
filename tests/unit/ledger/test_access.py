"""Who may call what, and lists of clients that are none."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ledger.access import AccessError, Clients, Permission, parse_clients, read_clients
from ledger.guard import PERMISSIONS, verify_call
from ledger.service import SERVICE
from protos.stillwatch.ledger.v1 import ledger_pb2
from statements.errors import CertificateError
from tests.pki import Holder, alone, authority, write_folder

READ = frozenset({Permission.READ})
GET_BODY = f"/{SERVICE}/GetBody"


def clients(folder: Path) -> Clients:
    return parse_clients(read_clients(folder), folder)


def test_a_ca_stands_for_whom_it_issued_to_and_any_other_for_itself(tmp_path: Path) -> None:
    hall, secretariat = authority("hall"), alone("secretariat")
    write_folder(
        tmp_path, clients={"hall": (hall, ["append", "read"]), "secretariat": (secretariat, [])}
    )
    found = clients(tmp_path)
    for holder, name in ((hall.issue("node"), "hall"), (hall, "hall")):
        assert found.verify_may(holder.cert_pem, READ).name == name
    with pytest.raises(AccessError, match="'secretariat' may not: this takes read") as refused:
        found.verify_may(secretariat.cert_pem, READ)
    assert refused.value.reason == "NOT_PERMITTED"


@pytest.mark.parametrize("certificate", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate_is_nobodys(tmp_path: Path, certificate: bytes) -> None:
    write_folder(tmp_path, clients={"hall": (authority("hall"), ["read"])})
    with pytest.raises(AccessError) as refused:
        clients(tmp_path).verify_may(certificate, READ)
    assert refused.value.reason == "UNKNOWN_CLIENT"


def test_certificates_that_only_look_as_if_a_listed_ca_had_issued_them_are_nobodys(
    tmp_path: Path,
) -> None:
    hall, secretariat = authority("hall"), alone("secretariat")
    write_folder(tmp_path, clients={"hall": (hall, ["read"]), "s": (secretariat, ["read"])})
    forgeries: list[Holder] = [
        authority("hall").issue("node"),
        hall.issue("sub", ca=True).issue("node"),
        hall.issue("node", key=rsa.generate_private_key(65_537, 2_048)),
        hall.issue("node", key=ec.generate_private_key(ec.SECP384R1())),
        secretariat.issue("node"),
        alone("secretariat"),
    ]
    for forgery in forgeries:
        with pytest.raises(AccessError) as refused:
            clients(tmp_path).verify_may(forgery.cert_pem, READ)
        assert refused.value.reason == "UNKNOWN_CLIENT"


def test_a_call_takes_tls_1_3_a_known_client_and_a_row_in_the_table(tmp_path: Path) -> None:
    reader = alone("reader")
    write_folder(tmp_path, clients={"reader": (reader, ["read"])})
    known = clients(tmp_path)
    good = {"ssl_tls_version": [b"TLSv1.3"], "x509_pem_cert": [reader.cert_pem]}
    verify_call(good, GET_BODY, known)
    changes: list[dict[str, list[bytes]]] = [
        {"ssl_tls_version": [b"TLSv1.2"]},
        {"ssl_tls_version": []},
        {"x509_pem_cert": []},
        {"x509_pem_cert": [reader.cert_pem, reader.cert_pem]},
    ]
    for change in changes:
        with pytest.raises(AccessError) as refused:
            verify_call({**good, **change}, GET_BODY, known)
        assert refused.value.reason == "UNKNOWN_CLIENT"
    for connection, listed in (({}, known), (good, None)):
        with pytest.raises(AccessError) as refused:
            verify_call(connection, GET_BODY, listed)
        assert refused.value.reason == "UNKNOWN_CLIENT"
    with pytest.raises(AccessError, match="what nobody may") as refused:
        verify_call(good, f"/{SERVICE}/Delete", known)
    assert refused.value.reason == "NOT_PERMITTED"


def test_the_table_has_every_method_of_the_service() -> None:
    service = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"]
    methods = {f"/{service.full_name}/{method}" for method in service.methods_by_name}
    assert {method for method in PERMISSIONS if method.startswith(f"/{SERVICE}/")} == methods


def test_the_guides_table_is_the_ledgers(root: Path) -> None:
    page = (root / "docs/guides/tls.md").read_text()
    table = page.partition("| method | takes one of |")[2].partition("\n\n")[0]
    documented = {
        method: {Permission(one) for one in re.findall(r"`(\w+)`", takes)}
        for methods, takes in re.findall(r"^\| (.+?) \| (.+?) \|$", table, re.MULTILINE)
        for method in re.findall(r"`(\w+)`", methods)
    }
    ours = {method.rpartition("/")[2]: {*takes} for method, takes in PERMISSIONS.items()}
    documented["ServerReflectionInfo"] = documented["Check"]
    assert documented == ours
    for reason in ("UNKNOWN_CLIENT", "NOT_PERMITTED", "SERVER_NOT_TRUSTED", "TLS_REQUIRED"):
        assert f"`{reason}`" in page


ROW = 'name = "hall"\ncertificate = "hall.pem"\nmay = ["read"]\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "lists no"),
        ("clients = []", "lists no"),
        ("clients = 1", "lists no"),
        ("clients = [1]", "client 1 has name, certificate and may"),
        (f"[[clients]]\n{ROW}surprise = 1", "client 1 has name, certificate and may"),
        ('[[clients]]\nname = "hall"', "client 1 has name, certificate and may"),
        (f"surprise = 1\n[[clients]]\n{ROW}", "'surprise' is not known here"),
        (f'tiles = "all"\n[[clients]]\n{ROW}', 'tiles is "clients" or "anybody"'),
        (f"tiles = []\n[[clients]]\n{ROW}", 'tiles is "clients" or "anybody"'),
        (f"[[clients]]\n{ROW}".replace('"hall"', "7"), "are strings"),
        (f"[[clients]]\n{ROW}".replace('"hall"', '""'), "are strings"),
        (f"[[clients]]\n{ROW}".replace('"hall"', '"\\n"'), "are strings"),
        (f"[[clients]]\n{ROW}".replace('"hall.pem"', "7"), "are strings"),
        (f"[[clients]]\n{ROW}".replace('["read"]', '"read"'), "may lists some of"),
        (f"[[clients]]\n{ROW}".replace('["read"]', '["rule"]'), "append, read, monitor"),
        (f"[[clients]]\n{ROW}".replace('["read"]', "[[]]"), "may lists some of"),
        (f"[[clients]]\n{ROW}[[clients]]\n{ROW}", "share a name, or a subject"),
        (f"[[clients]]\n{ROW}".replace("hall.pem", "two.pem"), "must hold one certificate, not 2"),
        ("[[clients]", "is no TOML"),
        ("\udcff", "is no TOML"),
    ],
)
def test_a_list_that_is_wrong_says_what_is_wrong_with_it(
    tmp_path: Path, text: str, why: str
) -> None:
    hall = authority("hall")
    (tmp_path / "hall.pem").write_bytes(hall.cert_pem)
    (tmp_path / "two.pem").write_bytes(hall.cert_pem * 2)
    (tmp_path / "clients.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CertificateError, match=re.escape(why)) as refused:
        clients(tmp_path)
    assert refused.value.reason == "BAD_CLIENTS"


def test_two_cas_of_one_subject_are_refused_for_tls_could_not_tell_them_apart(
    tmp_path: Path,
) -> None:
    write_folder(
        tmp_path,
        clients={"one": (authority("hall"), ["read"]), "other": (authority("hall"), ["read"])},
    )
    with pytest.raises(CertificateError, match="'other' and 'one' share a name, or a subject"):
        clients(tmp_path)


def test_a_cas_file_that_is_missing_or_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "clients.toml").write_text(f"[[clients]]\n{ROW}")
    with pytest.raises(CertificateError, match=r"hall\.pem") as refused:
        clients(tmp_path)
    assert refused.value.reason == "CERTIFICATE_UNREADABLE"
    other = authority("hall", key=rsa.generate_private_key(65_537, 2_048))
    (tmp_path / "hall.pem").write_bytes(other.cert_pem)
    with pytest.raises(CertificateError, match=r"hall\.pem") as refused:
        clients(tmp_path)
    assert refused.value.reason == "NOT_P256"


def test_a_party_whose_ca_has_expired_keeps_nobody_else_out(tmp_path: Path) -> None:
    old = authority("root").issue("old", ca=True, hours=(-2, -1))
    reader = alone("reader")
    write_folder(tmp_path, clients={"old": (old, ["read"]), "reader": (reader, ["read"])})
    assert clients(tmp_path).verify_may(reader.cert_pem, READ).name == "reader"
