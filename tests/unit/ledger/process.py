"""A real ledger: ``stillwatch ledger serve`` in a process of its own, on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ledger.folder import LedgerFolder
from ledger.founding import found
from ledger.journal.registry import open_journal
from ledger.objects.registry import open_store
from ledger.publisher import Publisher
from statements.clock import SystemClock
from tests.unit.ledger.cast import ORIGIN, Cast

READY_WITHIN_S: Final = 60.0


def found_log(folder: Path, policy: str = "quorum none", disclosure: str = "") -> Cast:
    """Make a ledger's folder, found its log, and return who speaks in it."""
    made = LedgerFolder.create(folder, ORIGIN)
    cast = Cast(policy=policy, disclosure=disclosure, signer=made.signer, ledger_key=made.key)
    journal = open_journal(made.journal, made.private)
    found(made, journal, cast.text, SystemClock(), cast.draw.randbytes)
    publisher = Publisher(journal, open_store(made.objects, folder), made.signer)
    publisher.open()
    publisher.publish()
    journal.close()
    return cast


@dataclass
class LedgerProcess:
    """One ledger; ``start`` may be called again once it has ended. What it prints is in ``log``, beside the folder."""

    folder: Path
    options: Sequence[str] = ("--beat", "0.1")
    grpc: str = "127.0.0.1:0"
    http: str = ""
    log_file: Path | None = None
    environment: Mapping[str, str] | None = None
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        return self.log_file or self.folder.with_name(self.folder.name + ".log")

    def command(self, grpc: str = "127.0.0.1:0") -> list[str]:
        return [
            *(sys.executable, "-m", "stillwatch", "ledger", "serve", str(self.folder)),
            *("--grpc", grpc, "--http", "127.0.0.1:0", "--ready-file", str(self._ready)),
            *self.options,
        ]

    def start(self) -> "LedgerProcess":
        """Start serving, at the same gRPC address as before, and wait until it does."""
        self.launch()
        return self.await_ready()

    def launch(self) -> None:
        """Start, and do not wait."""
        self._ready.unlink(missing_ok=True)
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                self.command(self.grpc), stdout=sink, stderr=sink, env=self.environment
            )

    def await_ready(self, within_s: float = READY_WITHIN_S) -> "LedgerProcess":
        """Wait until it serves."""
        assert self.process is not None
        deadline = time.monotonic() + within_s
        with ExitStack() as late:
            late.callback(self.end)
            while not self._ready.exists():
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.01)
            late.pop_all()
        places = json.loads(self._ready.read_text())
        self.grpc, self.http = places["grpc"], places["http"]
        return self

    def kill(self) -> None:
        """End it, and all processes of its own, as a power cut would, as far as a process can tell."""
        assert self.process is not None
        family = children_of(self.process.pid)
        self.process.kill()
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, within_s: float = 10.0) -> int:
        """Ask it to end, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def end(self) -> None:
        """Take it away, in whatever state it is."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def _ready(self) -> Path:
        return self.log.with_suffix(".ready")


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:  # it ended meanwhile
        return []
    own = [int(word) for word in text.split()]
    return own + [below for one in own for below in children_of(one)]


def stillwatch(*arguments: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "stillwatch", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
