"""A small workload for a real ledger whose disk fails, and what must hold of it whatever failed."""

import dataclasses
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ledger.objects.directory import DirectoryStore
from statements.author import Statement
from statements.errors import SubmissionError
from statements.ledger_client import LedgerClient, Receipt
from tests.faults.disk import Disk, Fault, Platter
from tests.unit.ledger.cast import Cast, Person
from tests.unit.ledger.clients import Client, verify_log
from tests.unit.ledger.process import LedgerProcess, found_log

FILLED: Final = 250
"""Records of the log to begin with: the workload fills a tile, and partial ones go."""
BATCH: Final = 6
BATCHES: Final = 3
_OPTIONS: Final = ("--beat", "0.05", "--tick", "1")
_TRIES: Final = 2
_WITHIN_S: Final = 60.0


@dataclass(frozen=True)
class Template:
    """A log to begin with, and a node that is enrolled in it and has said nothing."""

    folder: Path
    cast: Cast
    node: Person

    @classmethod
    def make(cls, place: Path) -> "Template":
        cast = found_log(place / "log")
        said, (node,) = cast.enrolled()
        said += cast.party.summaries(FILLED - len(said) - 2 - 3)
        ledger = LedgerProcess(place / "log", options=_OPTIONS).start()
        try:
            with LedgerClient(ledger.grpc) as client:
                assert all(isinstance(one, Receipt) for one in client.append(said))
            assert ledger.stop() == 0
        finally:
            ledger.end()
        return cls(place / "log", cast, node)


@dataclass
class Play:
    """One run: a log of its own, the disk below it, and the batches that its one client says."""

    template: Template
    place: Path
    library: Path
    fault: Fault | None = None
    keep: bool = False
    client: Client = field(init=False)
    batches: list[list[Statement]] = field(init=False)
    disk: Disk = field(init=False)
    ledger: LedgerProcess = field(init=False)
    status: int | None = None

    def __post_init__(self) -> None:
        self.place.mkdir()
        shutil.copytree(self.template.folder, self.place / "disk" / "log")
        self.disk = Disk(self.library, self.place / "disk", self.place, self.fault, keep=self.keep)
        self.ledger = self.serving(self.disk)
        node = dataclasses.replace(self.template.node)
        self.client = Client(node, "")
        self.batches = [[node.open()]] + [node.summaries(BATCH) for _ in range(BATCHES)]

    def serving(self, disk: Disk | None) -> LedgerProcess:
        return LedgerProcess(
            self.place / "disk" / "log",
            _OPTIONS,
            log_file=self.place / ("sane.log" if disk is None else "ledger.log"),
            environment=None if disk is None else disk.environment,
        )

    @property
    def folder(self) -> Path:
        return self.place / "disk" / "log"

    def work(self, *, kill: bool = False) -> None:
        """Serve, say everything as far as that is answered, and stop, or be killed: all on the disk that fails."""
        self.ledger.launch()
        try:
            if self._await_ready():
                for batch in self.batches:
                    if not self._say(batch):
                        break
                self._until(lambda: self._published() >= len(self.client.acknowledged), 0.3)
            if self.ledger.alive and kill:
                self.ledger.kill()
            elif self.ledger.alive:
                self.status = self.ledger.stop(_WITHIN_S)
            else:
                assert self.ledger.process is not None
                self.status = self.ledger.process.wait()
        finally:
            self.ledger.end()
            self._see()

    @property
    def calls(self) -> int:
        """Calls to the disk that it made."""
        return self.disk.calls

    def told(self) -> tuple[str, int | None]:
        """Return what was written on stderr, and the exit status."""
        return self.ledger.log.read_text(), self.status

    def go_on(self) -> None:
        """Serve again on a sane disk, say again all that was said, and hold the ledger to its word."""
        process = self.serving(None).start()
        try:
            with LedgerClient(process.grpc) as client:
                self.client.checkpoints.append(client.checkpoint())
                for batch in self.batches:
                    self.client.take(batch, client.append(batch))
            assert process.stop(_WITHIN_S) == 0, process.log.read_text()
        finally:
            process.end()
        assert "Traceback" not in process.log.read_text()
        verify_log(self.folder, self.template.cast, [self.client])

    def cuts(self, every: int, first: int = 0) -> Iterator[tuple[int, bool]]:
        """Cut the power after every so many calls that were made, on both kinds of file system, and go on each time.

        Yields the number of calls and whether the file system was the strict one, when the ledger kept its word.
        """
        platter = Platter(self.place / "disk", self.template.folder.parent)
        seen: set[bytes] = set()
        acknowledged = 0
        for number, call in enumerate(self.disk.read()):
            if number % every == first:
                for strict in (True, False):
                    self._cut(platter, acknowledged, seen, strict=strict)
                    yield number, strict
            platter.play([call])
            if call.name == "mark":
                acknowledged = int(call.path.split()[-1])
            elif call.name == "rename" and call.target == str(self.folder / "checkpoint"):
                seen.add(platter.bytes_of(self.folder / "checkpoint"))

    def cut_at_the_end(self) -> None:
        """Cut the power after all that was worked, on both kinds of file system, and go on."""
        platter = Platter(self.place / "disk", self.template.folder.parent)
        platter.play(self.disk.read())
        seen = set(self.client.checkpoints)
        for strict in (True, False):
            self._cut(platter, len(self.client.acknowledged), seen, strict=strict)

    def _cut(self, platter: Platter, acknowledged: int, seen: set[bytes], *, strict: bool) -> None:
        after = Path(tempfile.mkdtemp(dir=self.place)) / "disk"
        platter.cut(after, strict=strict)
        shutil.rmtree(self.place / "disk")
        after.rename(self.place / "disk")
        client = Client(self.template.node, "", checkpoints=sorted(seen))
        client.acknowledged = dict(list(self.client.acknowledged.items())[:acknowledged])
        told, self.client = self.client, client
        try:
            self.go_on()
        finally:
            self.client = told

    def _await_ready(self) -> bool:
        deadline = time.monotonic() + _WITHIN_S
        ready = self.ledger.log.with_suffix(".ready")
        while not ready.exists():
            if not self.ledger.alive:
                return False
            assert time.monotonic() < deadline, self.ledger.log.read_text()
            time.sleep(0.01)
        self.ledger.await_ready()
        return True

    def _say(self, batch: Sequence[Statement]) -> bool:
        """Say a batch; return whether it was acknowledged."""
        for _ in range(_TRIES):
            try:
                with LedgerClient(self.ledger.grpc, deadline=5) as client:
                    answers = client.append(batch)
                    self.client.take(batch, answers)
                    self.disk.mark(f"acknowledged {len(self.client.acknowledged)}")
                    self._see()
                    return True
            except SubmissionError as error:
                self.client.failures.append(error.reason)
                if not self.ledger.alive:
                    return False
                time.sleep(0.03)
        return False

    def _see(self) -> None:
        """Keep the checkpoint that is served."""
        note = DirectoryStore(self.folder).get("checkpoint")
        if note is not None:
            self.client.checkpoints.append(note)

    def _published(self) -> int:
        """Return how many records of the workload are published."""
        self._see()
        return int(self.client.checkpoints[-1].split(b"\n")[1]) - FILLED

    def _until(self, condition: Callable[[], bool], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)


def verify_told(log: str, status: int | None) -> bool:
    """Refuse a process that ended otherwise than with one line that says why; return whether it told of anything."""
    assert "Traceback" not in log, log
    reasons = []
    for line in log.splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            reasons += [said["reason"]] if "reason" in said else []
    if status != 0:
        last = log.splitlines()[-1]
        # It may be told to stop while it ends by itself.
        assert status in {4, -signal.SIGTERM}, f"{status}: {log}"
        assert last.startswith("Error: "), log
        assert last.endswith("]"), log
    return bool(reasons) or status != 0
