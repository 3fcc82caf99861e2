"""The words and statuses of ``stillwatch ledger``."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.folder import LedgerFolder
from stillwatch import main
from tests.unit.ledger.cast import ORIGIN, Cast
from tests.unit.ledger.process import found_log


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["ledger", *arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found_log(tmp_path / "log")
    return tmp_path / "log"


def test_making_keys_prints_what_the_agreement_must_say(tmp_path: Path) -> None:
    made = run("init", str(tmp_path / "log"), "--origin", ORIGIN)
    assert made.exit_code == 0, made.output
    assert "[[ledgers]]" in made.stdout
    assert f'origin = "{ORIGIN}"' in made.stdout


@pytest.mark.parametrize("arguments", [(), ("--origin", "x", "--agreement", "y")])
def test_init_takes_one_step_at_a_time(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    asked = run("init", str(tmp_path / "log"), *arguments)
    assert asked.exit_code == 2
    assert "--origin" in asked.stderr
    assert not (tmp_path / "log").exists()


def test_founding_says_what_was_begun_and_what_is_next(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    made = run("init", str(folder), "--origin", ORIGIN, "-o", "json")
    assert made.exit_code == 0
    opened = LedgerFolder.open(folder)
    cast = Cast(signer=opened.signer, ledger_key=opened.key)
    (tmp_path / "agreement.toml").write_bytes(cast.text)
    begun = run("init", str(folder), "--agreement", str(tmp_path / "agreement.toml"))
    assert begun.exit_code == 0, begun.output
    assert "test-pause" in begun.stdout
    assert f"stillwatch ledger serve {folder}" in begun.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("init", "LOG", "--origin", ORIGIN), "LEDGER_EXISTS"),
        (("init", "LOG", "--agreement", "MISSING"), "UNREADABLE"),
        (("init", "LOG", "--agreement", "EMPTY"), "NO_LEDGER"),
        (("init", "NEW", "--agreement", "EMPTY"), "NOT_A_LEDGER"),
        (("init", "NEW", "--origin", "two words"), "BAD_NAME"),
        (("serve", "NEW"), "NOT_A_LEDGER"),
        (("serve", "LOG", "--grpc", "0.0.0.0:1"), "TLS_REQUIRED"),
        (("serve", "LOG", "--http", "[::]:1"), "TLS_REQUIRED"),
        (("serve", "LOG", "--tls", "NEW"), "CERTIFICATE_UNREADABLE"),
        (("serve", "LOG", "--http", "127.0.0.1"), "BAD_ADDRESS"),
        (("serve", "LOG", "--rehearsal-clock", "soon"), "SCALED_CLOCK"),
        (("prove", "LOG", "2"), "OUT_OF_RANGE"),
        (("prove", "NEW", "0"), "MISSING_FILE"),
        (("checkpoint", "NEW"), "MISSING_FILE"),
        (("fsck", "NEW"), "NO_FOLDER"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_a_reason(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "EMPTY").write_bytes(b"")
    places = {
        "LOG": str(folder),
        **{name: str(tmp_path / name) for name in ("NEW", "MISSING", "EMPTY")},
    }
    asked = run(*(places.get(word, word) for word in arguments))
    assert asked.exit_code == 4, asked.output
    assert f"[{reason}]" in asked.stderr
    assert not (tmp_path / "NEW").exists()


def test_a_log_that_was_not_begun_is_not_served(tmp_path: Path) -> None:
    run("init", str(tmp_path / "log"), "--origin", ORIGIN)
    asked = run("serve", str(tmp_path / "log"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert asked.exit_code == 4
    assert "[NO_AGREEMENT]" in asked.stderr


def test_the_checkpoint_is_printed_as_it_is_served(folder: Path) -> None:
    note = (folder / "checkpoint").read_text()
    assert run("checkpoint", str(folder)).stdout == note
    shown = json.loads(run("checkpoint", str(folder), "-o", "json").stdout)
    assert (shown["origin"], shown["size"], shown["note"]) == (ORIGIN, 2, note)


def test_a_proof_is_printed_once_it_was_verified(folder: Path) -> None:
    proven = run("prove", str(folder), "1")
    assert proven.exit_code == 0
    assert "record 1 is in the tree of 2 records; 1 hashes" in proven.stdout
    (folder / "tile/0/000.p/2").write_bytes(bytes(64))
    assert "[ROOT_MISMATCH]" in run("prove", str(folder), "1").stderr
    (folder / "tile/entries/000.p/2").unlink()
    assert "[MISSING_FILE]" in run("prove", str(folder), "1").stderr


def test_fsck_says_clean_or_what_is_wrong(folder: Path) -> None:
    clean = run("fsck", str(folder))
    assert (clean.exit_code, clean.stdout) == (0, f"2 records, 2 bodies of {ORIGIN}: clean\n")
    (folder / "tile/0/000.p/2").write_bytes(bytes(64))
    wrong = run("fsck", str(folder))
    assert wrong.exit_code == 1
    assert "tile/0/000.p/2" in wrong.stdout
    assert "things are wrong" in wrong.stdout
    told = json.loads(run("fsck", str(folder), "-o", "json").stdout)
    assert not told["clean"]
    assert {"place", "reason", "message"} == set(told["flaws"][0])


def test_fsck_of_a_folder_that_is_no_log_finds_that(tmp_path: Path) -> None:
    found = run("fsck", str(tmp_path))
    assert found.exit_code == 1
    assert "[NO_CHECKPOINT]" in found.stdout


def test_fsck_takes_the_key_that_it_is_given(folder: Path) -> None:
    vkey = Cast().signer.vkey
    found = run("fsck", str(folder), "--vkey", vkey)
    assert found.exit_code == 1
    assert "[NOT_SIGNED]" in found.stdout
