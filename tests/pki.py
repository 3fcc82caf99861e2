"""Certificates for tests: CAs, what they issue, and the folders in which stillwatch looks for them."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Holder:
    """Somebody with a key and a certificate."""

    certificate: x509.Certificate
    key: Key

    @property
    def cert_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def issue(
        self,
        name: str,
        *,
        hosts: Sequence[str] = (),
        key: Key | None = None,
        ca: bool = False,
        hours: tuple[float, float] = (-1, 24),
    ) -> "Holder":
        """Issue a certificate, valid from and to so many hours from now."""
        return _make(name, self, hosts, key or p256(), ca=ca, hours=hours)


def authority(name: str, *, key: Key | None = None) -> Holder:
    """Make a CA."""
    return _make(name, None, (), key or p256(), ca=True, hours=(-1, 24))


def alone(name: str) -> Holder:
    """Make a certificate that nobody issued but its own key, and which issues none."""
    return _make(name, None, (), p256(), ca=False, hours=(-1, 24))


def _make(
    name: str,
    issuer: Holder | None,
    hosts: Sequence[str],
    key: Key,
    *,
    ca: bool,
    hours: tuple[float, float],
) -> Holder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.key if issuer else key
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(hours=hours[0]))
        .not_valid_after(now + timedelta(hours=hours[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if hosts:
        made = made.add_extension(
            x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
        )
    return Holder(made.sign(signer, hashes.SHA256()), key)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def put(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put a file in another's place at once, as one should."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    fresh.chmod(mode)
    fresh.replace(path)


def write_folder(
    folder: Path,
    own: Holder | None = None,
    *,
    trusts: Sequence[Holder] = (),
    clients: Mapping[str, tuple[Holder, Sequence[str]]] | None = None,
    tiles: str = "clients",
) -> Path:
    """Write a folder for ``--tls``: who it is, whom it believes, and who may do what."""
    folder.mkdir(exist_ok=True)
    if own is not None:
        put(folder / "cert.pem", own.cert_pem)
        put(folder / "key.pem", own.key_pem)
    if trusts:
        put(folder / "ca.pem", b"".join(one.cert_pem for one in trusts))
    if clients is not None:
        lines = [f'tiles = "{tiles}"']
        for name, (holder, may) in clients.items():
            put(folder / f"{name}.pem", holder.cert_pem)
            lines += ["[[clients]]", f'name = "{name}"', f'certificate = "{name}.pem"']
            lines.append(f"may = {[*may]}")
        put(folder / "clients.toml", "\n".join(lines).encode())
    return folder
