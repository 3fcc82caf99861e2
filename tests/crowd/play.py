"""A crowd: one ledger, three witnesses, any number of authors, each a process of its own on loopback."""

import json
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from attestor.identity import enrolment, request_enrolment, token_digest, verify_request
from simulator.demo.processes import Processes, stillwatch
from simulator.demo.witnesses import make_witnesses, policy_of, start_witnesses
from statements.clock import ScaledClock
from statements.keys import write_signing_key
from statements.ledger_client import LedgerClient
from statements.log_trust import LogTrust
from statements.pins import Pins, read_pins
from statements.publication import publish
from statements.signing import SigningKey

ORIGIN = "rehearsal.example/crowd"
READY_S = 30.0
DEADLINE_S = 300.0
AGREEMENT = """
[agreement]
id = "crowd"

[[parties]]
id = "lab"
key = "sha256:{party}"

[[ledgers]]
origin = "{origin}"
vkey = "{vkey}"
key = "{key}"

[witnesses]
policy = \"\"\"
{policy}\"\"\"

[windows]
length = "60 s"
late_grace = "10 min"
tick = "60 s"
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a crowd: records in the log, receipts that a client proved, what fsck found wrong."""

    records: int
    proved: int
    flaws: int
    fsck_status: int


def play(folder: Path, *, authors: int, windows: int) -> Told:
    """Have ``authors`` say ``windows`` each; then stop everybody, and check the log from its static files."""
    log, party = folder / "log", SigningKey.generate()
    write_signing_key(folder / "party.key", party)
    witnesses = make_witnesses(folder / "witnesses", ("one", "two", "three"))
    with Processes(folder / "processes") as processes:
        made = processes.run(
            "init", stillwatch("ledger", "init", str(log), "--origin", ORIGIN, "-o", "json")
        )
        agreement = folder / "agreement.toml"
        agreement.write_text(
            AGREEMENT.format(
                party=party.key_id.hex(), origin=ORIGIN, vkey=made.field("vkey"),
                key=made.field("key"), policy=policy_of(witnesses),
            )
        )  # fmt: skip
        pins = read_pins(agreement.read_bytes())
        now_ms = time.time_ns() // 1_000_000
        start_witnesses(witnesses, pins, processes, ScaledClock(now_ms, now_ms, 1.0))
        processes.run(
            "begin", stillwatch("ledger", "init", str(log), "--agreement", str(agreement))
        )
        ready = folder / "ready.json"
        listen = ("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--beat", "0.5")
        processes.start(
            "ledger",
            stillwatch("ledger", "serve", str(log), *listen, "--ready-file", str(ready)),
        )
        grpc = json.loads(processes.await_file(ready, READY_S))["grpc"]
        _enrol(folder, grpc, pins, party, authors)
        receipts = [folder / f"{number}.receipts" for number in range(authors)]
        for number, out in enumerate(receipts):
            told = (grpc, str(agreement), str(folder / f"{number}.key"), str(windows), str(out))
            author = [sys.executable, "-m", "tests.crowd.author", *told]
            processes.start(f"author-{number}", author)
        for number in range(authors):
            processes.await_end(f"author-{number}", DEADLINE_S)
        _await_published(log, pins, authors * (windows + 1))
        processes.stop("ledger")
        processes.stop(*(f"witness-{one.name}" for one in witnesses))
        checked = processes.run(
            "fsck",
            stillwatch("ledger", "fsck", str(log), "-o", "json"),
            accept=(0, 1),
            timeout_s=DEADLINE_S,
        )
        words = [str(path) for path in receipts]
        proved = processes.run(
            "proofs",
            [sys.executable, "-m", "tests.crowd.proofs", str(log), str(agreement), *words],
            timeout_s=DEADLINE_S,
        )
    flaws, size = checked.field("flaws"), checked.field("size")
    assert isinstance(flaws, list)
    assert isinstance(size, int)
    return Told(size, int(proved.stdout), len(flaws), checked.status)


def _enrol(folder: Path, grpc: str, pins: Pins, party: SigningKey, authors: int) -> None:
    with LedgerClient(grpc) as client:
        for number in range(authors):
            node = SigningKey.generate()
            write_signing_key(folder / f"{number}.key", node)
            token = secrets.token_hex(16)
            asked = request_enrolment(
                node, token=token, name=f"author-{number}", agreement=pins.digest,
                party=party.key_id, chips=8, chip_model="NVIDIA H100 80GB HBM3",
            )  # fmt: skip
            verify_request(
                asked, agreement=pins.digest, party=party.key_id, tokens={token_digest(token)}
            )
            now_ms = time.time_ns() // 1_000_000
            message = enrolment(asked, site="hall", accounted_from_ms=now_ms)
            key = folder / "party.key"
            publish(client, key, message, now_ms=now_ms, pins=pins, origin=ORIGIN)


def _await_published(log: Path, pins: Pins, size: int) -> None:
    trust = LogTrust.of(pins, pins.ledgers[0])
    deadline = time.monotonic() + 60
    while trust.believe((log / "checkpoint").read_bytes()).checkpoint.size < size:
        assert time.monotonic() < deadline, "what was acknowledged is not published"
        time.sleep(0.2)
