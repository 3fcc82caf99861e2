"""A mirror as it is kept: ``stillwatch audit watch`` beside a ledger, each a process of its own, and both killed."""

import itertools
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from statements.clock import ScaledClock
from statements.ledger_client import LedgerClient, Receipt
from statements.log_trust import LogTrust
from tests.unit.ledger.cast import T0, Cast, Person
from tests.unit.ledger.process import LedgerProcess, found_log, stillwatch
from tlog.checkpoint import parse_checkpoint
from tlog.note import parse_note
from verifier.mirror.prefix import fetch_prefix
from verifier.mirror.source import FolderSource

BATCH = 500


@dataclass
class Place:
    """A ledger that serves, who speaks in it, and where its mirror is kept."""

    folder: Path
    cast: Cast
    ledger: LedgerProcess
    speakers: Iterator[Person]
    """Who speaks next: in turns, for each author has its quota."""

    @property
    def mirror(self) -> Path:
        return self.folder / "mirror"

    @property
    def size(self) -> int:
        return size_of(self.ledger.folder)

    def grow(self, count: int, size: int = 100) -> None:
        """Have so many summaries logged and published."""
        with LedgerClient(self.ledger.grpc) as client:
            index = -1
            speaker = next(self.speakers)
            for first in range(0, count, BATCH):
                said = speaker.summaries(min(BATCH, count - first), size)
                (*_, last) = client.append(said)
                assert isinstance(last, Receipt)
                index = last.index
        within(10, lambda: self.size > index)

    def command(self, *options: str, log: str | None = None) -> list[str]:
        return [
            *("audit", "watch", "--agreement", str(self.folder / "agreement.toml")),
            *("--log", log or self.ledger.http, "--mirror", str(self.mirror), *options),
        ]

    def verify_mirrored(self) -> None:
        """Refuse a mirror that fsck finds anything wrong with, or that is not the log itself."""
        checked = stillwatch("ledger", "fsck", str(self.mirror))
        assert checked.returncode == 0, checked.stdout
        for path in self.mirror.rglob("*"):
            name = path.relative_to(self.mirror)
            if path.is_file() and name.parts[0] in {"tile", "bodies"} and ".p" not in str(name):
                assert path.read_bytes() == (self.ledger.folder / name).read_bytes()


def size_of(folder: Path) -> int:
    try:
        return parse_checkpoint(parse_note((folder / "checkpoint").read_bytes())).size
    except FileNotFoundError:
        return 0


def within(seconds: float, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    cast = found_log(tmp_path / "log")
    (tmp_path / "agreement.toml").write_bytes(cast.text)
    ledger = LedgerProcess(tmp_path / "log", options=("--beat", "0.2", "--tick", "1")).start()
    try:
        with LedgerClient(ledger.grpc) as client:
            people = (cast.party, cast.evaluator)
            assert all(
                isinstance(one, Receipt) for one in client.append([p.open() for p in people])
            )
        yield Place(tmp_path, cast, ledger, itertools.cycle(people))
    finally:
        ledger.end()


class Watch:
    """A watch that goes on until it is told to stop."""

    def __init__(self, place: Place, *options: str) -> None:
        self.log = place.folder / "watch.log"
        command = [sys.executable, "-m", "stillwatch", *place.command(*options)]
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(command, stdout=sink, stderr=sink)

    def events(self, name: str) -> list[dict[str, object]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith('{"')]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def await_event(self, name: str, count: int = 1, seconds: float = 20) -> dict[str, object]:
        within(seconds, lambda: len(self.events(name)) >= count)
        return self.events(name)[-1]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@pytest.fixture
def watch(place: Place) -> Iterator[Callable[..., Watch]]:
    started: list[Watch] = []

    def start(*options: str) -> Watch:
        started.append(Watch(place, *options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_a_mirror_that_is_killed_at_any_moment_is_whole_at_last(place: Place, kills: int) -> None:
    """Killed while it fetches, writes and commits; the log grows meanwhile."""
    draw = random.Random(11)
    place.grow(6_000, size=400)
    incoming = place.mirror / "work/incoming"
    command = [sys.executable, "-m", "stillwatch", *place.command("--once")]
    killed = finished = 0
    while killed < kills:
        place.grow(draw.choice([1, 300, 1_500]))
        incoming.mkdir(parents=True, exist_ok=True)
        (incoming / "0").write_bytes(b"half-written before")
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while (incoming / "0").exists() and running.poll() is None:
            time.sleep(0.005)
        try:
            assert running.wait(draw.uniform(0, 0.6)) == 0
            finished += 1
        except subprocess.TimeoutExpired:
            running.kill()
            killed += 1
            running.wait()
        assert finished < 5 * kills
    done = stillwatch(*place.command("--once", "-o", "json"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["size"] == size_of(place.mirror) > 6_000
    place.verify_mirrored()


def test_a_second_run_fetches_only_what_is_new(place: Place) -> None:
    place.grow(3_000)
    place.ledger.stop()  # so that it ticks no more
    served = str(place.ledger.folder)

    def mirror() -> dict[str, int]:
        done = stillwatch(*place.command("--once", "-o", "json", log=served))
        assert done.returncode == 0, done.stderr
        told: dict[str, int] = json.loads(done.stdout)
        return told

    first, again = mirror(), mirror()
    assert first["requests"] > 3 * (3_000 // 256)
    assert (again["requests"], again["new"]) == (1, 0)
    place.ledger.start()
    place.grow(1_000)
    place.ledger.stop()
    more = mirror()
    assert more["new"] >= 1_000
    bundles = more["new"] // 256 + 2
    assert more["requests"] <= 3 * bundles + 4
    assert more["bytes"] < first["bytes"] * (bundles * 256 / 3_000) + 20_000
    place.verify_mirrored()


def test_a_watch_follows_a_log_through_its_restarts_and_ends_when_it_is_told(
    place: Place, watch: Callable[..., Watch]
) -> None:
    running = watch("--every", "0.5")
    running.await_event("mirrored")
    for _ in range(3):
        place.grow(400)
        within(10, lambda: size_of(place.mirror) >= place.size)
    place.ledger.kill()
    running.await_event("cannot follow the log")
    http = place.ledger.http.rpartition(":")[2]
    place.ledger.options = (*place.ledger.options, "--http", f"127.0.0.1:{http}")
    place.ledger.start()
    place.grow(400)
    within(10, lambda: size_of(place.mirror) >= place.size - 5)
    assert len(running.events("cannot follow the log")) == 1, "told once"
    assert running.events("following the log again")
    assert running.stop() == 0
    assert running.events("stopped")
    assert "Traceback" not in running.log.read_text()
    place.verify_mirrored()


def test_a_watch_is_told_by_the_ledger_before_it_would_look(
    place: Place, watch: Callable[..., Watch]
) -> None:
    running = watch("--every", "600", "--grpc", place.ledger.grpc)
    running.await_event("mirrored")
    for _ in range(3):
        place.grow(100)
        size = place.size
        within(5, lambda size=size: size_of(place.mirror) >= size)  # type: ignore[misc]
    place.ledger.kill()
    running.await_event("cannot listen to the ledger")
    assert running.stop() == 0
    place.verify_mirrored()


def test_a_log_that_says_no_time_any_more_is_told_of_and_so_is_its_going_on(
    place: Place, watch: Callable[..., Watch]
) -> None:
    """A tick a minute is due; on the rehearsal's clock three minutes take three seconds."""
    clock = str(ScaledClock(time.time_ns() // 1_000_000, T0, 60))
    served = ("--log", str(place.ledger.folder))
    running = watch("--every", "0.3", "--rehearsal-clock", clock, *served)
    running.await_event("mirrored", count=4)
    assert running.events("the log has stalled") == [], "a tick a second is enough"
    place.ledger.stop()
    told = running.await_event("the log has stalled")
    assert (told["level"], told["reason"]) == ("error", "LOG_STALLED")
    time.sleep(2)
    place.ledger.start()
    running.await_event("the log goes on")
    assert len(running.events("the log has stalled")) == 1
    assert running.stop() == 0


def test_a_log_that_forks_ends_a_watch_with_4_and_both_checkpoints_are_kept(
    place: Place, watch: Callable[..., Watch], tmp_path: Path
) -> None:
    """The ledger goes on from an old copy of its folder, with no witness to stop it."""
    place.grow(300)
    place.ledger.stop()
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(place.ledger.folder), str(copy)], check=True)
    place.ledger.start()
    place.grow(50)
    assert stillwatch(*place.command("--once")).returncode == 0
    place.ledger.stop()
    forked = LedgerProcess(copy, options=place.ledger.options).start()
    try:
        time.sleep(3)  # ticks alone make it longer
        with LedgerClient(forked.grpc) as client:
            said = place.cast.evaluator
            client.append([said.open(), *said.summaries(200)])
        within(10, lambda: size_of(copy) > size_of(place.mirror))
        place.ledger.http = forked.http
        running = watch("--every", "0.3")
        assert running.process.wait(20) == 4
    finally:
        forked.end()
    words = running.log.read_text()
    assert "[FORKED]" in words
    (kept,) = (place.mirror / "notes").iterdir()
    for name in ("held", "served"):
        assert (kept / name).read_text() in words
    checked = stillwatch("ledger", "fsck", str(place.mirror))
    assert checked.returncode == 0, checked.stdout


def test_a_mirror_is_read_whole_while_it_is_brought_up_to_date(
    place: Place, watch: Callable[..., Watch]
) -> None:
    running = watch("--every", "0.2", "--grpc", place.ledger.grpc)
    running.await_event("mirrored")
    trust = LogTrust.of(place.cast.pins, place.cast.pins.ledgers[0])
    growing = threading.Thread(target=lambda: place.grow(5_000), daemon=True)
    growing.start()
    second = stillwatch(*place.command("--once"))
    assert second.returncode == 4, "one process keeps it"
    assert "[MIRROR_IN_USE]" in second.stderr
    sizes: set[int] = set()
    while growing.is_alive() or len(sizes) < 3:
        prefix = fetch_prefix(FolderSource(place.mirror), trust)
        assert None not in prefix.bodies, "no body is taken for withheld"
        sizes.add(prefix.size)
    growing.join(30)
    assert running.stop() == 0
    place.verify_mirrored()
