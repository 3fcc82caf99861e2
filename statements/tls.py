"""How those who speak to ledgers and witnesses secure their connections: a folder, or none on this machine itself.

::

    ca.pem      the CAs whose servers are believed
    cert.pem    who we are, with what leads to its CA; may be left out where a server asks nobody
    key.pem     its key, mode 0600

All are PEM and ECDSA P-256; TLS is 1.3. New files are used by the next connection.
"""

import ipaddress
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from statements.certificates import Identity, expired, parse_certificates, parse_identity
from statements.errors import CertificateError
from statements.keys import read_secret
from statements.watched import LOOK_EVERY_S, Watched

CA: Final = "ca.pem"
CERTIFICATE: Final = "cert.pem"
KEY: Final = "key.pem"

Pair: TypeAlias = tuple[bytes, bytes]
"""A certificate with those above it, and its key."""


def read_file(path: Path) -> bytes:
    """Return a file's bytes; raises :class:`CertificateError` when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(
            "CERTIFICATE_UNREADABLE", f"cannot read {path}: {error.strerror}"
        ) from None


def read_pair(folder: Path) -> Pair:
    """Return what ``cert.pem`` and ``key.pem`` hold.

    Raises :class:`CertificateError` when one cannot be read, :class:`KeyFileError` when others can read the key.
    """
    return read_file(folder / CERTIFICATE), read_secret(folder / KEY)


def parse_pair(folder: Path, pair: Pair, now_s: float) -> Identity:
    """Return the identity in those files; raises as :func:`parse_identity` does."""
    return parse_identity(*pair, where=(folder / CERTIFICATE, folder / KEY), now_s=now_s)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whom a client believes, in PEM, and who it is, if anybody; as of one reading of the folder."""

    authorities: bytes
    own: Identity | None

    def context(self) -> ssl.SSLContext:
        """Return what HTTPS takes."""
        context = client_context()
        context.load_verify_locations(cadata=self.authorities.decode("ascii"))
        if self.own is not None:
            load_own(context, self.own)
        return context


class ClientTls:
    """A folder of credentials, read again when it changes.

    Raises :class:`CertificateError` or :class:`KeyFileError` when made of files that are missing or not good.
    """

    def __init__(
        self,
        folder: Path,
        *,
        now_s: Callable[[], float] = time.time,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        def parse(held: tuple[bytes, Pair | None]) -> Credentials:
            authorities, pair = held
            parse_certificates(authorities, folder / CA, now_s())
            own = None if pair is None else parse_pair(folder, pair, now_s())
            return Credentials(authorities, own)

        def read() -> tuple[bytes, Pair | None]:
            alone = not ((folder / CERTIFICATE).exists() or (folder / KEY).exists())
            return read_file(folder / CA), None if alone else read_pair(folder)

        self._watched = Watched(f"credentials in {folder}", read, parse, every_s=every_s)
        self._folder, self._now_s = folder, now_s

    def verify_current(self) -> None:
        """Refuse a certificate of one's own that has expired since it was read: :class:`CertificateError`."""
        own = self.credentials().own
        if own is not None and own.expires.timestamp() < self._now_s():
            raise expired(self._folder / CERTIFICATE, own.expires)

    def credentials(self) -> Credentials:
        """Return the newest good ones; the same object until the files change."""
        return self._watched.get()


def client_context() -> ssl.SSLContext:
    """Return a context that verifies servers and their names, and knows no CA yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def load_own(context: ssl.SSLContext, own: Identity) -> None:
    """Have a context show a certificate."""
    # It takes files alone: this one is in memory, so that what is shown is what was checked, and no key is copied.
    with os.fdopen(os.memfd_create("identity"), "wb") as file:
        file.write(own.chain + b"\n" + own.key)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")


def verify_plain(host: str, place: str) -> None:
    """Refuse to speak to a host without TLS, unless it is this machine itself; ``place`` names it for people.

    Raises :class:`CertificateError`.
    """
    if host != "localhost" and not is_loopback(host):
        raise CertificateError(
            "TLS_REQUIRED",
            f"{place} is not this machine itself, and is spoken to over TLS only: see --tls DIR",
        )


def is_loopback(host: str) -> bool:
    """Return whether a host is an address of this machine itself that no other can reach; names are not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
