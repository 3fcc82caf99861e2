"""A real agent whose disk fails: what its spool took arrives once, and what is lost is said to be."""

import json
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import grpc

from attestor.recording import RecordingWriter
from protos.stillwatch.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from statements.header import Header, decode_header
from statements.keys import write_signing_key
from statements.kinds import Kind
from statements.ledger_client import LedgerClient, Receipt
from statements.record import decode_record
from tests.faults.disk import Disk, Fault
from tests.unit.attestor.conftest import CHANNELS, header, plain_readings
from tests.unit.ledger.cast import T0, Cast, Person
from tests.unit.ledger.process import LedgerProcess, found_log
from verifier.instants import rfc3339

WINDOW: Final = 60_000
RATE: Final = 600
"""A window lasts a tenth of a second."""
CALLS: Final = 90
"""Calls to the disk after which an agent is told to end: its start, and what a few windows take."""
_NEVER: Final = 2**62
_AFTER_S: Final = 0.3
"""How long it goes on after a call that failed: three windows."""
_AGAIN: Final = 3
"""Statements that it has logged when it runs again, until it is told to end: opening, inventory, a window."""
_WITHIN_S: Final = 40.0


@dataclass
class Stage:
    """A ledger on a sane disk, with as many enrolled nodes as there are to be plays."""

    folder: Path
    cast: Cast
    ledger: LedgerProcess
    nodes: list[Person]

    @classmethod
    def make(cls, folder: Path, nodes: int) -> "Stage":
        cast = found_log(folder / "log")
        ledger = LedgerProcess(folder / "log", options=("--beat", "0.1", "--tick", "30")).start()
        said, people = cast.enrolled(nodes)
        with LedgerClient(ledger.grpc) as client:
            assert all(isinstance(one, Receipt) for one in client.append(said))
        return cls.around(folder, cast, ledger, people)

    @classmethod
    def around(
        cls, folder: Path, cast: Cast, ledger: LedgerProcess, nodes: Sequence[Person] = ()
    ) -> "Stage":
        """Return a stage around a ledger that serves."""
        (folder / "agreement.toml").write_bytes(cast.text)
        with RecordingWriter(folder / "recording.csv.gz", header(), CHANNELS) as writer:
            for reading in plain_readings(2, 600):
                writer.write(reading)
        return cls(folder, cast, ledger, list(nodes))

    def headers(self, author: bytes) -> list[Header]:
        """Return what an author said, as logged."""
        found: list[Header] = []
        with grpc.insecure_channel(self.ledger.grpc) as channel:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            at = 0
            while True:
                asked = ledger_pb2.GetRecordsRequest(start=at, count=1_000)
                try:
                    records = stub.GetRecords(asked).records
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.NOT_FOUND:
                        raise
                    return found  # the end of the log
                headers = [decode_header(decode_record(record).header) for record in records]
                found += [one for one in headers if one.author == author]
                at += len(records)


def write_config(stage: Stage, node: Person, place: Path) -> None:
    """Make a folder with all that the agent of a node needs: its spool is below ``disk``."""
    (place / "disk").mkdir(parents=True)
    write_signing_key(place / "node.key", node.key)
    (place / "agent.toml").write_text(
        f'ledger = "{stage.ledger.grpc}"\n'
        f'agreement = "{stage.folder / "agreement.toml"}"\n'
        'spool = "disk/spool.sqlite"\ndrain = "2 s"\npatience = "1 s"\ncheckpoint_every = "0.1 s"\n'
        "[[nodes]]\n"
        'name = "node"\nkey = "node.key"\n'
        f'source = {{ kind = "replay", path = "{stage.folder / "recording.csv.gz"}",'
        f' at = "{rfc3339(T0)}" }}\n'
    )


def anchor() -> str:
    """Return a clock that begins now, for a node of which nothing was said yet."""
    return f"{time.time_ns() // 1_000_000}:{T0}:{RATE}"


@contextmanager
def running(
    place: Path, log: Path, clock: str, environment: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the agent of a folder, on a clock, until the block ends; it is killed then, if it has not ended."""
    command = (
        *(sys.executable, "-m", "stillwatch", "agent", "run"),
        *("--config", str(place / "agent.toml")),
        *("--rehearsal-clock", clock, "-o", "json"),
    )
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def end(process: "subprocess.Popen[bytes]") -> tuple[int, dict[str, int]]:
    """Tell an agent to end, if it still runs; return its exit status, and what it says of itself."""
    process.terminate()
    printed, _ = process.communicate(timeout=_WITHIN_S)
    return process.returncode, json.loads(printed or b"{}")


def await_that(done: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + _WITHIN_S
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dataclass
class Play:
    """One run: a node of its own, and the disk below its spool."""

    stage: Stage
    node: Person
    place: Path
    library: Path
    fault: Fault | None = None
    keep: bool = False
    status: int | None = None
    calls: int = 0
    """Calls that a run makes, if none of them fails."""
    outcome: dict[str, int] = field(default_factory=dict)
    disk: Disk = field(init=False)

    def __post_init__(self) -> None:
        write_config(self.stage, self.node, self.place)
        fault = self.fault
        if fault is not None and fault.at > CALLS:
            fault = replace(fault, at=_NEVER)
        self.disk = Disk(self.library, self.folder, self.place, fault, keep=self.keep)
        self._anchor = anchor()

    @property
    def folder(self) -> Path:
        return self.place / "disk"

    @property
    def log(self) -> Path:
        return self.place / "agent.log"

    def work(self) -> None:
        """Attest on the disk that fails: as long as a start and some windows take, or until a call has failed.

        Calls beyond :data:`CALLS` are those of its end, counted from when it is told to.
        """
        fault, disk = self.fault, self.disk
        with running(self.place, self.log, self._anchor, disk.environment) as process:

            def is_due() -> bool:
                due = disk.failed > 0 if fault and fault.at <= CALLS else disk.calls >= CALLS
                return due or process.poll() is not None

            await_that(is_due, "an agent makes no more calls to its disk, and does not end")
            if disk.failed and process.poll() is None:
                time.sleep(_AFTER_S)
            if fault and fault.at > CALLS:
                disk.fail_after(fault.at - CALLS - 1)
            before = disk.calls
            self.status, self.outcome = end(process)
            self.calls = CALLS + disk.calls - before

    def told(self) -> tuple[str, int | None]:
        """Return what was written on stderr, and the exit status."""
        return self.log.read_text(), self.status

    def go_on(self) -> None:
        """Attest for some more windows on a sane disk: all that was spooled arrives once."""
        spooled = self.spooled()
        self._attest_again()
        self.verify_arrived(spooled)

    def _attest_again(self) -> None:
        author = self.node.key.key_id
        log = self.place / "sane.log"
        with (
            LedgerClient(self.stage.ledger.grpc) as client,
            running(self.place, log, self._anchor) as process,
        ):
            known = {head.epoch for head in client.author(author)}

            def has_attested() -> bool:
                assert process.poll() is None, log.read_text()
                heads = client.author(author)
                return any(h.epoch not in known and h.sequence + 1 >= _AGAIN for h in heads)

            await_that(has_attested, "it attests again")
            status, outcome = end(process)
        assert status == 0, log.read_text()
        assert (outcome["left_in_spool"], outcome["lost"]) == (0, 0)
        assert "Traceback" not in log.read_text()

    def spooled(self) -> list[int]:
        """Return when the windows begin that the spool holds, as the next process will find them."""
        path = self.folder / "spool.sqlite"
        if not path.exists():
            return []
        base = sqlite3.connect(path)
        try:
            rows = base.execute("SELECT header FROM statement").fetchall()
        except sqlite3.Error:
            return []
        finally:
            base.close()
        return _windows(decode_header(header) for (header,) in rows)

    def verify_arrived(self, spooled: list[int]) -> None:
        """Refuse a log that has twice, or not at all, what was spooled; or that lacks what is not said to be lost."""
        windows = said_windows(self.stage.headers(self.node.key.key_id))
        assert set(spooled) <= windows, "what was spooled did not arrive"
        if self.outcome and not self.outcome["lost"]:
            first = min(windows)
            assert all(first + at * WINDOW in windows for at in range(self.outcome["windows"]))


def said_windows(logged: Iterable[Header]) -> set[int]:
    """Return when the windows begin that a node said; refuses one that said a thing twice."""
    logged = list(logged)
    places = Counter((one.epoch, one.sequence) for one in logged)
    assert max(places.values(), default=1) == 1, "a place of the chain was used twice"
    windows = Counter(_windows(logged))
    assert max(windows.values(), default=1) == 1, "a window was told twice"
    return set(windows)


def _windows(headers: Iterable[Header]) -> list[int]:
    """Return when the windows begin that were said."""
    return sorted(one.start_ms for one in headers if one.kind == Kind.SUMMARY)
