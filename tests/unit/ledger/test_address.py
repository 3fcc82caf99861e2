"""Addresses to listen on."""

import pytest

from ledger.address import Address, parse_address
from ledger.errors import SetupError


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("127.0.0.1:7701", Address("127.0.0.1", 7701), "127.0.0.1:7701"),
        ("127.8.9.1:0", Address("127.8.9.1", 0), "127.8.9.1:0"),
        ("localhost:65535", Address("127.0.0.1", 65_535), "127.0.0.1:65535"),
        ("[::1]:7701", Address("::1", 7701), "[::1]:7701"),
    ],
)
def test_loopback_is_listened_on(text: str, address: Address, shown: str) -> None:
    assert parse_address(text, "--grpc") == address
    assert str(address) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7701",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:²",
        "127.0.0.1:" + "9" * 5000,
        "example.com:1",
        ":1",
        "[]:1",
        "127.1:1",
    ],
)
def test_what_is_no_host_and_port_is_refused_and_says_which_option(text: str) -> None:
    with pytest.raises(SetupError, match="--http: not HOST:PORT") as refused:
        parse_address(text, "--http")
    assert refused.value.reason == "BAD_ADDRESS"


BEYOND = ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:8.8.8.8]:1", "[::ffff:127.0.0.1]:1"]


@pytest.mark.parametrize("text", BEYOND)
def test_what_others_can_reach_takes_tls(text: str) -> None:
    with pytest.raises(SetupError, match="give --tls DIR") as refused:
        parse_address(text, "--grpc")
    assert refused.value.reason == "TLS_REQUIRED"
    assert str(parse_address(text, "--grpc", secured=True)) == text
