"""Addresses to listen on: without TLS those that only this machine itself can reach."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from ledger.errors import SetupError
from statements.tls import is_loopback

_PORT: Final = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, option: str, *, secured: bool = False) -> Address:
    """Return the address that ``HOST:PORT`` names; ``option`` names it in errors.

    Raises :class:`SetupError` for what is no address, and without TLS (``secured``) for all but loopback.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    host = "127.0.0.1" if host == "localhost" else host
    if not colon or not _PORT.fullmatch(port) or int(port) > 65_535 or not _is_address(host):
        raise SetupError("BAD_ADDRESS", f"{option}: not HOST:PORT, like 127.0.0.1:7701: {text!r}")
    if not secured and not is_loopback(host):
        raise SetupError(
            "TLS_REQUIRED",
            f"{option}: {host} can be reached from elsewhere, and takes TLS: give --tls DIR, or use 127.0.0.1 or [::1]",
        )
    return Address(host, int(port))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
