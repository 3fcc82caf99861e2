"""The agent's commands, up to where a ledger is needed."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import stillwatch
from statements.keys import read_signing_key
from tests.unit.attestor.test_config import agreement


def run(*arguments: str) -> Result:
    return CliRunner().invoke(stillwatch.main, ["agent", *arguments])


def parsed(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("command", ["", "keygen", "enrol", "run", "once", "preview"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(*([command] if command else []), "--help")
    assert result.exit_code == 0
    assert "Example:" in result.output


def test_keygen_writes_a_key_for_its_owner_alone_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "n.key"
    found = parsed(run("keygen", "--key", str(path), "-o", "json"))
    assert found["node_id"] == read_signing_key(path).key_id.hex()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = run("keygen", "--key", str(path))
    assert again.exit_code == 4
    assert "KEY_EXISTS" in again.output


def test_once_shows_a_window_of_a_recording(record: Callable[..., Path]) -> None:
    path = str(record(chips=2, seconds=10))
    found = parsed(run("once", "--recording", path, "--seconds", "5", "-o", "json"))
    assert found["telemetry"] == "simulated"
    summary = found["summary"]
    assert isinstance(summary, dict)
    assert summary["chips"][1]["power_mean"] == 310
    assert summary["power_w"]["chips"][0] == [300] * 5
    assert summary["node"]["wall_energy_joules"] == 25_000
    text = run("once", "--recording", path, "--seconds", "5")
    assert "power_mean: 310" in text.output
    assert "telemetry: simulated" in text.output


def test_once_of_something_that_is_no_recording_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("hello")
    result = run("once", "--recording", str(tmp_path / "r"))
    assert result.exit_code == 4
    assert "CORRUPT" in result.output
    assert "Traceback" not in result.output


def test_preview_shows_exactly_what_leaves_and_who_may_read_it(
    tmp_path: Path, record: Callable[..., Path]
) -> None:
    agreement(tmp_path, "rehearsal.test")
    run("keygen", "--key", str(tmp_path / "n.key"))
    (tmp_path / "agent.toml").write_text(
        f"""
        ledger = "127.0.0.1:1"
        agreement = "agreement.toml"
        [[nodes]]
        name = "n1"
        key = "n.key"
        spool = "s.sqlite"
        source = {{ kind = "replay", path = "{record()}", at = "2027-01-15T08:00:00Z" }}
        """
    )
    arguments = ["preview", "--config", str(tmp_path / "agent.toml"), "--seconds", "5"]
    arguments += ["--at", "2027-01-15T08:01:00Z"]
    result = run(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    (shown,) = json.loads(result.stdout)
    assert [sent["kind"] for sent in shown["sent"]] == ["opening", "inventory", "summary"]
    assert {sent["header_bytes"] for sent in shown["sent"]} == {302}
    assert shown["sent"][2]["from"] == "2027-01-15T08:01:00.000Z"
    assert shown["sent"][2]["who_may_read"].startswith("everyone")
    assert shown["summary"]["samples_taken"] == 15
    assert not (tmp_path / "s.sqlite").exists()
    assert "who_may_read: everyone" in run(*arguments).output
    wrong = run(*arguments, "--node", "n9")
    assert "UNKNOWN_NODE" in wrong.output


def test_a_request_is_written_for_the_party_named(tmp_path: Path) -> None:
    agreement(tmp_path, "rehearsal.test")
    run("keygen", "--key", str(tmp_path / "n.key"))
    arguments = ["enrol", "request", "--key", str(tmp_path / "n.key"), "--token", "t"]
    arguments += ["--agreement", str(tmp_path / "agreement.toml"), "--name", "n1", "--chips", "8"]
    arguments += ["--out", str(tmp_path / "n1.json")]
    parsed(run(*arguments, "--party", "lab-a", "-o", "json"))
    written = json.loads((tmp_path / "n1.json").read_text())
    assert written["party"] == "a" * 64
    unknown = run(*arguments, "--party", "lab-z")
    assert "UNKNOWN_PARTY" in unknown.output
    assert "lab-a" in unknown.output
