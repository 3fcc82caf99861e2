"""The integrator's process, and its ledger's side."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ledger.errors import (
    ForkError,
    JournalError,
    LedgerError,
    ProcessError,
    QuorumError,
    SetupError,
)
from ledger.folder import LedgerFolder
from ledger.integrator import LOCK
from ledger.journal.registry import open_journal
from ledger.processes.nursery import Nursery
from ledger.publisher import Published
from ledger.publishing import (
    Answer,
    Publishing,
    decode_answer,
    decode_question,
    encode_answer,
    encode_question,
)
from ledger.witness.folder import WitnessFolder
from tests.pki import authority, write_folder
from tests.unit.ledger.cast import entries
from tests.unit.ledger.process import children_of, found_log


def play(folder: Path, scene: Callable[[Publishing], Awaitable[None]]) -> None:
    """Run a scene with an integrator of the log in a folder."""

    async def run() -> None:
        with Nursery() as nursery:
            publishing = Publishing(nursery, folder)
            await publishing.start()
            try:
                await scene(publishing)
            finally:
                await publishing.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def grow(folder: Path, count: int) -> None:
    """Make the journal longer, as the ledger does."""
    made = LedgerFolder.open(folder)
    journal = open_journal(made.journal, made.private)
    journal.append(journal.size(), entries(count))
    journal.close()


def test_what_the_journal_holds_is_published(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    found_log(folder)

    async def scene(publishing: Publishing) -> None:
        assert publishing.published is not None
        assert publishing.published.size == 2
        grow(folder, 600)
        published = await publishing.publish()
        assert published.size == 602
        assert (folder / "checkpoint").read_bytes() == published.note
        assert (folder / "tile/entries/001").exists()

    play(folder, scene)


@pytest.mark.parametrize(
    ("url", "reason"),
    [("http://w.example/", "TLS_REQUIRED"), ("https://w.example/", "CERTIFICATE_UNREADABLE")],
)
def test_witnesses_that_cannot_be_asked_securely_are_an_error_with_its_reason(
    tmp_path: Path, url: str, reason: str
) -> None:
    key = WitnessFolder.create(tmp_path / "w", "witness.example/w").keys[0].vkey
    found_log(tmp_path / "log", f"witness w {key} {url}\nquorum w")
    tls = write_folder(tmp_path / "tls", trusts=[authority("ca")])
    if url.startswith("https"):
        (tls / "key.pem").touch(0o600)

    async def run() -> None:
        with Nursery() as nursery:
            publishing = Publishing(nursery, tmp_path / "log", tls)
            try:
                await publishing.start()
            finally:
                await publishing.close()

    with pytest.raises(SetupError) as refused:
        asyncio.run(asyncio.wait_for(run(), 60))
    assert refused.value.reason == reason


def test_an_integrator_that_dies_is_started_anew_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    found_log(folder)

    async def scene(publishing: Publishing) -> None:
        assert publishing._child is not None
        grow(folder, 300)
        os.kill(publishing._child.pid, signal.SIGKILL)
        with pytest.raises(ProcessError) as died:
            await publishing.publish()
        assert died.value.reason == "PROCESS_DIED"
        assert (await publishing.publish()).size == 302

    play(folder, scene)


def test_an_integrator_that_died_is_replaced_by_one_whoever_asks_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    found_log(folder)

    async def scene(publishing: Publishing) -> None:
        assert publishing._child is not None
        os.kill(publishing._child.pid, signal.SIGKILL)
        with pytest.raises(ProcessError):
            await publishing.publish()
        grow(folder, 300)
        both = await asyncio.gather(publishing.publish(), publishing.publish(anew=True))
        assert [one.size for one in both] == [302, 302]
        assert children_of(publishing._nursery.pid) == [publishing._child.pid]

    play(folder, scene)


def test_an_integrator_that_cannot_open_its_log_says_why_and_the_next_may(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "log"
    found_log(folder)
    journal = folder / "private" / "journal.sqlite"
    lock = folder / "private" / LOCK

    async def scene(publishing: Publishing) -> None:
        grow(folder, 10)
        await publishing.close()
        kept = journal.read_bytes()
        journal.write_bytes(b"no journal" * 1000)
        with pytest.raises(JournalError) as refused:
            await publishing.publish()
        assert refused.value.reason == "STORAGE"
        journal.write_bytes(kept)
        lock.unlink()
        lock.mkdir()
        await publishing.close()
        with pytest.raises(SetupError) as unlocked:
            await publishing.publish()
        assert unlocked.value.reason == "UNWRITABLE"
        lock.rmdir()
        await publishing.close()
        assert (await publishing.publish()).size == 12

    play(folder, scene)
    assert "Traceback" not in capfd.readouterr().err


def test_an_integrator_that_opened_nothing_signs_nothing_when_it_is_asked_again(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "log"
    found_log(folder)
    grow(folder, 10)
    other = tmp_path / "other"
    found_log(other)
    note = (folder / "checkpoint").read_bytes()

    async def scene(publishing: Publishing) -> None:
        await publishing.close()
        shutil.copy(other / "private" / "journal.sqlite", folder / "private" / "journal.sqlite")
        for _ in range(3):
            with pytest.raises(LedgerError):
                await publishing.publish()

    play(folder, scene)
    assert (folder / "checkpoint").read_bytes() == note


def test_a_fork_is_told_to_the_ledger(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    found_log(folder)

    async def scene(publishing: Publishing) -> None:
        grow(folder, 10)
        made = LedgerFolder.open(folder)
        journal = open_journal(made.journal, made.private)
        journal.sign(journal.signed(), b"another ledger's")
        journal.close()
        with pytest.raises(ForkError) as forked:
            await publishing.publish()
        assert forked.value.reason == "SIGNED_ELSEWHERE"

    play(folder, scene)


def test_a_second_integrator_waits_until_the_first_has_gone(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    found_log(folder)
    hold = f"""
import sys, time
from pathlib import Path
from ledger.folder import LedgerFolder
with LedgerFolder.open(Path({str(folder)!r})).held({LOCK!r}):
    print("held", flush=True)
    time.sleep(1)
    print("let go", flush=True)
"""
    first = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE)
    assert first.stdout is not None
    with first, first.stdout:
        assert first.stdout.readline() == b"held\n"

        async def scene(publishing: Publishing) -> None:
            assert first.stdout is not None
            os.set_blocking(first.stdout.fileno(), False)
            assert first.stdout.readline() == b"let go\n"
            assert publishing.published is not None

        play(folder, scene)


def test_an_integrator_dies_with_its_ledger(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    found_log(folder)
    run = f"""
import asyncio, os, signal
from pathlib import Path
from ledger.processes.nursery import Nursery
from ledger.publishing import Publishing
async def main():
    publishing = Publishing(Nursery(), Path({str(folder)!r}))
    await publishing.start()
    print(publishing._child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    ledger = subprocess.run([sys.executable, "-c", run], capture_output=True, check=False)
    assert ledger.returncode == -signal.SIGKILL, ledger.stderr
    pid, deadline = int(ledger.stdout), time.monotonic() + 10
    while (
        Path(f"/proc/{pid}/stat").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "error", [None, ForkError("SIGNED_ELSEWHERE", "no"), QuorumError("NO_QUORUM", "ünicode")]
)
@pytest.mark.parametrize(
    "published",
    [None, Published("note — x\n".encode(), 7, bytes(32), None), Published(b"n", 0, b"r" * 32, 5)],
)
def test_answers_survive_their_encoding(
    error: LedgerError | None, published: Published | None
) -> None:
    found = decode_answer(encode_answer(Answer(published, error)))
    assert found.published == published
    assert (type(found.error), str(found.error)) == (type(error), str(error))


def test_questions_survive_their_encoding() -> None:
    assert [decode_question(encode_question(anew)) for anew in (True, False)] == [True, False]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"published": {"note": 5}, "error": null}'])
def test_nonsense_is_no_answer(data: bytes) -> None:
    with pytest.raises(ProcessError) as refused:
        decode_answer(data)
    assert refused.value.reason == "PROCESS_CONFUSED"
