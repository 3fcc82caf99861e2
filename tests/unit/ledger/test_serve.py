"""``stillwatch ledger``: the commands, and the process that serves."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from ledger.folder import LedgerFolder
from ledger.journal.sqlite import SqliteJournal
from ledger.sequencer import Sequencer
from ledger.service import SERVICE
from protos.stillwatch.statement.v1 import governance_pb2
from statements.ledger_client import LedgerClient, Receipt
from statements.verification.registry import SETTING
from tests.unit.ledger.cast import ORIGIN, Cast, Hours
from tests.unit.ledger.process import LedgerProcess, found_log, stillwatch
from tlog.checkpoint import verify_checkpoint
from tlog.note import Verifier


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerProcess]:
    process = LedgerProcess(tmp_path / "log")
    yield process
    process.end()


@pytest.fixture
def cast(ledger: LedgerProcess) -> Cast:
    return found_log(ledger.folder)


def fetch(ledger: LedgerProcess, path: str) -> bytes:
    with urllib.request.urlopen(f"{ledger.http}/{path}", timeout=5) as answer:
        data: bytes = answer.read()
        return data


def published_size(ledger: LedgerProcess, cast: Cast) -> int:
    note = fetch(ledger, "checkpoint")
    return verify_checkpoint(note, ORIGIN, Verifier.from_vkey(cast.signer.vkey)).size


def test_a_ledger_is_made_founded_served_proven_and_checked_from_the_command_line(
    ledger: LedgerProcess, tmp_path: Path
) -> None:
    folder = str(ledger.folder)
    made = stillwatch("ledger", "init", folder, "--origin", ORIGIN, "-o", "json")
    assert made.returncode == 0, made.stderr
    opened = LedgerFolder.open(ledger.folder)
    assert json.loads(made.stdout) == {
        "origin": ORIGIN,
        "vkey": opened.signer.vkey,
        "key": f"sha256:{opened.key.key_id.hex()}",
    }
    cast = Cast(signer=opened.signer, ledger_key=opened.key)
    (tmp_path / "agreement.toml").write_bytes(cast.text)
    begun = stillwatch(
        "ledger", "init", folder, "--agreement", str(tmp_path / "agreement.toml"), "-o", "json"
    )
    assert begun.returncode == 0, begun.stderr
    assert json.loads(begun.stdout)["size"] == 2
    assert json.loads(begun.stdout)["digest"] == f"sha256:{cast.pins.digest.hex()}"

    ledger.start()
    said = [cast.party.open(), *cast.party.summaries(300, size=10)]
    with LedgerClient(ledger.grpc) as client:
        receipts = client.append(said)
        assert all(isinstance(one, Receipt) for one in receipts)
        deadline = time.monotonic() + 10
        while published_size(ledger, cast) < 303:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while client.checkpoint() != fetch(ledger, "checkpoint"):  # the file comes first
            assert time.monotonic() < deadline
    assert ledger.stop() == 0

    receipt = receipts[150]
    assert isinstance(receipt, Receipt)
    proven = stillwatch("ledger", "prove", folder, str(receipt.index), "-o", "json")
    assert proven.returncode == 0, proven.stderr
    assert json.loads(proven.stdout)["record"] == receipt.record.hex()
    checked = stillwatch("ledger", "fsck", folder, "-o", "json")
    assert checked.returncode == 0, checked.stdout
    assert json.loads(checked.stdout)["clean"]


def test_a_ledger_tells_where_it_serves_that_it_is_well_and_what_it_offers(
    cast: Cast, ledger: LedgerProcess
) -> None:
    ledger.start()
    assert published_size(ledger, cast) >= 2
    with grpc.insecure_channel(ledger.grpc) as channel:
        check: grpc.UnaryUnaryMultiCallable[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ] = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        for service in ("", SERVICE):
            answer = check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflect: grpc.StreamStreamMultiCallable[
            reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
        ] = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (listed,) = reflect(iter([asked]), timeout=5)
        assert SERVICE in {one.name for one in listed.list_services_response.service}


def test_the_folders_private_part_is_not_served(cast: Cast, ledger: LedgerProcess) -> None:
    ledger.start()
    for path in ("private/note.key", "private/ledger.json", "private/journal.sqlite", "private"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(ledger, path)
        assert refused.value.code == 404
        refused.value.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_ledger_that_is_told_to_stop_publishes_what_it_acknowledged_and_ends_well(
    cast: Cast, ledger: LedgerProcess, number: signal.Signals
) -> None:
    ledger.options = ("--beat", "3600")
    ledger.start()
    with LedgerClient(ledger.grpc) as client:
        receipts = client.append([cast.party.open(), *cast.party.summaries(20)])
        assert ledger.process is not None
        began = time.monotonic()
        ledger.process.send_signal(number)
        assert ledger.process.wait(10) == 0
    assert time.monotonic() - began < 3
    note = (ledger.folder / "checkpoint").read_bytes()
    size = verify_checkpoint(note, ORIGIN, Verifier.from_vkey(cast.signer.vkey)).size
    assert max(one.index for one in receipts if isinstance(one, Receipt)) < size
    assert "stopped" in ledger.log.read_text()


def test_a_ledger_ticks_by_its_own_clock(cast: Cast, ledger: LedgerProcess) -> None:
    now = time.time_ns() // 1_000_000
    ledger.options = ("--beat", "0.05", "--tick", "60", "--rehearsal-clock", f"{now}:{now}:120")
    ledger.start()
    deadline = time.monotonic() + 15
    while published_size(ledger, cast) < 2 + 4:
        assert time.monotonic() < deadline, "two ticks a second, and nobody else speaks"
        time.sleep(0.05)
    assert ledger.stop() == 0
    assert stillwatch("ledger", "fsck", str(ledger.folder)).returncode == 0


@pytest.mark.parametrize("option", ["--grpc", "--http"])
def test_an_address_in_use_is_one_line_and_not_a_trace(
    cast: Cast, ledger: LedgerProcess, option: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free = {"--grpc": "127.0.0.1:0", "--http": "127.0.0.1:0"}
        free[option] = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = [word for pair in free.items() for word in pair]
        ended = stillwatch("ledger", "serve", str(ledger.folder), *arguments)
    assert ended.returncode == 4
    assert "[ADDRESS_IN_USE]" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_log_whose_founding_stopped_half_way_is_not_served(
    ledger: LedgerProcess, tmp_path: Path
) -> None:
    cast = found_log(ledger.folder)
    journal = ledger.folder / "private/journal.sqlite"
    journal.unlink()
    for name in ("checkpoint", "tile", "bodies"):
        place = ledger.folder / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    half = SqliteJournal(ledger.folder / "private")
    sequencer = Sequencer.open(half, cast.keyring(), Hours())
    message = governance_pb2.Agreement(text=cast.text)
    sequencer.say(cast.ledger_key, message, draw=cast.draw.randbytes)
    half.close()
    ended = stillwatch("ledger", "serve", str(ledger.folder), "--grpc", "127.0.0.1:0")
    assert ended.returncode == 4
    assert "[HALF_FOUNDED]" in ended.stderr
    assert "ledger init" in ended.stderr
    (tmp_path / "agreement.toml").write_bytes(cast.text)
    begun = stillwatch(
        "ledger", "init", str(ledger.folder), "--agreement", str(tmp_path / "agreement.toml")
    )
    assert begun.returncode == 0, begun.stderr
    ledger.start()
    assert ledger.stop() == 0


@pytest.mark.parametrize("screeners", ["0", "1"])
def test_a_ledger_tells_what_verifies_its_signatures(
    ledger: LedgerProcess, cast: Cast, screeners: str
) -> None:
    ledger.options = ("--beat", "0.1", "--screeners", screeners)
    ledger.environment = {**os.environ, SETTING: "cryptography"}
    ledger.start()
    with LedgerClient(ledger.grpc) as client:
        assert isinstance(client.append([cast.party.open()])[0], Receipt)
    assert ledger.stop() == 0
    lines = [json.loads(line) for line in ledger.log.read_text().splitlines()]
    (serving,) = (line for line in lines if line["event"] == "serving")
    assert serving["signatures"] == "cryptography"
    assert serving["because"] == f"{SETTING} names it"


def test_a_ledger_does_not_start_without_the_backend_that_was_named(
    ledger: LedgerProcess, cast: Cast
) -> None:
    ledger.environment = {**os.environ, SETTING: "magic"}
    ledger.launch()
    assert ledger.process is not None
    assert ledger.process.wait(30) != 0
    assert "[UNKNOWN_BACKEND]" in ledger.log.read_text()


def test_a_ledger_that_ends_by_itself_says_why_also_when_it_is_told_to_end_meanwhile(
    tmp_path: Path,
) -> None:
    found_log(tmp_path / "log")
    run = f"""
import asyncio, os, signal, sys
from ledger import server
from ledger.errors import JournalError

class Ending:
    def __init__(self, *_): pass
    async def run(self):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
        raise JournalError("STORAGE", "the disk is full")

class Journal:
    def close(self): os.kill(os.getpid(), signal.SIGTERM)

server.Server, server.open_journal = Ending, lambda *_: Journal()
sys.argv = ["stillwatch", "ledger", "serve", {str(tmp_path / "log")!r}]
from stillwatch import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", run], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (4, "Error: the disk is full [STORAGE]\n")
