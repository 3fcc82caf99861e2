"""A real agent whose disk fails: what its spool took arrives once, and what is lost is said to be."""

import json
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
WINDOWS: Final = 9
"""Windows of the agent's clock from its start to its end, at least; the first pass while it starts."""
ATTESTED: Final = 3
"""Windows that are left after a start, at least: on a busy machine a start may take longer than nine."""
_STARTS: Final = 5
_WITHIN_S: Final = 40.0


@dataclass
class Stage:
    """A ledger on a sane disk, with as many enrolled nodes as there are to be plays."""

    folder: Path
    cast: Cast
    ledger: LedgerProcess
    nodes: list[Person]
    windows: int = WINDOWS
    """From the start of an agent to its end, here and now."""

    @classmethod
    def make(cls, folder: Path, nodes: int) -> "Stage":
        cast = found_log(folder / "log")
        ledger = LedgerProcess(folder / "log", options=("--beat", "0.1", "--tick", "30")).start()
        said, people = cast.enrolled(nodes)
        with LedgerClient(ledger.grpc) as client:
            assert all(isinstance(one, Receipt) for one in client.append(said))
        stage = cls.around(folder, cast, ledger, people)
        stage.find_windows()
        return stage

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

    def find_windows(self) -> None:
        """Let an agent run on a sane disk, for longer and longer, until its start leaves some windows to attest."""
        place = self.folder / "trial"
        clock = anchor()
        write_config(self, self.nodes.pop(), place)
        for _ in range(_STARTS):
            status, outcome = run(place, place / "agent.log", clock, self.windows)
            assert status == 0, (place / "agent.log").read_text()
            if outcome["windows"] >= ATTESTED:
                return
            self.windows *= 2
        raise AssertionError(f"an agent takes longer to start than {self.windows} windows")

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


def run(
    place: Path,
    log: Path,
    clock: str,
    windows: int,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, int]]:
    """Run the agent of a folder for so many windows from now on; return its exit status, and what it says of itself."""
    real, begin, rate = map(int, clock.split(":"))
    now = begin + (time.time_ns() // 1_000_000 - real) * rate
    until = rfc3339((now // WINDOW + windows) * WINDOW)
    with log.open("wb") as sink:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "stillwatch", "agent", "run"),
                *("--config", str(place / "agent.toml")),
                *("--rehearsal-clock", clock, "--until", until, "-o", "json"),
            ],
            stdout=subprocess.PIPE,
            stderr=sink,
            env=environment,
            timeout=_WITHIN_S,
            check=False,
        )
    return done.returncode, json.loads(done.stdout or b"{}")


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
    outcome: dict[str, int] = field(default_factory=dict)
    disk: Disk = field(init=False)

    def __post_init__(self) -> None:
        write_config(self.stage, self.node, self.place)
        self.disk = Disk(self.library, self.folder, self.place, self.fault, keep=self.keep)
        self._anchor = anchor()

    @property
    def folder(self) -> Path:
        return self.place / "disk"

    @property
    def log(self) -> Path:
        return self.place / "agent.log"

    def work(self) -> None:
        """Attest for some windows on the disk that fails."""
        windows = self.stage.windows
        self.status, self.outcome = run(
            self.place, self.log, self._anchor, windows, self.disk.environment
        )

    def told(self) -> tuple[str, int | None]:
        """Return what was written on stderr, and the exit status."""
        return self.log.read_text(), self.status

    def go_on(self) -> None:
        """Attest for some more windows on a sane disk: all that was spooled arrives once."""
        spooled = self.spooled()
        self._attest_again()
        self.verify_arrived(spooled)

    def _attest_again(self) -> None:
        outcome = {"windows": 0}
        for start in range(_STARTS):
            log = self.place / "sane.log"
            status, outcome = run(self.place, log, self._anchor, self.stage.windows << start)
            assert status == 0, log.read_text()
            assert (outcome["left_in_spool"], outcome["lost"]) == (0, 0)
            if outcome["windows"]:
                break
        assert outcome["windows"], "it attests again"
        assert "Traceback" not in (self.place / "sane.log").read_text()

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
