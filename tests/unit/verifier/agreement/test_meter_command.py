"""``stillwatch meter push``, as the holder of a meter types it."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from google.protobuf.message import Message

import stillwatch
from protos.stillwatch.statement.v1 import summary_pb2
from simulator.demo.cast import make_keys, pin_agreement
from statements.publication import Published
from verifier.agreement import speaking
from verifier.agreement.pinning import LedgerEntry

METER = """
[[meters]]
id = "grid"
key = "sha256:"
party = "aurora"
sites = ["aurora-hall"]
systematic_bound = "1 %"
"""
VKEY = "log.example.org/frontier-pause+963894f2+AXtgk/mt9rFlPNNv2Tq0L/1GeP5hKdK39bHpaXoMrpnG"
FROM, TO = "2026-06-01T00:00:00Z", "2026-06-01T01:00:00Z"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    cast = make_keys(tmp_path / "keys", METER)
    ledger = LedgerEntry(origin="rehearsal.example/x", vkey=VKEY, key="sha256:" + "7" * 64)
    pin_agreement(cast, ledger, {}, tmp_path / "agreement.toml")
    return tmp_path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Message, tuple[int, int] | None]]:
    """What would have been logged: the ledger's side has its own tests."""
    sent: list[tuple[Message, tuple[int, int] | None]] = []

    def publish(*given: object, period: tuple[int, int] | None, **rest: object) -> Published:
        message = given[2]
        assert isinstance(message, Message)
        sent.append((message, period))
        return Published(b"s" * 32, 7, b"")

    monkeypatch.setattr(speaking, "publish", publish)
    return sent


def push(place: Path, *words: str, key: str = "grid") -> Result:
    who = ["--key", f"{place}/keys/{key}.key", "--ledger", "127.0.0.1:1"]
    about = ["--agreement", f"{place}/agreement.toml", "--subject", "aurora-hall"]
    return CliRunner().invoke(stillwatch.main, ["meter", "push", *who, *about, *words])


def energies(start: str, end: str) -> list[str]:
    return ["--from", FROM, "--to", TO, "--energy-start", start, "--energy-end", end]


def test_two_readings_of_a_counter_are_said_of_the_time_between_them(
    place: Path, said: list[tuple[Message, tuple[int, int] | None]]
) -> None:
    result = push(place, *energies("1000.5", "2000"))
    assert result.exit_code == 0, result.output
    ((message, period),) = said
    assert message == summary_pb2.MeterReading(
        subject="aurora-hall", energy_start_mj=1_000_500, energy_end_mj=2_000_000
    )
    assert period == (1_780_272_000_000, 1_780_275_600_000)
    assert "aurora-hall drew 999.5 J" in result.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (energies("2", "1"), "only rises"),
        (energies("-1", "1"), "only rises"),
        (energies("nan", "1"), "only rises"),
        (energies("0", "1e300"), "only rises"),
        (["--from", TO, "--to", FROM, "--energy-start", "0", "--energy-end", "1"], "is after --to"),
        (["--from", "May", "--to", TO, "--energy-start", "0", "--energy-end", "1"], "--from"),
    ],
)
def test_what_no_meter_reads_is_refused_before_it_is_sent(
    place: Path,
    said: list[tuple[Message, tuple[int, int] | None]],
    words: list[str],
    expected: str,
) -> None:
    result = push(place, *words)
    assert result.exit_code == 2
    assert expected in result.output
    assert not said


def test_a_party_is_not_its_own_meter(
    place: Path, said: list[tuple[Message, tuple[int, int] | None]]
) -> None:
    result = push(place, *energies("1", "2"), key="aurora")
    assert result.exit_code == 2
    assert "takes one of meters" in result.output
    assert not said


def test_the_agreement_names_the_meter(place: Path) -> None:
    tree = tomllib.loads((place / "agreement.toml").read_text())
    assert tree["meters"][0]["id"] == "grid"
