"""A ledger behind TLS as a process, with the CAs and certificates of those who call it."""

import json
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import grpc
from cryptography import x509

from statements.ledger_client import LedgerClient, Receipt
from statements.tls import ClientTls
from tests.pki import Holder, alone, authority, write_folder
from tests.unit.ledger.cast import Cast
from tests.unit.ledger.process import LedgerProcess, found_log


class City:
    """A ledger that serves over TLS on loopback, its CA, and those of its clients."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.cast: Cast = found_log(place / "log")
        self.operator = authority("operator")
        self.aurora = authority("aurora")
        self.holders = {
            "aurora": self.aurora.issue("node 1"),
            "auditor": alone("auditor"),
            "probe": alone("probe"),
            "nobody": alone("nobody"),
        }
        self.listed: dict[str, tuple[Holder, Sequence[str]]] = {
            "aurora": (self.aurora, ["append"]),
            "auditor": (self.holders["auditor"], ["read"]),
            "probe": (self.holders["probe"], ["monitor"]),
            "nobody": (self.holders["nobody"], []),
        }
        self.tls = place / "tls"
        self.renew()
        self.list_clients()
        self.ledger = LedgerProcess(
            place / "log", options=("--beat", "0.1", "--tls", str(self.tls))
        ).start()
        assert self.cast.party.place is None
        with self.client("aurora") as client:
            assert isinstance(client.append([self.cast.party.open()])[0], Receipt)

    def renew(self) -> Holder:
        """Give the ledger a new certificate."""
        own = self.operator.issue("ledger", hosts=["127.0.0.1", "ledger.example"])
        write_folder(self.tls, own)
        return own

    def list_clients(self, tiles: str = "clients", **change: tuple[Holder, Sequence[str]]) -> None:
        write_folder(self.tls, clients=self.listed | change, tiles=tiles)

    def folder(self, name: str, own: Holder | None, trusts: Holder | None = None) -> ClientTls:
        folder = write_folder(self.place / f"of {name}", own, trusts=[trusts or self.operator])
        return ClientTls(folder, every_s=0.0)

    def client(self, name: str) -> LedgerClient:
        return LedgerClient(self.ledger.grpc, self.folder(name, self.holders[name]))

    def channel(self, own: Holder | None, trusts: Holder | None = None) -> grpc.Channel:
        roots = (trusts or self.operator).cert_pem
        return grpc.secure_channel(
            self.ledger.grpc,
            grpc.ssl_channel_credentials(roots, own.key_pem, own.cert_pem)
            if own
            else grpc.ssl_channel_credentials(roots),
            options=[("grpc.use_local_subchannel_pool", 1)],
        )

    @property
    def ports(self) -> tuple[int, int]:
        """Those of gRPC and of the static files."""
        grpc_port, http_port = (
            int(one.rpartition(":")[2]) for one in (self.ledger.grpc, self.ledger.http)
        )
        return grpc_port, http_port

    def shown(self, port: int | None = None) -> int:
        """The serial number of the certificate that the ledger shows now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.operator.cert_pem.decode())
        address = ("127.0.0.1", port or self.ports[0])
        with (
            socket.create_connection(address, timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="ledger.example") as secured,
        ):
            der = secured.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    def verify_serving(self) -> None:
        """Refuse a ledger that does not log what an honest author says."""
        assert self.ledger.alive, self.ledger.log.read_text()
        with self.client("aurora") as client:
            (receipt,) = client.append([self.cast.party.summary()])
        assert isinstance(receipt, Receipt)

    def told(self, reason: str) -> list[dict[str, str]]:
        """What the ledger's log says with a reason."""
        lines = self.ledger.log.read_text().splitlines()
        rows = [json.loads(line) for line in lines if line.startswith("{")]
        return [row for row in rows if row.get("reason") == reason]
