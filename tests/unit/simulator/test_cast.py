import stat
from pathlib import Path

import pytest

from attestor.config import read_config
from simulator.demo.cast import make_keys, pin_agreement
from simulator.demo.lab import Lab, LabNode, Replay, make_node_keys, write_config
from simulator.demo.narration import rfc3339
from statements.pins import Role, read_pins
from statements.signing import SigningKey
from verifier.agreement.pinning import LedgerEntry

ORIGIN = "rehearsal.stillwatch.example/test"
VKEY = "log.example.org/frontier-pause+963894f2+AXtgk/mt9rFlPNNv2Tq0L/1GeP5hKdK39bHpaXoMrpnG"


@pytest.fixture
def agreement(tmp_path: Path) -> Path:
    cast = make_keys(tmp_path / "keys")
    key = f"sha256:{SigningKey.generate().key_id.hex()}"
    path = tmp_path / "agreement.toml"
    ledger = LedgerEntry(origin=ORIGIN, vkey=VKEY, key=key)
    pin_agreement(cast, ledger, {"stages.notice": "2 min"}, path)
    return path


def test_the_agreement_pins_the_keys_that_were_made(agreement: Path) -> None:
    pins = read_pins(agreement.read_bytes())
    parties = {pin.id for pin in pins.by_key.values() if pin.role is Role.PARTY}
    assert parties == {"aurora", "borealis", "cygnus"}
    assert [ledger.origin for ledger in pins.ledgers] == [ORIGIN]
    assert 'notice = "2 min"' in agreement.read_text()


def test_keys_are_for_their_owner_alone(agreement: Path) -> None:
    for path in (agreement.parent / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_ordinary_agent_reads_the_configuration_of_a_lab(
    agreement: Path, tmp_path: Path
) -> None:
    at_ms = 1_780_000_020_000
    replay = Replay({"kind": "replay", "path": "n1.csv.gz"}, "simulated", "simulator")
    lab = Lab(
        party="aurora",
        folder=tmp_path / "aurora",
        key=tmp_path / "keys" / "aurora.key",
        site="hall",
        nodes=(LabNode("n1", 8, "H100", replay), LabNode("n2", 8, "H100", replay)),
        does="idles",
    )
    make_node_keys(lab)
    write_config(lab, ledger="127.0.0.1:1", agreement=agreement, at_ms=at_ms)
    config = read_config(lab.config)
    assert [node.name for node in config.nodes] == ["n1", "n2"]
    assert config.log.origin == ORIGIN
    assert f'at = "{rfc3339(at_ms)}"' in lab.config.read_text()
    assert (lab.chips, lab.telemetry) == (16, "simulated")
