"""Verifying offline needs what a node has, and nothing more."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from statements.offline_bundle import encode_offline_bundle
from tests.unit.verifier.offline.bundling import bundle_of, play

EXTRAS = (
    *("numpy", "scipy", "pydantic", "httpx", "rich", "cel_expr_python"),
    *("obstore", "starlette", "uvicorn", "google.rpc", "grpc_status", "grpc_health"),
    *("grpc_reflection", "grpc_tools", "pytest", "hypothesis", "pyarrow"),
)
"""What the extras bring: none of it is on a base install."""

BLOCKED = f"""
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if any(name == extra or name.startswith(extra + ".") for extra in {EXTRAS!r}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None

sys.meta_path.insert(0, Absent())
from stillwatch import main
main()
"""


def without_extras(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command where the extras cannot be imported."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a bundle and a proved record, and the agreement's digest."""
    from click.testing import CliRunner

    from stillwatch import main

    folder = tmp_path_factory.mktemp("handed")
    book = play()
    (folder / "bundle.tar").write_bytes(encode_offline_bundle(bundle_of(book)))
    (folder / "agreement.toml").write_text(book.text)
    book.serve(folder / "log")
    written = ["--out", str(folder / "proof"), "--record", str(folder / "record")]
    proved = CliRunner().invoke(main, ["ledger", "prove", str(folder / "log"), "4", *written])
    assert proved.exit_code == 0, proved.output
    return folder, f"sha256:{book.pins.digest.hex()}"


def test_a_bundle_is_verified_on_the_base_install(handed: tuple[Path, str]) -> None:
    folder, digest = handed
    bundle = str(folder / "bundle.tar")
    done = without_extras("verify", "bundle", bundle, "--agreement-digest", digest)
    assert (done.returncode, done.stderr) == (0, "")
    assert "14 of 14 signatures hold" in done.stdout


def test_a_record_is_verified_on_the_base_install(handed: tuple[Path, str]) -> None:
    folder, _ = handed
    agreement, proof, record = (
        str(folder / name) for name in ("agreement.toml", "proof", "record")
    )
    done = without_extras(
        "verify", "record", "--agreement", agreement, "--proof", proof, "--record", record
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_is_told_nothing_false(handed: tuple[Path, str]) -> None:
    folder, digest = handed
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                BLOCKED,
                "verify",
                "bundle",
                str(folder / "bundle.tar"),
                "--agreement-digest",
                digest,
            ],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 4
    assert "Broken pipe: nothing is concluded" in done.stderr


def test_who_watches_on_a_terminal_sees_how_far_it_is(handed: tuple[Path, str]) -> None:
    folder, digest = handed
    screen, terminal = pty.openpty()
    arguments = ["verify", "bundle", str(folder / "bundle.tar"), "--agreement-digest", digest]
    with os.fdopen(terminal, "wb") as stderr:
        done = subprocess.run(
            [sys.executable, "-c", BLOCKED, *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            timeout=60,
            check=False,
        )
        shown = os.read(screen, 1 << 16)
    os.close(screen)
    assert done.returncode == 0
    assert b"signatures" in shown
    assert b"100%" in shown
    assert b"signatures  [" not in done.stdout


@pytest.mark.parametrize("command", ["audit --help", "ledger serve log"])
def test_what_needs_an_extra_is_seen_to_need_it(command: str) -> None:
    done = without_extras(*command.split())
    assert done.returncode == 1
    assert "pip install 'stillwatch[" in done.stderr


def test_a_verdict_takes_what_audits_take_and_says_so(handed: tuple[Path, str]) -> None:
    folder, _ = handed
    agreement, verdict = str(folder / "agreement.toml"), str(folder / "bundle.tar")
    done = without_extras(
        "verify", "report", verdict, "--agreement", agreement, "--log", str(folder / "log")
    )
    assert done.returncode == 4
    assert "pip install 'stillwatch[verifier]'" in done.stderr
