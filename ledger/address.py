"""Addresses to listen on: loopback alone, as long as the service speaks without TLS."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from ledger.errors import SetupError

_PORT: Final = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, option: str) -> Address:
    """Return the loopback address that ``HOST:PORT`` names; ``option`` names it in errors.

    Raises :class:`SetupError` for anything else.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65_535:
        raise SetupError("BAD_ADDRESS", f"{option}: not HOST:PORT, like 127.0.0.1:7701: {text!r}")
    host = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise SetupError(
            "NOT_LOOPBACK",
            f"{option}: this version listens on loopback only, without TLS: use 127.0.0.1 or [::1], not {host!r}",
        )
    return Address(host, int(port))
