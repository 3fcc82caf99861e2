"""Who may call what: a TOML file of clients, known by their certificates.

::

    tiles = "clients"                  # or "anybody": who may read the static files

    [[clients]]
    name = "aurora"                    # for people
    certificate = "aurora-ca.pem"      # beside this file; a CA's: whoever holds a certificate that it issued
    may = ["append", "read"]

    [[clients]]
    name = "secretariat"
    certificate = "secretariat.pem"    # no CA's: whoever holds the key of just this one
    may = ["read"]

What no client may is refused. The file is read again when it changes, and holds for calls that begin after that;
streams that it does not grant any more are ended.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from statements.certificates import parse_certificates
from statements.errors import CertificateError
from statements.tls import read_file

CLIENTS: Final = "clients.toml"
_REMEMBERED: Final = 4_096
"""Certificates of which it is remembered whose they are."""


class Permission(StrEnum):
    """What a client may do."""

    APPEND = "append"
    """Log statements, and ask what an author needs to know in order to go on and to believe the log."""
    READ = "read"
    """Ask for whatever the log holds, its static files included."""
    MONITOR = "monitor"
    """Ask whether the ledger is well, and nothing of the log."""


class AccessError(Exception):
    """A client may not do what it asks for. ``reason`` is the name of a value of ``Reason`` without its prefix."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody with a certificate, or everybody whose certificate a CA issued."""

    name: str
    certificate: x509.Certificate
    may: frozenset[Permission]

    def is_meant(self, one: x509.Certificate) -> bool:
        """Return whether a certificate, which TLS has verified, is this client's."""
        if one == self.certificate:
            return True
        if not _is_ca(self.certificate):
            return False
        try:
            one.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


class Clients:
    """All clients, and whether the static files are for anybody else, too."""

    def __init__(self, listed: Sequence[Client], *, tiles_for_anybody: bool = False) -> None:
        self._listed = tuple(listed)
        self.tiles_for_anybody = tiles_for_anybody
        self._client = lru_cache(_REMEMBERED)(self._find)

    @property
    def authorities(self) -> bytes:
        """What TLS is to accept certificates of, in PEM."""
        return b"".join(
            one.certificate.public_bytes(serialization.Encoding.PEM) for one in self._listed
        )

    def sharing(self, wanted: frozenset[Permission]) -> int:
        """Return how many clients may do one of what is wanted."""
        return sum(1 for one in self._listed if one.may & wanted)

    def verify_may(self, certificate: bytes, wanted: frozenset[Permission]) -> Client:
        """Return the client of a certificate that TLS has verified, in PEM, if it may do one of what is wanted.

        Raises :class:`AccessError`.
        """
        client = self._client(certificate)
        if not client.may & wanted:
            needed = " or ".join(sorted(wanted)) or "what nobody may"
            raise AccessError(
                "NOT_PERMITTED",
                f"{client.name!r} may not: this takes {needed}, which the ledger's operator grants",
            )
        return client

    def _find(self, certificate: bytes) -> Client:
        try:
            one = x509.load_pem_x509_certificate(certificate)
            key = one.public_key()
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
            for client in self._listed:
                if client.is_meant(one):
                    return client
        raise AccessError(
            "UNKNOWN_CLIENT",
            "the certificate shown is no P-256 certificate that one of the ledger's CAs itself issued",
        )


def read_clients(folder: Path) -> tuple[bytes, Mapping[str, bytes]]:
    """Return what a folder's list of clients holds, and the certificates that it names.

    Raises :class:`CertificateError` when one cannot be read, or the list is none.
    """
    text = read_file(folder / CLIENTS)
    names = [name for _, name, _ in _rows(_table(text, folder), folder)]
    return text, {name: read_file(folder / name) for name in names}


def parse_clients(
    held: tuple[bytes, Mapping[str, bytes]], folder: Path, now_s: float | None = None
) -> Clients:
    """Return the clients that :func:`read_clients` read; raises :class:`CertificateError`."""
    text, files = held
    table = _table(text, folder)
    clients: list[Client] = []
    for name, file, may in _rows(table, folder):
        found = parse_certificates(files[file], folder / file, now_s)
        if len(found) != 1:
            raise _wrong(folder, f"{file} must hold one certificate, not {len(found)}")
        clients.append(Client(name, found[0], may))
    for number, one in enumerate(clients):
        for other in clients[:number]:
            if one.name == other.name or one.certificate.subject == other.certificate.subject:
                raise _wrong(folder, f"{one.name!r} and {other.name!r} share a name, or a subject")
    return Clients(clients, tiles_for_anybody=table.get("tiles", "clients") == "anybody")


def _table(text: bytes, folder: Path) -> Mapping[str, object]:
    try:
        table = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise _wrong(folder, f"is no TOML: {error}") from None
    if unknown := sorted(set(table) - {"tiles", "clients"}):
        raise _wrong(folder, f"{unknown[0]!r} is not known here; known are clients, tiles")
    if table.get("tiles", "clients") not in ("clients", "anybody"):
        raise _wrong(folder, 'tiles is "clients" or "anybody"')
    return table


def _rows(
    table: Mapping[str, object], folder: Path
) -> list[tuple[str, str, frozenset[Permission]]]:
    rows = table.get("clients")
    if not isinstance(rows, list) or not rows:
        raise _wrong(folder, "lists no [[clients]]: nobody could connect")
    return [_row(row, f"client {number}", folder) for number, row in enumerate(rows, 1)]


def _row(row: object, where: str, folder: Path) -> tuple[str, str, frozenset[Permission]]:
    if not isinstance(row, dict) or set(row) != {"name", "certificate", "may"}:
        raise _wrong(folder, f"{where} has name, certificate and may, each once, and nothing else")
    name, file, may = row["name"], row["certificate"], row["may"]
    if not (isinstance(name, str) and name.isprintable() and isinstance(file, str)) or not name:
        raise _wrong(folder, f"{where}: name and certificate are strings")
    if not isinstance(may, list) or not {*map(str, may)} <= {*Permission}:
        raise _wrong(folder, f"{where}: may lists some of {', '.join(Permission)}, not {may!r}")
    return name, file, frozenset(Permission(one) for one in may)


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _wrong(folder: Path, what: str) -> CertificateError:
    return CertificateError("BAD_CLIENTS", f"{folder / CLIENTS}: {what}")
