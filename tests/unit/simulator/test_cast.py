import stat
from pathlib import Path

import pytest

from attestor.config import read_config
from simulator.demo.cast import make_keys, pin_agreement
from simulator.demo.lab import Lab, LabNode, Replay, make_node_keys, write_config
from simulator.demo.narration import rfc3339
from simulator.demo.simulated import simulated_plot
from statements.keys import read_signing_key
from statements.kinds import Kind
from statements.pins import Role, read_pins
from statements.reading_keys import read_reading_key
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


def test_summaries_of_the_simulated_story_are_sealed_to_readers_whose_keys_were_made(
    tmp_path: Path,
) -> None:
    plot = simulated_plot()
    cast = make_keys(tmp_path / "keys", plot.addition)
    ledger = LedgerEntry(origin=ORIGIN, vkey=VKEY, key=f"sha256:{'1' * 64}")
    pin_agreement(cast, ledger, plot.terms, tmp_path / "agreement.toml")
    pins = read_pins((tmp_path / "agreement.toml").read_bytes())
    assert set(pins.disclosures.of_kind) == {Kind.SUMMARY}
    readers = pins.disclosures.of_kind[Kind.SUMMARY].readers
    assert [reader.id for reader in readers] == ["auditor", "meridian"]
    for reader in readers:
        assert read_reading_key(cast.reading_key(reader.id)).public == reader.key


def test_everybody_has_a_recovery_key_that_is_pinned(tmp_path: Path) -> None:
    cast = make_keys(tmp_path / "keys")
    ledger = LedgerEntry(origin=ORIGIN, vkey=VKEY, key=f"sha256:{'1' * 64}")
    pin_agreement(cast, ledger, {}, tmp_path / "agreement.toml")
    pins = read_pins((tmp_path / "agreement.toml").read_bytes())
    for pin in pins.by_key.values():
        if pin.role is not Role.LEDGER:
            assert read_signing_key(cast.recovery_key(pin.id)).key_id == pin.recovery


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
