"""A real ledger: ``stillwatch ledger serve`` in a process of its own, on loopback and on the disk."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from simulator.demo.processes import Processes, stillwatch
from simulator.demo.witnesses import make_witnesses, policy_of, start_witnesses
from statements.clock import ScaledClock
from statements.log_trust import LogTrust
from statements.pins import Pins, read_pins
from statements.signing import SigningKey
from statements.tls import ClientTls
from tests.pki import authority, write_folder
from tlog.checkpoint import parse_checkpoint
from tlog.note import NOTE_LIMIT, parse_note
from verifier.mirror.prefix import LogPrefix, fetch_prefix
from verifier.mirror.source import FolderSource

ORIGIN: Final = "rehearsal.example/bench"
_BUILD: Final = Path(__file__).parents[3] / "build"
"""Not the system's folder for temporary files, which may be memory: what is durable costs what a disk costs."""
_PUBLISHED_WITHIN_S: Final = 60.0
_AGREEMENT: Final = '''\
[agreement]
id = "bench"

[[parties]]
id = "lab"
key = "sha256:{party}"

[[ledgers]]
origin = "{origin}"
vkey = "{vkey}"
key = "{key}"

[witnesses]
policy = """
{policy}"""

[windows]
length = "60 s"
late_grace = "10 min"
tick = "60 s"
'''


@dataclass(frozen=True, slots=True)
class LogServer:
    """A ledger that runs: its gRPC address, the folder of its static files, and the agreement that it serves.

    ``tls`` is what its clients speak to it with, where it takes TLS.
    """

    grpc: str
    folder: Path
    pins: Pins
    tls: ClientTls | None = None

    @property
    def trust(self) -> LogTrust:
        """What is believed of it."""
        return LogTrust.of(self.pins, self.pins.ledger(ORIGIN))

    def published(self, size: int) -> LogPrefix:
        """Return the log from its static files, every byte verified, once so many records are under a checkpoint."""
        self.await_published(size)
        return fetch_prefix(FolderSource(self.folder), self.trust)

    def await_published(self, size: int) -> None:
        """Wait until so many records are under a checkpoint."""
        deadline = time.monotonic() + _PUBLISHED_WITHIN_S
        source = FolderSource(self.folder)
        while True:
            note = source.read("checkpoint", NOTE_LIMIT) or b""
            found = parse_checkpoint(parse_note(note)).size
            if found >= size:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{found} records were published, {size} acknowledged")
            time.sleep(0.05)


@contextmanager
def serving(
    party: SigningKey, *, witnesses: int = 0, beat_s: float | None = None, tls: bool = False
) -> Iterator[LogServer]:
    """Make a ledger whose agreement pins that party, serve it, and take it away again.

    Each of so many witnesses is a process of its own, and all of three must cosign; without any there is
    ``quorum none``. ``beat_s`` seconds between checkpoints are the ledger's default where they are not given. With
    ``tls`` it takes mutual TLS.
    """
    _BUILD.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=_BUILD, prefix="bench-") as made:
        root = Path(made)
        log, ready = root / "log", root / "ready.json"
        others = make_witnesses(root / "witnesses", [f"w{at}" for at in range(witnesses)])
        policy = policy_of(others) if others else "quorum none\n"
        with Processes(root / "logs") as processes:
            made_keys = processes.run(
                "init", stillwatch("ledger", "init", str(log), "--origin", ORIGIN, "-o", "json")
            )
            keys = json.loads(made_keys.stdout)
            text = _AGREEMENT.format(party=party.key_id.hex(), policy=policy, **keys)
            (root / "agreement.toml").write_text(text)
            pins = read_pins(text.encode())
            now_ms = time.time_ns() // 1_000_000
            start_witnesses(others, pins, processes, ScaledClock(now_ms, now_ms, 1.0))
            begin = ("ledger", "init", str(log), "--agreement", str(root / "agreement.toml"))
            processes.run("init", stillwatch(*begin))
            listen = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file", str(ready)]
            listen += [] if beat_s is None else ["--beat", f"{beat_s:g}"]
            secured = _certificates(root) if tls else None
            listen += [] if secured is None else ["--tls", str(root / "tls")]
            processes.start("ledger", stillwatch("ledger", "serve", str(log), *listen))
            places = json.loads(processes.await_file(ready, 30))
            yield LogServer(places["grpc"], log, pins, secured)
            processes.stop("ledger")


def _certificates(root: Path) -> ClientTls:
    """Make what a ledger on loopback takes, and return what its clients do."""
    operator, lab = authority("operator"), authority("lab")
    own = operator.issue("ledger", hosts=["127.0.0.1"])
    write_folder(root / "tls", own, clients={"lab": (lab, ["append", "read"])})
    return ClientTls(write_folder(root / "client-tls", lab.issue("client"), trusts=[operator]))
