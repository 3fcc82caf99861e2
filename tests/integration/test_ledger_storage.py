"""Full disks, disks that refuse, journals that are not the newest, and two ledgers in one folder."""

import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from statements.ledger_client import LedgerClient, Receipt
from tests.unit.ledger.cast import Cast
from tests.unit.ledger.clients import Client, verify_log
from tests.unit.ledger.process import LedgerProcess, found_log, stillwatch

WITHIN_S = 20.0


@contextmanager
def disk(place: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a file system of that size; what is yielded gives it another size."""
    place.mkdir(exist_ok=True)

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")

    mount(f"size={size}")
    try:
        yield lambda larger: mount(f"remount,size={larger}")
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    return found_log(tmp_path / "log")


@pytest.fixture
def ledger(tmp_path: Path, cast: Cast) -> Iterator[LedgerProcess]:
    process = LedgerProcess(tmp_path / "log", options=("--beat", "0.05"))
    yield process
    process.end()


def until(condition: Callable[[], bool], ledger: LedgerProcess) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert ledger.alive, ledger.log.read_text()
        assert time.monotonic() < deadline, ledger.log.read_text()[-3000:]
        time.sleep(0.02)


def says(ledger: LedgerProcess, *words: str) -> bool:
    return any(all(word in line for word in words) for line in ledger.log.read_text().splitlines())


def enrolled_client(cast: Cast, ledger: LedgerProcess, size: int) -> Client:
    said, (node,) = cast.enrolled()
    with LedgerClient(ledger.grpc) as client:
        assert all(isinstance(one, Receipt) for one in client.append(said))
    return Client(node, ledger.grpc, size=size)


@contextmanager
def load(client: Client) -> Iterator[None]:
    """Let a client send while the block runs, and until all that it said is acknowledged."""
    stop = threading.Event()
    thread = client.start(stop)
    try:
        yield
    finally:
        stop.set()
        thread.join(WITHIN_S)
    assert not thread.is_alive()


def play_failing_journal(
    cast: Cast, ledger: LedgerProcess, fill: Callable[[], None], relieve: Callable[[], None]
) -> None:
    """Let the journal's storage fail under load, and then work again; hold the ledger to its word."""
    ledger.start()
    client = enrolled_client(cast, ledger, size=4_000)
    with load(client):
        until(lambda: len(client.acknowledged) > 80, ledger)
        fill()
        until(lambda: says(ledger, "cannot log", '"reason": "STORAGE"', "free space"), ledger)
        until(lambda: "UNAVAILABLE" in client.failures, ledger)
        before = len(client.acknowledged)
        with LedgerClient(ledger.grpc) as asking:
            assert asking.checkpoint(), "questions are answered all the while"
        relieve()
        until(lambda: len(client.acknowledged) > before + 80, ledger)
        assert says(ledger, "logging again")
    assert ledger.stop() == 0
    verify_log(ledger.folder, cast, [client])


def test_a_full_disk_under_the_journal_loses_nothing_that_was_acknowledged(
    cast: Cast, ledger: LedgerProcess, tmp_path: Path
) -> None:
    private = ledger.folder / "private"
    shutil.copytree(private, tmp_path / "kept")
    with disk(private, "8m") as resize:
        shutil.copytree(tmp_path / "kept", private, dirs_exist_ok=True)
        private.chmod(0o700)
        play_failing_journal(cast, ledger, lambda: None, lambda: resize("200m"))


def test_a_file_that_may_not_grow_loses_nothing_that_was_acknowledged(
    cast: Cast, ledger: LedgerProcess
) -> None:
    """As under a quota: every write beyond so many bytes of a file is refused."""

    def limit(most: int) -> None:
        assert ledger.process is not None
        _, hard = resource.prlimit(ledger.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(ledger.process.pid, resource.RLIMIT_FSIZE, (most, hard))

    play_failing_journal(
        cast, ledger, lambda: limit(1_500_000), lambda: limit(resource.RLIM_INFINITY)
    )


def test_a_full_disk_under_the_files_stops_publishing_and_not_logging(
    cast: Cast, ledger: LedgerProcess
) -> None:
    with disk(ledger.folder / "bodies", "1m") as resize:
        shutil.rmtree(ledger.folder / "tile")
        (ledger.folder / "checkpoint").unlink()  # all that is served follows from the journal
        ledger.start()
        client = enrolled_client(cast, ledger, size=4_000)
        with load(client):
            until(lambda: says(ledger, "cannot publish", "STORAGE", "free space"), ledger)
            before = len(client.acknowledged)
            until(lambda: len(client.acknowledged) > before + 80, ledger)
            seen = client.checkpoints[-1]
            resize("200m")
            until(lambda: client.checkpoints[-1] != seen, ledger)
        assert ledger.stop() == 0
        verify_log(ledger.folder, cast, [client])


def test_a_ledger_that_cannot_open_its_files_says_so_in_one_line(
    cast: Cast, ledger: LedgerProcess
) -> None:
    shutil.rmtree(ledger.folder / "tile")
    shutil.rmtree(ledger.folder / "bodies")
    (ledger.folder / "tile").write_bytes(b"a file where a folder should be")
    ended = serve_once(ledger)
    assert ended.returncode == 4
    assert_one_line(ended.stderr, "STORAGE", "cannot write")


def test_two_ledgers_never_serve_one_folder(cast: Cast, ledger: LedgerProcess) -> None:
    ledger.start()
    second = serve_once(ledger)
    assert second.returncode == 4
    assert_one_line(second.stderr, "IN_USE", "stop it first")
    with LedgerClient(ledger.grpc) as client:
        assert isinstance(client.append([cast.party.open()])[0], Receipt), "the first goes on"
    ledger.kill()
    ledger.start()
    assert ledger.stop() == 0, "a killed ledger leaves no lock behind"


def journal_files(ledger: LedgerProcess) -> list[Path]:
    return sorted((ledger.folder / "private").glob("journal.sqlite*"))


def test_a_journal_that_was_restored_from_an_older_copy_signs_nothing(
    cast: Cast, ledger: LedgerProcess, tmp_path: Path
) -> None:
    """The copy was good when it was made; the log went on since."""
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in journal_files(ledger):
        shutil.copy2(path, kept)
    ledger.start()
    with LedgerClient(ledger.grpc) as client:
        client.append([cast.party.open(), *cast.party.summaries(5)])
    assert ledger.stop() == 0
    note = (ledger.folder / "checkpoint").read_bytes()
    newest = tmp_path / "newest"
    newest.mkdir()
    for path in journal_files(ledger):
        shutil.move(path, newest)
    for path in kept.iterdir():
        shutil.copy2(path, ledger.folder / "private")
    refused = serve_once(ledger)
    assert refused.returncode == 4
    assert_one_line(refused.stderr, "JOURNAL_BEHIND", "Bring the newest journal back")
    assert (ledger.folder / "checkpoint").read_bytes() == note
    for path in journal_files(ledger):
        path.unlink()
    for path in newest.iterdir():
        shutil.copy2(path, ledger.folder / "private")
    ledger.start()
    assert ledger.stop() == 0, "with the newest journal back it goes on"


def test_a_copy_of_the_database_file_alone_is_an_older_journal(
    cast: Cast, ledger: LedgerProcess
) -> None:
    """What was logged last is in the write-ahead log beside it; whoever leaves that behind is told."""
    ledger.start()
    with LedgerClient(ledger.grpc) as client:
        client.append([cast.party.open(), *cast.party.summaries(5)])
    until(lambda: b"\n9\n" in (ledger.folder / "checkpoint").read_bytes(), ledger)
    ledger.kill()
    for path in journal_files(ledger)[1:]:
        path.unlink()
    refused = serve_once(ledger)
    assert refused.returncode == 4
    assert_one_line(refused.stderr, "JOURNAL_BEHIND", "it is an old copy")


def test_a_journal_that_went_another_way_signs_nothing(
    cast: Cast, ledger: LedgerProcess, tmp_path: Path
) -> None:
    shutil.copytree(ledger.folder / "private", tmp_path / "kept")
    ledger.start()
    with LedgerClient(ledger.grpc) as client:
        client.append([cast.party.open()])
    assert ledger.stop() == 0
    served = tmp_path / "served"
    shutil.copytree(ledger.folder, served, ignore=lambda *_: {"private"})
    shutil.rmtree(ledger.folder)
    shutil.copytree(tmp_path / "kept", ledger.folder / "private")
    ledger.start()  # nothing is served that could tell it
    with LedgerClient(ledger.grpc) as client:
        client.append([cast.evaluator.open(), *cast.evaluator.summaries(9)])
    assert ledger.stop() == 0
    for path in served.iterdir():
        target = ledger.folder / path.name
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        shutil.move(path, target)
    refused = serve_once(ledger)
    assert refused.returncode == 4
    assert_one_line(refused.stderr, "JOURNAL_DIFFERS", "Bring the right journal back")


def serve_once(ledger: LedgerProcess) -> "subprocess.CompletedProcess[str]":
    """Serve where nothing is to be served."""
    where = ("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    return stillwatch("ledger", "serve", str(ledger.folder), *where, timeout=WITHIN_S)


def assert_one_line(stderr: str, reason: str, words: str) -> None:
    """Expect an error in one line that says what to do; lines of the log of events may come before it."""
    lines = [line for line in stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("Error: ")
    assert lines[0].endswith(f"[{reason}]")
    assert words in lines[0]
