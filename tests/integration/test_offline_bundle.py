"""From a log that is served, witnessed and growing to somebody who has one file, one digest, and no log."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ledger.address import Address
from ledger.witness.folder import WitnessFolder
from ledger.witness.memory import WitnessMemory
from ledger.witness.server import WitnessServer
from ledger.witness.witness import Witness
from statements.author import Statement
from statements.clock import SystemClock
from statements.ledger_client import LedgerClient, Receipt
from statements.offline_bundle import decode_offline_bundle, encode_offline_bundle
from tests.unit.ledger.cast import Cast, Person
from tests.unit.ledger.process import LedgerProcess, found_log, stillwatch
from tests.unit.verifier.offline.test_base_install import without_extras
from tlog.checkpoint import parse_checkpoint
from tlog.note import Note, parse_note

WINDOWS = 300


@dataclass
class Log:
    """A served log with three witnesses, two of which are a quorum."""

    cast: Cast
    node: Person
    served: LedgerProcess
    agreement: Path

    @property
    def digest(self) -> str:
        return f"sha256:{self.cast.pins.digest.hex()}"

    def append(self, statements: list[Statement]) -> list[int]:
        """Log statements, and return their indices once a published tree has them."""
        with LedgerClient(self.served.grpc) as client:
            results = client.append(statements)
        indices = [result.index for result in results if isinstance(result, Receipt)]
        assert len(indices) == len(statements), results
        deadline = time.monotonic() + 20
        while self.size() <= max(indices):
            assert time.monotonic() < deadline, self.served.log.read_text()
            time.sleep(0.05)
        return indices

    def size(self) -> int:
        note = (self.served.folder / "checkpoint").read_bytes()
        return parse_checkpoint(parse_note(note)).size


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    place = tmp_path_factory.mktemp("served")
    standing: list[tuple[WitnessMemory, WitnessServer]] = []
    lines = []
    for name in ("a", "b", "c"):
        folder = WitnessFolder.create(place / name, f"witness.example/{name}")
        memory = folder.memory()
        server = WitnessServer(Address("127.0.0.1", 0), Witness(memory, folder.keys, SystemClock()))
        standing.append((memory, server))
        lines.append(f"witness {name} {folder.keys[0].vkey} http://127.0.0.1:{server.port}/")
    cast = found_log(place / "log", "\n".join([*lines, "group q 2 a b c", "quorum q"]))
    for memory, _ in standing:
        memory.add_log(cast.signer.name, cast.signer.vkey)
    (place / "agreement.toml").write_bytes(cast.text)
    served = LedgerProcess(place / "log").start()
    enrolments, [node] = cast.enrolled()
    made = Log(cast, node, served, place / "agreement.toml")
    made.append([*enrolments, node.open(), *node.summaries(WINDOWS)])
    yield made
    assert served.stop() == 0
    for memory, server in standing:
        server.close()
        memory.close()


def test_what_a_served_log_exports_is_verified_without_it(log: Log, tmp_path: Path) -> None:
    bundle, node = tmp_path / "node.tar", log.node.key.key_id.hex()
    made = stillwatch(
        "ledger", "export", str(log.served.folder), "--out", str(bundle), "--author", node
    )
    assert made.returncode == 0, made.stderr
    done = without_extras("verify", "bundle", str(bundle), "--agreement-digest", log.digest)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "a quorum of witnesses cosigned it: " in done.stdout
    assert "QUORUM_NONE" not in done.stdout
    records = 4 + 1 + WINDOWS  # the agreement, two openings, the enrolment; then the node's own
    assert f"{records} of {records} signatures hold" in done.stdout


def test_a_log_that_grows_meanwhile_gives_whole_bundles(log: Log, tmp_path: Path) -> None:
    enough = threading.Event()

    def grow() -> None:
        while not enough.is_set():
            log.append(log.node.summaries(40))

    with ThreadPoolExecutor(1) as aside:
        growing = aside.submit(grow)
        try:
            for at in range(4):
                out = str(tmp_path / f"{at}.tar")
                made = stillwatch("ledger", "export", str(log.served.folder), "--out", out)
                assert made.returncode == 0, made.stderr
        finally:
            enough.set()
        growing.result()
    sizes = []
    for at in range(4):
        bundle = tmp_path / f"{at}.tar"
        done = without_extras("verify", "bundle", str(bundle), "--agreement-digest", log.digest)
        assert done.returncode == 0, done.stdout
        sizes.append(len(decode_offline_bundle(bundle.read_bytes()).indices))
    assert sizes == sorted(set(sizes)), "it grew"


def test_a_bundle_whose_cosignatures_were_taken_away_is_refuted(log: Log, tmp_path: Path) -> None:
    whole, bare = tmp_path / "whole.tar", tmp_path / "bare.tar"
    stillwatch("ledger", "export", str(log.served.folder), "--out", str(whole))
    bundle = decode_offline_bundle(whole.read_bytes())
    note = parse_note(bundle.note)
    alone = Note(
        note.text, tuple(line for line in note.signatures if line.name == log.cast.signer.name)
    )
    assert len(alone.signatures) == 1
    bare.write_bytes(encode_offline_bundle(replace(bundle, note=alone.encode())))
    done = without_extras("verify", "bundle", str(bare), "--agreement-digest", log.digest)
    assert done.returncode == 1
    assert "[NOT_COSIGNED]" in done.stdout


def test_one_record_is_proved_to_somebody_who_has_no_log(log: Log, tmp_path: Path) -> None:
    names = {name: str(tmp_path / name) for name in ("out", "record", "body")}
    options = [word for name, path in names.items() for word in (f"--{name}", path)]
    made = stillwatch("ledger", "prove", str(log.served.folder), "100", *options)
    assert made.returncode == 0, made.stderr
    key = tmp_path / "node.der"
    key.write_bytes(log.node.key.spki)
    done = without_extras(
        *("verify", "record", "--agreement", str(log.agreement)),
        *("--agreement-digest", log.digest, "--proof", names["out"]),
        *("--record", names["record"], "--body", names["body"], "--key", str(key)),
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "[WITNESSES]" in done.stdout
    assert "[SIGNATURE]" in done.stdout
