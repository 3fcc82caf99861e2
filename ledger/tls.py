"""How a server secures its connections: a folder, read again when it changes, while streams go on.

::

    cert.pem        who the server is, with what leads to its CA
    key.pem         its key, mode 0600
    clients.toml    who may call it (see ledger.access); a witness has none: what it is sent is signed
    ca.pem          the CAs of the servers that it calls itself

All are PEM and ECDSA P-256; TLS is 1.3.
"""

import ssl
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import structlog

from ledger.access import Clients, parse_clients, read_clients
from ledger.address import Address
from ledger.errors import SetupError
from statements.certificates import Identity
from statements.tls import load_own, parse_pair, read_pair
from statements.watched import LOOK_EVERY_S, Watched

_log = structlog.get_logger("stillwatch.tls")


class ServerTls:
    """The folder of a server; ``with_clients``: it asks who calls.

    Raises :class:`CertificateError` or :class:`KeyFileError` when its files are missing or not good.
    """

    def __init__(
        self,
        folder: Path,
        *,
        with_clients: bool = True,
        now_s: Callable[[], float] = time.time,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._identity = Watched(
            f"certificate in {folder}",
            lambda: read_pair(folder),
            lambda pair: parse_pair(folder, pair, now_s()),
            every_s=every_s,
        )
        self._clients = (
            Watched(
                f"clients in {folder}",
                lambda: read_clients(folder),
                lambda held: parse_clients(held, folder),
                every_s=every_s,
            )
            if with_clients
            else None
        )
        self._now_s = now_s
        self._told: Identity | None = None
        self._https: tuple[Identity, Clients | None, ssl.SSLContext] | None = None

    def _own(self) -> Identity:
        own = self._identity.get()
        if own is not self._told and own.renew_by.timestamp() < self._now_s():
            self._told = own
            _log.warning(
                "the certificate is about to expire: put a new one there",
                at=f"{own.expires:%Y-%m-%dT%H:%M:%SZ}",
            )
        return own

    def clients(self) -> Clients | None:
        """Return who may call, as of now; ``None`` for a server that does not ask."""
        return None if self._clients is None else self._clients.get()

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return what a port is opened with; at each handshake it looks for newer files.

        Raises :class:`SetupError` for a server that does not ask who calls: anybody could.
        """
        if self._clients is None:
            raise SetupError("NO_CLIENTS", "a gRPC port is for listed clients only")
        used = self._grpc_files()

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal used
            newest = self._grpc_files()
            if newest == used:
                return None
            used = newest
            return _configuration(*newest)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(*used),
            fetch,  # type: ignore[arg-type]  # the stub forgets that None says "nothing new"
            require_client_authentication=True,
        )

    def _grpc_files(self) -> tuple[Identity, bytes]:
        clients = self.clients()
        return self._own(), b"" if clients is None else clients.authorities

    def context(self) -> ssl.SSLContext:
        """Return what the next HTTPS connection is served with; the same object until files change."""
        identity, clients = self._own(), self.clients()
        if self._https is not None and self._https[:2] == (identity, clients):
            return self._https[2]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0  # a ticket would let a client back in that is no longer listed
        load_own(context, identity)
        if clients is not None and not clients.tiles_for_anybody:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=clients.authorities.decode("ascii"))
        self._https = identity, clients, context
        return context


def open_port(server: grpc.aio.Server, address: Address, tls: ServerTls | None) -> int:
    """Have a server listen on an address, secured if there is a folder for that, and return the port.

    Raises :class:`SetupError` when the address cannot be listened on.
    """
    try:
        if tls is None:
            return server.add_insecure_port(str(address))
        return server.add_secure_port(str(address), tls.grpc_credentials())
    except RuntimeError as error:
        raise SetupError("ADDRESS_IN_USE", f"cannot listen on {address}: is it in use?") from error


def _configuration(identity: Identity, authorities: bytes) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(identity.key, identity.chain)], root_certificates=authorities
    )
