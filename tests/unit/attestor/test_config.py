"""The configuration: what is wrong is named, with its place."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestor.config import read_config
from attestor.errors import ConfigError
from statements.keys import write_signing_key
from statements.signing import SigningKey
from tests.pki import authority, write_folder
from tlog.note import Signer

AGREEMENT = """
[agreement]
id = "test-pause"
version = 1
title = "A pause for tests"
[[parties]]
id = "lab-a"
key = "sha256:{party}"
[[ledgers]]
origin = "{origin}"
vkey = "{vkey}"
key = "sha256:{ledger}"
[witnesses]
policy = "quorum none\\n"
[windows]
length = "60 s"
late_grace = "10 min"
tick = "60 s"
"""

CONFIG = """
ledger = "127.0.0.1:7070"
agreement = "agreement.toml"
spool = "spool.sqlite"
[[nodes]]
name = "n1"
key = "n1.key"
source = { kind = "nvml" }
[[nodes]]
name = "n2"
key = "n2.key"
spool = "own.sqlite"
[[nodes.source]]
kind = "nvml"
period = "1 s"
[[nodes.source]]
kind = "replay"
path = "r.csv.gz"
at = 2027-01-15T08:00:00Z
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    agreement(tmp_path, "rehearsal.test")
    for name in ("n1", "n2"):
        write_signing_key(tmp_path / f"{name}.key", SigningKey.generate())
    return tmp_path


def agreement(folder: Path, origin: str) -> None:
    vkey = Signer(origin, Ed25519PrivateKey.generate()).vkey
    text = AGREEMENT.format(party="a" * 64, ledger="b" * 64, origin=origin, vkey=vkey)
    (folder / "agreement.toml").write_text(text)


def test_how_chips_are_sampled_is_one_of_two(folder: Path) -> None:
    refused = refusal(folder, CONFIG.replace('kind = "nvml" }', 'kind = "nvml", samples = "all" }'))
    assert refused.reason == "WRONG_VALUE"
    assert '"driver" or "polled"' in str(refused)


def refusal(folder: Path, text: str) -> ConfigError:
    (folder / "agent.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(folder / "agent.toml")
    return caught.value


def test_nodes_share_a_spool_or_have_their_own(folder: Path) -> None:
    (folder / "agent.toml").write_text(CONFIG)
    config = read_config(folder / "agent.toml")
    assert [node.spool.name for node in config.nodes] == ["spool.sqlite", "own.sqlite"]
    assert [kind for kind, _ in config.nodes[1].sources] == ["nvml", "replay"]
    assert config.pins.window_ms == 60_000
    assert config.log.origin == "rehearsal.test"
    assert (config.patience_s, config.drain_s) == (2.0, 10.0)


@pytest.mark.parametrize(
    ("old", "new", "reason", "says"),
    [
        ('spool = "spool.sqlite"', "", "MISSING_KEY", "nodes 1: spool"),
        ('key = "n1.key"', "", "MISSING_KEY", "nodes 1: key"),
        ('key = "n2.key"', 'key = "n1.key"', "KEY_TWICE", "n2 and n1"),
        ('key = "n2.key"', 'key = "none.key"', "KEY_UNREADABLE", "nodes 2"),
        ('name = "n2"', 'name = "n1"', "NAME_TWICE", "n1"),
        ('name = "n1"', 'name = ""', "WRONG_TYPE", "name"),
        ('name = "n1"', "name = 1", "WRONG_TYPE", "name"),
        ("ledger =", f'patience = "{"9" * 400} s"\nledger =', "BAD_DURATION", "patience"),
        ("ledger =", f"patience = {'9' * 5_000}\nledger =", "NOT_TOML", "agent.toml"),
        ("ledger =", f"deep = {'[' * 20_000}\nledger =", "NOT_TOML", "agent.toml"),
        ("at = 2027-01-15T08:00:00Z", 'at = "1815-12-10T00:00:00Z"', "BAD_TIME", "1970"),
        ('source = { kind = "nvml" }', 'source = "nvml"', "WRONG_TYPE", "source"),
        ('source = { kind = "nvml" }', "source = []", "WRONG_TYPE", "source"),
        ('ledger = "127.0.0.1:7070"', "", "MISSING_KEY", "ledger"),
        ('"agreement.toml"', '"absent.toml"', "NO_AGREEMENT", "absent.toml"),
        ('"agreement.toml"', '"agent.toml"', "NO_LEDGER", "agent.toml"),
        ("ledger =", 'patience = "soon"\nledger =', "BAD_DURATION", "patience"),
        ("ledger =", 'checkpoint_every = "1 ms"\nledger =', "OUT_OF_RANGE", "checkpoint_every"),
        ("ledger =", 'origin = "other"\nledger =', "UNKNOWN_LEDGER", "other"),
        ("ledger =", "leger = 1\nledger =", "UNKNOWN_KEY", "leger"),
        ('kind = "replay"', 'kind = "dcgm"', "UNKNOWN_SOURCE", "nodes 2: source 2"),
        ('name = "n1"', 'name = "n1"\ntypo = 1', "UNKNOWN_KEY", "nodes 1"),
        ("ledger =", "ledger", "NOT_TOML", "agent.toml"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, old: str, new: str, reason: str, says: str) -> None:
    error = refusal(folder, CONFIG.replace(old, new))
    assert error.reason == reason
    assert says in str(error)


@pytest.mark.parametrize("length", ["500 ms", "2 d"])
def test_windows_of_a_length_that_cannot_be_attested_are_refused(folder: Path, length: str) -> None:
    path = folder / "agreement.toml"
    path.write_text(path.read_text().replace('length = "60 s"', f'length = "{length}"'))
    assert refusal(folder, CONFIG).reason == "WINDOW_LENGTH"


def test_an_agreement_with_several_logs_asks_which(folder: Path) -> None:
    path = folder / "agreement.toml"
    vkey = Signer("other.test", Ed25519PrivateKey.generate()).vkey
    path.write_text(
        f'{path.read_text()}\n[[ledgers]]\norigin = "other.test"\nvkey = "{vkey}"\nkey = "sha256:{"c" * 64}"\n'
    )
    error = refusal(folder, CONFIG)
    assert error.reason == "WHICH_LOG"
    assert "rehearsal.test, other.test" in str(error)


def test_a_key_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "n1.key").chmod(0o644)
    assert refusal(folder, CONFIG).reason == "KEY_READABLE"


def test_a_folder_of_certificates_is_read_at_the_start_and_what_is_wrong_with_it_named(
    folder: Path,
) -> None:
    path = folder / "agent.toml"
    path.write_text(CONFIG)
    assert read_config(path).tls is None
    path.write_text(f'tls = "tls"\n{CONFIG}')
    ca = authority("ca")
    (folder / "tls").mkdir()
    for spoil, reason in (
        (lambda: None, "CERTIFICATE_UNREADABLE"),
        (
            lambda: write_folder(folder / "tls", ca.issue("old", hours=(-2, -1)), trusts=[ca]),
            "EXPIRED",
        ),
        (lambda: (folder / "tls/key.pem").chmod(0o644), "KEY_READABLE"),
    ):
        spoil()
        with pytest.raises(ConfigError, match=r"agent\.toml: tls: .*/tls/") as refused:
            read_config(path)
        assert refused.value.reason == reason
    write_folder(folder / "tls", ca.issue("node"))
    tls = read_config(path).tls
    assert tls is not None
    assert tls.credentials().own is not None


def test_a_real_log_gets_no_replayed_telemetry(folder: Path) -> None:
    agreement(folder, "log.example")
    error = refusal(folder, CONFIG)
    assert error.reason == "NOT_A_REHEARSAL"
    assert "replay" in str(error)


def test_a_configuration_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "agent.toml")
    assert caught.value.reason == "NO_CONFIG"
