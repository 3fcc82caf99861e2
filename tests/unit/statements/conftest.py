"""A real ledger in a process of its own, and one whose answers a test writes, for those who speak to ledgers."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from protos.stillwatch.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from statements.keys import write_signing_key
from statements.pins import Pins, read_pins
from statements.signing import SigningKey

ORIGIN = "rehearsal.example/statements"
AGREEMENT = """
[agreement]
id = "test-pause"
[windows]
length = "60 s"
late_grace = "5 min"
tick = "60 s"
[witnesses]
policy = "quorum none"
[[parties]]
id = "aster"
key = "sha256:{party}"
[[evaluators]]
id = "gauge"
key = "sha256:{gauge}"
recovery = "sha256:{saviour}"
[[verifiers]]
id = "auditor"
key = "sha256:{auditor}"
[[adjudicators]]
id = "judge-1"
key = "sha256:{judge_1}"
[[adjudicators]]
id = "judge-2"
key = "sha256:{judge_2}"
[panel]
members = ["judge-1", "judge-2"]
quorum = 2
[[ledgers]]
origin = "{origin}"
vkey = "{vkey}"
key = "{key}"
"""
_PEOPLE = ("party", "gauge", "saviour", "auditor", "judge-1", "judge-2")


@contextmanager
def no_room(size: int = 100) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass(frozen=True)
class RealLedger:
    """Where a ledger listens, the agreement that it serves, and the file of the one party's key.

    Beside it are the agreement, and the keys of everybody else: ``NAME.key``.
    """

    target: str
    pins: Pins
    party: Path

    @property
    def agreement(self) -> Path:
        return self.party.with_name("agreement.toml")

    def key(self, name: str) -> Path:
        return self.party.with_name(f"{name}.key")


def _stillwatch(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stillwatch", *arguments]


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLedger]:
    folder = tmp_path_factory.mktemp("ledger")
    people = {name: SigningKey.generate() for name in _PEOPLE}
    for name, key in people.items():
        write_signing_key(folder / f"{name}.key", key)
    log, agreement = str(folder / "log"), folder / "agreement.toml"
    command = _stillwatch("ledger", "init", log, "--origin", ORIGIN, "-o", "json")
    own = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    pinned = {name.replace("-", "_"): key.key_id.hex() for name, key in people.items()}
    agreement.write_text(AGREEMENT.format(**pinned, **own))
    command = _stillwatch("ledger", "init", log, "--agreement", str(agreement))
    subprocess.run(command, check=True, capture_output=True)
    ready = folder / "ready.json"
    command = _stillwatch("ledger", "serve", log, "--ready-file", str(ready), "--beat", "0.05")
    command += ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not ready.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        places = json.loads(ready.read_text())
        yield RealLedger(places["grpc"], read_pins(agreement.read_bytes()), folder / "party.key")
        process.terminate()


@dataclass
class Liar:
    """A ledger that answers whatever it was told to, and hangs up when it was told nothing."""

    target: str = ""
    answers: dict[str, object] = field(default_factory=dict)
    appends: list[ledger_pb2.AppendRequest] = field(default_factory=list)
    answer_append: Callable[[ledger_pb2.AppendRequest], ledger_pb2.AppendResponse | None] = (
        lambda _: None
    )

    def Append(self, request_iterator, context):  # type: ignore[no-untyped-def] # noqa: N802 - as generated
        for request in request_iterator:
            self.appends.append(request)
            answer = self.answer_append(request)
            if answer is None:
                return
            yield answer

    def _answer(self, method: str) -> Callable[[object, object], object]:
        return lambda _request, _context: self.answers[method]


@pytest.fixture
def babbler() -> Iterator[str]:
    """Where a server listens whose every answer is bytes that are no message."""

    def noise(_request: object, _context: object) -> bytes:
        return b"\xff\xff\xff"

    def stream(_requests: object, _context: object) -> Iterator[bytes]:
        yield b"\xff\xff\xff"

    service = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"]
    handlers: dict[str, Any] = {  # grpc types its handlers by their messages, and these take none
        method: grpc.stream_stream_rpc_method_handler(stream)
        if method == "Append"
        else grpc.unary_unary_rpc_method_handler(noise)
        for method in service.methods_by_name
    }
    server = grpc.server(ThreadPoolExecutor(2))
    generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
    server.add_generic_rpc_handlers((generic,))
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield target
    server.stop(0).wait()


@pytest.fixture
def liar() -> Iterator[Liar]:
    servicer = Liar()
    for method in ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"].methods_by_name:
        if method != "Append":
            setattr(servicer, method, servicer._answer(method))
    server = grpc.server(ThreadPoolExecutor(2))
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(
        cast("ledger_pb2_grpc.LedgerServiceServicer", servicer), server
    )
    servicer.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    server.stop(0).wait()
