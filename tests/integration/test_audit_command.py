"""The audit as it is typed: from a served folder to a verdict, an exit status, and a logged statement."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protos.stillwatch.statement.v1 import governance_pb2, log_pb2
from statements.keys import write_signing_key
from statements.signing import SigningKey
from tests.unit.verifier.logbook import POWER_ONLY, TRAINING, Logbook, Pause, play
from verifier import cli
from verifier.instants import rfc3339


@pytest.fixture(scope="module")
def pause() -> Pause:
    return play({"borealis": TRAINING, "cygnus": None})


def _period(pause: Pause) -> str:
    return f"{rfc3339(pause.in_force[0])}/{rfc3339(pause.in_force[1])}"


def _served(pause: Pause, folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    pause.book.serve(folder / "log")
    (folder / "agreement.toml").write_text(pause.book.text)
    return ["--agreement", str(folder / "agreement.toml"), "--log", str(folder / "log")]


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.audit, list(arguments))


def test_a_violation_exits_with_1_and_is_shown_again(pause: Pause, tmp_path: Path) -> None:
    out = tmp_path / "verdict.json"
    run = _run("run", *_served(pause, tmp_path), "--period", _period(pause), "--out", str(out))
    assert run.exit_code == 1, run.output
    assert "borealis  VIOLATION" in run.stdout
    shown = _run("show", str(out))
    assert (shown.exit_code, shown.stdout) == (1, run.stdout)


def test_json_on_stdout_is_the_file(pause: Pause, tmp_path: Path) -> None:
    out = tmp_path / "verdict.json"
    named = ["--period", _period(pause), "--out", str(out), "-o", "json"]
    run = _run("run", *_served(pause, tmp_path), *named)
    assert run.stdout.encode() == out.read_bytes()
    tree = json.loads(run.stdout)
    assert [party["verdict"] for party in tree["parties"]] == [
        "compliant", "violation", "not_assessed",
    ]  # fmt: skip


def test_two_audits_give_the_same_bytes_and_a_mirror_gives_them_again(
    pause: Pause, tmp_path: Path
) -> None:
    served = _served(pause, tmp_path)
    mirror = str(tmp_path / "mirror")
    rest = ["--period", _period(pause), "-o", "json"]
    first = _run("run", *served, *rest, "--mirror", mirror)
    second = _run("run", *served, *rest)
    offline = _run("run", *served[:2], "--log", mirror, *rest)
    assert first.stdout == second.stdout == offline.stdout


@pytest.mark.parametrize(
    ("workers", "machine"),
    [
        (1, {"PYTHONHASHSEED": "1", "OPENBLAS_NUM_THREADS": "1", "TZ": "Asia/Tokyo"}),
        (2, {"PYTHONHASHSEED": "7", "OPENBLAS_NUM_THREADS": "2", "COLUMNS": "40"}),
        (2, {"PYTHONHASHSEED": "3", "TZ": "America/St_Johns", "LC_ALL": "C"}),
    ],
)
def test_an_audit_by_other_processes_elsewhere_gives_the_same_bytes(
    pause: Pause, tmp_path: Path, workers: int, machine: dict[str, str]
) -> None:
    rest = ["--period", _period(pause), "-o", "json"]
    here, elsewhere = tmp_path / "here", tmp_path / machine["PYTHONHASHSEED"] / "else where"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "stillwatch", "audit", "run", "--workers", str(workers)),
            *(*_served(pause, elsewhere), *rest),
        ],
        cwd=elsewhere,
        env={**os.environ, **machine},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.decode() == _run("run", *_served(pause, here), *rest).stdout


def _workers_of(pid: int) -> list[int]:
    """Return the processes that an audit has started to share its work out over."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [
            int(child)
            for child in children
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
    except FileNotFoundError:
        return []


def test_an_audit_that_loses_a_worker_concludes_nothing(pause: Pause, tmp_path: Path) -> None:
    out = tmp_path / "verdict.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "stillwatch", "audit", "run", "--workers", "2"),
            *(*_served(pause, tmp_path), "--period", _period(pause), "--out", str(out)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed: list[int] = []
    while process.poll() is None and not killed:
        killed = _workers_of(process.pid)[:1]
        time.sleep(0.001)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    printed, told = process.communicate(timeout=60)
    assert killed
    assert process.returncode == 4, told
    assert "[WORKER_DIED]" in told
    assert "Traceback" not in told
    assert printed == ""
    assert not out.exists()


def test_all_compliant_exits_with_0(tmp_path: Path) -> None:
    honest = play({})
    run = _run("run", *_served(honest, tmp_path), "--period", _period(honest))
    assert run.exit_code == 0, run.output


def test_inconclusive_exits_with_3(tmp_path: Path) -> None:
    doubtful = play({"aurora": POWER_ONLY})
    run = _run("run", *_served(doubtful, tmp_path), "--period", _period(doubtful))
    assert run.exit_code == 3, run.output


def test_the_stage_can_be_named_instead_of_a_period(pause: Pause, tmp_path: Path) -> None:
    run = _run("run", *_served(pause, tmp_path), "--period", "stage", "-o", "json")
    tree = json.loads(run.stdout)
    assert tree["period"]["from"] == rfc3339(pause.in_force[0])
    assert tree["stage"] == "in_force"
    assert run.exit_code == 1


def test_the_stage_is_nothing_before_entry_into_force(tmp_path: Path) -> None:
    book = Logbook.begin()
    book.tick()
    early = Pause(book, (0, 1))
    run = _run("run", *_served(early, tmp_path), "--period", "stage")
    assert run.exit_code == 4
    assert "[NOT_IN_FORCE]" in run.output


def test_a_tampered_log_cannot_be_audited(pause: Pause, tmp_path: Path) -> None:
    served = _served(pause, tmp_path)
    bundle = tmp_path / "log/tile/entries/000.p"
    path = next(bundle.iterdir())
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(bytes(data))
    run = _run("run", *served, "--period", _period(pause))
    assert run.exit_code == 4
    assert "[WRONG_ENTRIES]" in run.output


def contradicting(book: Logbook) -> None:
    """Log a tick over a tree that the log never was: a fork, in its own words."""
    other = book.copy()
    other.records[-1] = other.records[-2]
    book.say("ledger", log_pb2.Tick(checkpoint=other.note(), time=book.now_ms))


@pytest.mark.parametrize("false", [False, True])
def test_an_audit_of_the_log_as_it_was_gives_the_bytes_that_it_gave_then(
    pause: Pause, tmp_path: Path, false: bool
) -> None:
    """Also where a finding quotes the checkpoint that was audited, whose signatures are drawn anew each time."""
    then = Pause(pause.book.copy(), pause.in_force)
    if false:
        contradicting(then.book)
    size, note = len(then.book.records), then.book.note()
    period = ["--period", _period(pause), "-o", "json"]
    mirror = ["--mirror", str(tmp_path / "mirror")]
    first = _run("run", *_served(then, tmp_path), *mirror, *period)
    assert ("FORKED" in first.stdout or "signed a tree" in first.stdout) == false
    then.book.minute({"aurora": TRAINING, "borealis": TRAINING})
    served = _served(then, tmp_path)
    at_size = ["--at-size", str(size)]
    assert _run("run", *served, *mirror, *period).stdout != first.stdout
    assert _run("run", *served, *mirror, *period, *at_size).stdout == first.stdout
    kept = ["--agreement", served[1], "--log", mirror[1]]
    assert _run("run", *kept, *period, *at_size).stdout == first.stdout
    (tmp_path / "note").write_bytes(note)
    at_note = ["--at-checkpoint", str(tmp_path / "note")]
    assert _run("run", *served, *period, *at_note).stdout == first.stdout
    unkept = json.loads(_run("run", *served, *period, *at_size).stdout)
    shown = json.loads(first.stdout)
    assert (unkept == shown) is not false
    for found in (*unkept["ledger_findings"], *shown["ledger_findings"]):
        found["notes"] = None
    assert unkept == shown, "but for the checkpoint that proves the same"


def test_a_moment_that_the_log_does_not_have_is_status_4_and_two_moments_are_usage(
    pause: Pause, tmp_path: Path
) -> None:
    asked = ["run", *_served(pause, tmp_path), "--period", _period(pause)]
    run = _run(*asked, "--at-size", "1000000")
    assert run.exit_code == 4
    assert "[NO_SUCH_SIZE]" in run.output
    (tmp_path / "note").write_bytes(b"no checkpoint")
    assert _run(*asked, "--at-checkpoint", str(tmp_path / "note")).exit_code == 4
    two = _run(*asked, "--at-size", "5", "--at-checkpoint", str(tmp_path / "note"))
    assert two.exit_code == 2


def test_a_log_that_goes_back_shows_both_checkpoints(pause: Pause, tmp_path: Path) -> None:
    served = _served(pause, tmp_path)
    mirror = ["--mirror", str(tmp_path / "mirror"), "--period", _period(pause)]
    assert _run("run", *served, *mirror).exit_code == 1
    book = pause.book
    held = book.note()
    dropped = Pause(book.without(len(book.records) - 1), pause.in_force)
    for path in (tmp_path / "log").rglob("*"):
        if path.is_file():
            path.unlink()
    run = _run("run", *_served(dropped, tmp_path), *mirror)
    assert run.exit_code == 4
    assert "[WENT_BACKWARDS]: keep both; an older checkpoint alone proves nothing" in run.output
    assert held.decode() in run.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--period", "yesterday"], "FROM/TO"),
        (["--period", "2026-06-01T00:00:00/2026-06-02T00:00:00"], "names its offset"),
        (["--period", "2026-06-02T00:00:00Z/2026-06-01T00:00:00Z"], "ends before it starts"),
        (["--period", "a/b"], "not an instant"),
        (["--agreement-digest", "sha256:00", "--period", "stage"], "not the agreement"),
        (["--publish", "127.0.0.1:1", "--period", "stage"], "go together"),
    ],
)
def test_what_is_typed_wrong_exits_with_2(
    pause: Pause, tmp_path: Path, change: list[str], words: str
) -> None:
    run = _run("run", *_served(pause, tmp_path), *change)
    assert run.exit_code == 2
    assert words in run.output


def test_a_file_that_is_no_agreement_is_a_usage_error(pause: Pause, tmp_path: Path) -> None:
    served = _served(pause, tmp_path)
    (tmp_path / "agreement.toml").write_text("[agreement]\n")
    run = _run("run", *served, "--period", "stage")
    assert run.exit_code == 2


def test_only_a_listed_verifier_publishes(pause: Pause, tmp_path: Path) -> None:
    key = tmp_path / "stranger.key"
    write_signing_key(key, SigningKey.generate())
    run = _run(
        "run", *_served(pause, tmp_path), "--period", "stage",
        "--publish", "127.0.0.1:1", "--key", str(key),
    )  # fmt: skip
    assert run.exit_code == 2
    assert "[[verifiers]]" in run.output


def test_a_verdict_is_published_with_what_it_concludes(
    pause: Pause, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "auditor.key"
    write_signing_key(key, pause.book.people["auditor"].key)
    said: list[governance_pb2.Verdict] = []

    def publish(client: object, path: Path, message: governance_pb2.Verdict, **rest: object):  # type: ignore[no-untyped-def]
        from statements.publication import Published

        said.append(message)
        return Published(b"\x01" * 32, 7, b"")

    monkeypatch.setattr(cli, "publish", publish)
    run = _run(
        "run", *_served(pause, tmp_path), "--period", _period(pause), "-o", "json",
        "--publish", "127.0.0.1:1", "--key", str(key),
    )  # fmt: skip
    assert run.exit_code == 1, run.output
    assert "at index 7" in run.stderr
    (message,) = said
    assert message.json.decode() == run.stdout
    assert [row.party for row in message.parties] == ["aurora", "borealis", "cygnus"]


def test_an_unreachable_ledger_is_told(pause: Pause, tmp_path: Path) -> None:
    key = tmp_path / "auditor.key"
    write_signing_key(key, pause.book.people["auditor"].key)
    run = _run(
        "run", *_served(pause, tmp_path), "--period", _period(pause), "--out", str(tmp_path / "v.json"),
        "--publish", "127.0.0.1:1", "--key", str(key),
    )  # fmt: skip
    assert run.exit_code == 4
    assert (tmp_path / "v.json").exists()


def test_what_is_no_verdict_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text("{}")
    run = _run("show", str(tmp_path / "v.json"))
    assert run.exit_code == 4
    assert "[NOT_A_VERDICT]" in run.output


def test_over_several_parties_the_worst_status_counts() -> None:
    assert cli.exit_status(["compliant", "compliant"]) == 0
    assert cli.exit_status(["compliant", "unresolved"]) == 3
    assert cli.exit_status(["not_assessed", "violation", "compliant"]) == 1
    assert cli.exit_status(["anomaly"]) == 3
    assert cli.exit_status([]) == 4


@pytest.mark.parametrize(
    ("stopped", "words"),
    [(ZeroDivisionError("x"), "a defect"), (KeyboardInterrupt(), "interrupted")],
)
def test_what_ends_an_audit_early_is_never_taken_for_a_conclusion(
    pause: Pause,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped: BaseException,
    words: str,
) -> None:
    def stop(*_: object) -> None:
        raise stopped

    monkeypatch.setattr(cli, "conclude", stop)
    run = _run("run", *_served(pause, tmp_path), "--period", _period(pause))
    assert run.exit_code == 4
    assert words in run.output
