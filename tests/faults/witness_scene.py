"""A real witness whose disk fails: whatever it cosigned, it knows for ever."""

import http.client
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ledger.witness.folder import WitnessFolder
from tests.faults.disk import Disk, Fault, Platter
from tests.unit.ledger.witness.test_witness import FORKED, SIGNER, request
from tlog.witness import ADD_CHECKPOINT, parse_size

SIZES: Final = (3, 3, 7, 20, 33)
"""What the log asks to have cosigned, in order; the second request is the first once more."""
_TRIES: Final = 2
_WITHIN_S: Final = 20.0


def template(folder: Path) -> Path:
    """Make a witness that knows one log and has cosigned nothing."""
    made = WitnessFolder.create(folder, "witness.example/w")
    memory = made.memory()
    memory.add_log(SIGNER.name, SIGNER.vkey)
    memory.close()
    return folder


@dataclass
class Play:
    """One run: a witness of its own, the disk below it, and a log that asks."""

    template: Path
    place: Path
    library: Path
    fault: Fault | None = None
    keep: bool = False
    cosigned: int = 0
    status: int | None = None
    disk: Disk = field(init=False)

    def __post_init__(self) -> None:
        self.place.mkdir()
        shutil.copytree(self.template, self.folder)
        self.disk = Disk(self.library, self.place / "disk", self.place, self.fault, keep=self.keep)

    @property
    def folder(self) -> Path:
        return self.place / "disk" / "witness"

    @property
    def log(self) -> Path:
        return self.place / "witness.log"

    def work(self, *, kill: bool = False) -> None:
        """Serve, ask for everything, and stop, or be killed: all on the disk that fails."""
        with self.log.open("ab") as sink:
            process, place = serve(self.folder, sink, self.disk.environment)
        try:
            if place is not None:
                self._ask(place)
            self.status = None if kill else _stop(process)
        finally:
            process.kill()
            process.wait()

    @property
    def calls(self) -> int:
        """Calls to the disk that it made."""
        return self.disk.calls

    def told(self) -> tuple[str, int | None]:
        """Return what was written on stderr, and the exit status."""
        return self.log.read_text(), self.status

    def go_on(self) -> None:
        """Serve again on a sane disk: nothing that was cosigned is forgotten, and the log is cosigned on."""
        verify_remembers(self.folder, self.cosigned, self.place / "sane.log")

    def cut_at_the_end(self) -> None:
        """Cut the power after all that was worked, on both kinds of file system, and go on."""
        platter = Platter(self.place / "disk", self.template.parent)
        platter.play(self.disk.read())
        for strict in (True, False):
            shutil.rmtree(self.place / "disk")
            platter.cut(self.place / "disk", strict=strict)
            self.go_on()

    def _ask(self, place: str) -> None:
        for size in SIZES:
            if size < self.cosigned:
                continue
            for _ in range(_TRIES):
                answer = ask(place, request(self.cosigned, size))
                if answer is not None and answer[0] == HTTPStatus.OK:
                    self.cosigned = size
                    self.disk.mark(f"cosigned {size}")
                    break
                if answer is not None and answer[0] == HTTPStatus.CONFLICT:
                    known = parse_size(answer[1])
                    assert known in SIZES, "a commit whose answer was lost, and nothing else"
                    assert known > self.cosigned
                    answer = ask(place, request(known, known))
                    if answer is not None and answer[0] == HTTPStatus.OK:
                        self.cosigned = known
                        self.disk.mark(f"cosigned {known}")
                        break
                elif answer is not None:
                    assert answer[0] == HTTPStatus.SERVICE_UNAVAILABLE, answer
                    assert answer[1].rstrip().endswith(b"]"), answer
            else:
                return


def serve(
    folder: Path, sink: object, environment: Mapping[str, str] | None
) -> "tuple[subprocess.Popen[bytes], str | None]":
    """Start a witness; return it, and where it listens: ``None`` when it ended instead."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = (
        *(sys.executable, "-m", "stillwatch", "witness", "serve", str(folder)),
        *("--http", "127.0.0.1:0", "--ready-file", str(ready)),
    )
    process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)  # type: ignore[call-overload]
    deadline = time.monotonic() + _WITHIN_S
    while not ready.exists():
        if process.poll() is not None:
            return process, None
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError("the witness neither serves nor ends")
        time.sleep(0.01)
    return process, str(json.loads(ready.read_text())["http"])


def ask(place: str, body: bytes) -> tuple[int, bytes] | None:
    """Post a request; ``None`` when nobody answers."""
    where = urlsplit(place)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=5)
    try:
        connection.request("POST", f"/{ADD_CHECKPOINT}", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def verify_remembers(folder: Path, cosigned: int, log: Path) -> None:
    """Refuse a witness that knows less than it cosigned, or cosigns what contradicts it."""
    with log.open("ab") as sink:
        process, place = serve(folder, sink, None)
    try:
        assert place is not None, log.read_text()
        forked = ask(place, request(0, 1, FORKED))
        if cosigned == 0 and forked is not None and forked[0] == HTTPStatus.OK:
            return  # it never cosigned anything, and knows so
        assert forked is not None
        assert forked[0] == HTTPStatus.CONFLICT, f"it forgot what it cosigned: {forked}"
        known = parse_size(forked[1])
        assert known is not None
        assert known >= cosigned, f"it knows {known} and cosigned {cosigned}"
        for old, new in ((known, known), (known, known + 1)):
            refused = ask(place, request(old, new, FORKED))
            assert refused is not None
            assert refused[0] != HTTPStatus.OK
        good = ask(place, request(known, 40))
        assert good is not None
        assert good[0] == HTTPStatus.OK, good
        assert _stop(process) == 0
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()


def _stop(process: "subprocess.Popen[bytes]") -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    return process.wait(_WITHIN_S)
