"""The agent's commands, up to where a ledger is needed."""

import io
import json
import shlex
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import ANY

import click
import pytest
from click.testing import CliRunner, Result

import stillwatch
from attestor.channels import Reading
from attestor.recording import RecordedChip, RecordingHeader, RecordingWriter
from attestor.waiting import WatchedClock
from statements.keys import hold_key, read_signing_key
from tests.unit.attestor.test_config import agreement
from tests.unit.statements.conftest import RealLedger


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(stillwatch.main, ["agent", *arguments], env=environment)


def parsed(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    "command",
    [
        "",
        "keygen",
        "enrol",
        "enrol request",
        "enrol sign",
        "run",
        "once",
        "preview",
        "convert",
        "record",
    ],
)
def test_every_command_has_help_with_an_example_that_parses(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    _, _, example = result.output.partition("Example:")
    shown = example.partition("Options:")[0].replace("\\\n", " ")
    lines = [line.partition("stillwatch ")[2] for line in shown.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line]
    assert commands
    for words in commands:
        parse(stillwatch.main, words)


def parse(command: click.Command, words: list[str]) -> None:
    """Parse a command line as click would, required options included."""
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    if words != ["--help"]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STILLWATCH_ENROL_TOKEN", "t")
            command.make_context("stillwatch", words)


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


def test_once_of_a_node_without_a_driver_says_what_to_install() -> None:
    result = run("once", "--seconds", "1")
    if result.exit_code == 0:
        pytest.skip("this machine has NVIDIA's driver")
    assert result.exit_code == 4
    assert "LIBRARY_NOT_FOUND" in result.stderr
    assert "install the NVIDIA driver" in result.stderr
    assert result.stdout == ""


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
    assert shown["opening"]["telemetry"] == "TELEMETRY_SIMULATED"
    assert shown["opening"]["key"] == read_signing_key(tmp_path / "n.key").spki.hex()
    assert shown["opening"]["logs"] == ["rehearsal.test"]
    assert shown["summary"]["energy_end_at"] == [1800000065000] * 2
    assert shown["sent"][2]["from"] == "2027-01-15T08:01:00.000Z"
    assert shown["sent"][2]["who_may_read"].startswith("everyone")
    assert shown["summary"]["samples_taken"] == 15
    assert not (tmp_path / "s.sqlite").exists()
    assert "who_may_read: everyone" in run(*arguments).output
    wrong = run(*arguments, "--node", "n9")
    assert "UNKNOWN_NODE" in wrong.output


@pytest.mark.parametrize("offset", range(5))
def test_a_preview_holds_its_whole_window_wherever_that_begins(
    tmp_path: Path, record: Callable[..., Path], offset: int
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
    at = f"2027-01-15T08:00:0{offset}Z"
    config = str(tmp_path / "agent.toml")
    result = run("preview", "--config", config, "--seconds", "5", "--at", at, "-o", "json")
    (shown,) = json.loads(result.stdout)
    assert shown["summary"]["samples_taken"] == shown["summary"]["samples_expected"] == 15


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


def test_a_token_may_stay_out_of_sight_and_a_folder_that_is_not_there_is_one_line(
    tmp_path: Path,
) -> None:
    agreement(tmp_path, "rehearsal.test")
    run("keygen", "--key", str(tmp_path / "n.key"))
    arguments = ["enrol", "request", "--key", str(tmp_path / "n.key"), "--party", "lab-a"]
    arguments += ["--agreement", str(tmp_path / "agreement.toml"), "--name", "n1", "--chips", "8"]
    hidden = {"STILLWATCH_ENROL_TOKEN": "t"}
    assert run(*arguments, "--out", str(tmp_path / "n1.json"), **hidden).exit_code == 0
    assert run(*arguments, "--out", str(tmp_path / "n1.json")).exit_code == 2
    nowhere = run(*arguments, "--out", str(tmp_path / "none" / "n1.json"), **hidden)
    assert nowhere.exit_code == 4
    assert "UNWRITABLE" in nowhere.output
    assert nowhere.exception is None or isinstance(nowhere.exception, SystemExit)


@dataclass
class Operator:
    """A new operator of one node, before the ledger and the party of a real agreement."""

    folder: Path
    ledger: RealLedger
    recording: Path
    at_ms: int = 1_800_000_000_000

    def __post_init__(self) -> None:
        self.key = str(self.folder / "n1.key")
        self.agreement = str(self.ledger.party.with_name("agreement.toml"))
        assert run("keygen", "--key", self.key).exit_code == 0

    def configure(self, ledger: str) -> str:
        path = self.folder / "agent.toml"
        path.write_text(
            f"""
            ledger = "{ledger}"
            agreement = "{self.agreement}"
            spool = "spool.sqlite"
            drain = "1 s"
            [[nodes]]
            name = "n1"
            key = "n1.key"
            source = {{ kind = "replay", path = "{self.recording}", at = "2027-01-15T08:00:00Z" }}
            """
        )
        return str(path)

    def request(self, name: str = "n1", token: str = "once") -> str:
        out = self.folder / f"{name}.json"
        arguments = ["enrol", "request", "--key", self.key, "--agreement", self.agreement]
        arguments += ["--party", "aster", "--name", name, "--chips", "2", "--out", str(out)]
        assert run(*arguments, "--token", token).exit_code == 0
        return str(out)

    def sign(self, *requests: str, tokens: str, ledger: str = "") -> Result:
        arguments = ["enrol", "sign", "--party-key", str(self.ledger.party), "--site", "hall-2"]
        arguments += ["--ledger", ledger or self.ledger.target, "--agreement", self.agreement]
        for request in requests:
            arguments += ["--request", request]
        return run(*arguments, "-o", "json", STILLWATCH_ENROL_TOKEN=tokens)

    def attest(self, ledger: str, windows: int) -> Result:
        """Attest so many minutes at 600 times the speed."""
        clock = f"{time.time_ns() // 1_000_000 + 300}:{self.at_ms}:600"
        until = f"2027-01-15T08:{windows:02d}:00Z"
        arguments = ["run", "--config", self.configure(ledger), "--until", until]
        return run(*arguments, "--rehearsal-clock", clock, "-o", "json")


@pytest.fixture
def operator(tmp_path: Path, ledger: RealLedger, record: Callable[..., Path]) -> Operator:
    return Operator(tmp_path, ledger, record(chips=2, seconds=600))


def test_an_operator_gets_from_a_key_to_a_log_that_proves_every_window(operator: Operator) -> None:
    signed = parsed(operator.sign(operator.request(), tokens="other once"))
    node_id = read_signing_key(Path(operator.key)).key_id.hex()
    assert signed["enrolled"] == [{"name": "n1", "node_id": node_id, "index": ANY}]
    result = operator.attest(operator.ledger.target, 4)
    done = parsed(result)
    assert done == {"windows": ANY, "acknowledged": ANY, "left_in_spool": 0, "lost": 0}
    assert int(str(done["windows"])) >= 4
    assert done["acknowledged"] == int(str(done["windows"])) + 2
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert {"attesting", "source opened", "stopping: what was said is sent first"} <= {
        line["event"] for line in lines
    }


def test_a_node_that_is_not_enrolled_keeps_its_windows_and_says_why(operator: Operator) -> None:
    result = operator.attest(operator.ledger.target, 2)
    done = parsed(result)
    assert done["acknowledged"] == 0
    assert done["left_in_spool"] == int(str(done["windows"])) + 2
    assert "UNKNOWN_KEY" in result.stderr


def test_an_agent_that_never_reached_its_ledger_says_what_is_lost_and_fails(
    operator: Operator,
) -> None:
    result = operator.attest("127.0.0.1:1", 2)
    assert result.exit_code == 4
    assert json.loads(result.stdout)["lost"] >= 2
    assert "WINDOWS_LOST" in result.stderr
    assert "UNAVAILABLE" in result.stderr


def test_a_second_agent_with_the_same_key_is_refused(operator: Operator) -> None:
    with hold_key(Path(operator.key), wait=False):
        result = operator.attest(operator.ledger.target, 1)
    assert result.exit_code == 4
    assert "KEY_IN_USE" in result.output


def test_an_enrolment_that_fails_says_which_and_how_many_were_done(operator: Operator) -> None:
    result = operator.sign(operator.request(), tokens="once", ledger="127.0.0.1:1")
    assert result.exit_code == 4
    assert "n1 is not enrolled" in result.output
    assert "0 of 1" in result.output
    reused = operator.sign(operator.request("n1"), operator.request("n2"), tokens="once")
    assert "UNKNOWN_TOKEN" in reused.output
    (operator.folder / "noise").write_bytes(b"\xff\xfe")
    for name in ("noise", "absent"):
        refused = operator.sign(str(operator.folder / name), tokens="once")
        assert (refused.exit_code, "NOT_A_REQUEST" in refused.output) == (4, True)


def test_what_a_person_watches_warns_in_words_and_not_in_json(
    tmp_path: Path, record: Callable[..., Path]
) -> None:
    path = record(chips=1, seconds=600)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = run("once", "--recording", str(path), "--seconds", "600")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: source failed, node this node, source replay, why")
    assert "TRUNCATED" in result.stderr
    assert "failed_sources: replay" in result.stdout


def test_what_a_recording_calls_its_chips_moves_no_cursor(tmp_path: Path) -> None:
    chip = RecordedChip("GPU-0", "\x1b[2J\x1b]0;owned\x07H100")
    header = RecordingHeader("recorded", "tests", "Apache-2.0", (chip,), "1", 1_000)
    with RecordingWriter(tmp_path / "r", header, ["power_w"]) as writer:
        writer.write(Reading(0, 0, {"power_w": 99.5}))
    result = run("once", "--recording", str(tmp_path / "r"), "--seconds", "1")
    assert "H100" in result.stdout
    assert "\x1b" not in result.output


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_wait_that_somebody_watches_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    clock = WatchedClock("sampling n1", 1)
    before = time.time_ns() // 1_000_000
    assert abs(clock.now_ms() - before) < 1_000
    clock.sleep(1.1)
    assert "sampling n1" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
