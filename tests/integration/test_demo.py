"""The demo as a person runs it: a process of its own, told to its end, and what it keeps."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.demo.ending import further
from simulator.demo.sealed import look_into
from statements.kinds import Kind
from statements.reading_keys import read_reading_key
from statements.sealing import ReadingKey
from verifier.agreement.parse import parse_agreement
from verifier.evidence.gather import gather
from verifier.mirror.prefix import fetch_prefix, served_log
from verifier.mirror.source import FolderSource

TELEMETRY_WORDS = re.compile(
    r"enrols|falls? silent|COMPLIANT|VIOLATION|UNRESOLVED|ANOMALY|interval|rhythm|energy at the wall"
)
LABEL = re.compile(r"\((?:recorded|simulated)[) ]|recorded|simulated")


@dataclass(frozen=True)
class Telling:
    """One run of the demo: where it was kept, its exit status, what it printed."""

    kept: Path
    status: int
    stdout: str
    stderr: str

    @property
    def outcome(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.stdout)
        return found


def tell(kept: Path, *options: str) -> Telling:
    command = [sys.executable, "-m", "stillwatch", "demo", "--keep", str(kept), "-o", "json"]
    done = subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    return Telling(kept, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Telling:
    return tell(tmp_path_factory.mktemp("demo") / "kept")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, traces: Path) -> Telling:
    return tell(tmp_path_factory.mktemp("demo") / "kept", "--telemetry", str(traces / "mlperf"))


def as_text_commands(telling: Telling) -> list[list[str]]:
    """Return the commands that the story's end names for a kept folder, as words."""
    return [line.split() for line in further(telling.kept) if line.startswith("stillwatch ")]


def processes_with(words: str) -> list[str]:
    """Return the command lines of running processes that hold ``words``."""
    lines = [
        path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists()
    ]
    return [line for line in lines if words in line]


def promises(telling: Telling) -> dict[str, bool]:
    rows = telling.outcome["promises"]
    assert isinstance(rows, list)
    return {row["promise"]: row["met"] for row in rows}


def test_the_simulated_story_goes_as_told(simulated: Telling) -> None:
    assert simulated.status == 0, simulated.stderr
    assert simulated.outcome["went_as_told"] is True
    verdicts = simulated.outcome["verdicts"]
    assert isinstance(verdicts, dict)
    assert verdicts["aurora"] == "compliant"
    assert verdicts["borealis"] == "violation"
    assert verdicts["cygnus"] in {"not_assessed", "unresolved"}


def test_the_lift_comes_only_after_the_ruling_and_its_condition(simulated: Telling) -> None:
    met = promises(simulated)
    assert met["the lift's condition alone does not lift the pause"]
    assert met["one judge's votes rule nothing"]
    assert met["the pause is lifted after the ruling and its condition"]


def test_a_second_audit_from_the_mirror_alone_gives_the_same_bytes(simulated: Telling) -> None:
    verdicts = simulated.kept / "verdicts"
    assert (verdicts / "in-force.json").read_bytes() == (verdicts / "again.json").read_bytes()


def test_what_is_sealed_opens_for_its_readers_and_neither_for_the_ledger_nor_for_a_rival(
    simulated: Telling,
) -> None:
    met = promises(simulated)
    assert met["every summary is sealed, and opens for the auditor"]
    assert met[
        "the ledger cannot read what is sealed: no file of its folder holds a summary in plain"
    ]
    assert met["a rival who mirrors the log learns of no lab what its chips did, and says so"]
    rival = json.loads((simulated.kept / "verdicts" / "rival.json").read_text())
    assert "compliant" not in {party["verdict"] for party in rival["parties"]}


def test_a_ledger_that_kept_one_summary_in_plain_is_found_out(
    simulated: Telling, tmp_path: Path
) -> None:
    kept, log = simulated.kept, tmp_path / "log"
    shutil.copytree(kept / "log", log)
    agreement = parse_agreement((kept / "agreement.toml").read_bytes())
    to = agreement.pins.disclosures.of_kind[Kind.SUMMARY]
    key = read_reading_key(kept / "keys" / "auditor.reading.key")
    assert look_into(log, agreement, to, key).in_plain == 0
    source = FolderSource(log)
    evidence = gather(
        agreement.pins, fetch_prefix(source, served_log(source, agreement.pins)), [key]
    )
    records = evidence.records
    row = next(row for row, kind in enumerate(records.kind.tolist()) if kind == Kind.SUMMARY)
    stored = evidence.prefix.bodies[int(records.index[row])] or b""
    (log / "private" / "notes").write_bytes(b"..." + evidence.opener.open(records, row, stored))
    assert look_into(log, agreement, to, key).in_plain == 1
    stranger = look_into(log, agreement, to, ReadingKey.generate())
    assert stranger.sealed > stranger.opened == 0


def test_an_audit_of_the_log_as_it_was_gives_the_bytes_that_it_gave_then(
    simulated: Telling, tmp_path: Path
) -> None:
    """The log has grown since: by the verdict itself, by a ruling on it, and by the lift."""
    kept, out = simulated.kept, tmp_path / "verdict.json"
    first = (kept / "verdicts" / "in-force.json").read_bytes()
    then = json.loads(first)
    period, size = f"{then['period']['from']}/{then['period']['to']}", then["logs"][0]["size"]
    command = [sys.executable, "-m", "stillwatch", "audit", "run", "--out", str(out)]
    command += ["--agreement", str(kept / "agreement.toml"), "--period", period]
    command += ["--open-with", str(kept / "keys" / "meridian.reading.key")]
    for log in (kept / "log", kept / "mirror"):
        asked = [*command, "--log", str(log), "--at-size", str(size)]
        done = subprocess.run(asked, capture_output=True, check=False)
        assert done.returncode == 1, done.stderr
        assert out.read_bytes() == first
    asked = [*command, "--log", str(kept / "log")]
    subprocess.run(asked, capture_output=True, check=False)
    now = json.loads(out.read_bytes())
    assert now["logs"][0]["size"] > size
    assert out.read_bytes() != first


@pytest.mark.parametrize(("zone", "seed"), [("Asia/Kathmandu", "1"), ("America/St_Johns", "2")])
def test_an_audit_elsewhere_at_another_hour_gives_the_same_bytes(
    simulated: Telling, tmp_path: Path, zone: str, seed: str
) -> None:
    kept = simulated.kept
    first = (kept / "verdicts" / "in-force.json").read_bytes()
    period = json.loads(first)["period"]
    copy = tmp_path / "elsewhere"
    shutil.copytree(kept / "mirror", copy)
    command = [
        sys.executable, "-m", "stillwatch", "audit", "run",
        "--agreement", str(kept / "agreement.toml"), "--log", str(copy),
        "--period", f"{period['from']}/{period['to']}", "--out", str(tmp_path / "verdict.json"),
        "--open-with", str(kept / "keys" / "meridian.reading.key"),
    ]  # fmt: skip
    env = {**os.environ, "TZ": zone, "PYTHONHASHSEED": seed, "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=env, check=False)
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "verdict.json").read_bytes() == first


def test_what_is_kept_can_be_looked_at_with_the_commands_that_the_end_names(
    simulated: Telling,
) -> None:
    kept = simulated.kept
    assert {path.name for path in kept.iterdir()} >= {
        "agreement.toml", "log", "mirror", "telemetry.json", "verdicts",
    }  # fmt: skip
    labels = json.loads((kept / "telemetry.json").read_text())
    assert {row["telemetry"] for row in labels.values()} == {"simulated"}
    shown = as_text_commands(simulated)
    assert len(shown) == 5
    for words in shown:
        done = subprocess.run(
            [sys.executable, "-m", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == (1 if words[1:3] == ["audit", "show"] else 0), done.stderr
        assert done.stdout
        if words[1:3] == ["verify", "report"]:
            assert "[SAME_BYTES]" in done.stdout
            assert "auditor logged it at index" in done.stdout


def test_every_line_about_telemetry_says_how_it_was_made(simulated: Telling) -> None:
    lines = [line for line in simulated.stderr.splitlines() if TELEMETRY_WORDS.search(line)]
    assert len(lines) > 6
    for line in lines:
        assert LABEL.search(line), line


def test_no_process_is_left_behind(simulated: Telling) -> None:
    assert simulated.status == 0
    assert not processes_with(str(simulated.kept))


def test_a_real_training_run_is_unresolved_and_its_interval_holds_the_truth(
    recorded: Telling,
) -> None:
    assert recorded.status == 0, recorded.stderr
    met = promises(recorded)
    assert met["the interval holds the truth"]
    assert met[
        "aurora's cap is unresolved from power alone, and the verdict says what would settle it"
    ]
    verdicts = recorded.outcome["verdicts"]
    assert isinstance(verdicts, dict)
    assert verdicts["aurora"] in {"anomaly", "unresolved"}
    assert "upper/truth 2.95" in recorded.stderr
    assert "bound by peak times time" in recorded.stderr
    assert recorded.outcome["telemetry"] == {
        "aurora": "recorded", "borealis": "recorded", "cygnus": "simulated",
    }  # fmt: skip


def test_lines_of_the_recorded_story_are_labelled(recorded: Telling) -> None:
    for line in recorded.stderr.splitlines():
        if TELEMETRY_WORDS.search(line):
            assert LABEL.search(line), line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_takes_its_processes_with_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    kept = tmp_path / "kept"
    command = [sys.executable, "-m", "stillwatch", "demo", "--keep", str(kept)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as demo:
        try:
            assert demo.stderr is not None
            for line in demo.stderr:
                if "enrols" in line:
                    break
            assert processes_with(str(kept / "log"))
            demo.send_signal(number)
            demo.communicate(timeout=20)
        finally:
            demo.kill()
    assert demo.returncode != 0
    assert not processes_with(str(kept))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--telemetry", "."], "--telemetry wants the folder that holds train/"),
        (["--keep", "."], "is not empty"),
    ],
)
def test_a_folder_that_does_not_fit_is_one_line_that_says_what_to_do(
    tmp_path: Path, options: list[str], words: str
) -> None:
    (tmp_path / "something").touch()
    done = subprocess.run(
        [sys.executable, "-m", "stillwatch", "demo", *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode in {2, 4}
    assert words in done.stderr
    assert "Traceback" not in done.stderr
