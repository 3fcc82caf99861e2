"""Killing a ledger under load: the scene, as often as is asked for."""

import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from statements.ledger_client import LedgerClient, Receipt
from tests.unit.ledger.clients import Client, verify_log
from tests.unit.ledger.process import LedgerProcess, found_log

LONGEST_LIFE_S: Final = 1.5


@dataclass(frozen=True)
class Told:
    """How it went: kills, statements acknowledged, and how often a client found the ledger gone."""

    kills: int
    acknowledged: int
    interrupted: int
    size: int


def kill_and_resume(place: Path, *, kills: int, clients: int, seed: int) -> Told:
    """Kill a ledger again and again while clients send, and verify at the end that it kept its word."""
    draw = random.Random(seed)
    cast = found_log(place / "log")
    ledger = LedgerProcess(place / "log", options=("--beat", "0.05", "--tick", "1")).start()
    stop = threading.Event()
    try:
        enrolments, people = cast.enrolled(clients)
        with LedgerClient(ledger.grpc) as client:
            assert all(isinstance(one, Receipt) for one in client.append(enrolments))
        speaking = [
            Client(person, ledger.grpc, size=draw.choice([20, 200, 5_000])) for person in people
        ]
        threads = [one.start(stop) for one in speaking]
        for number in range(kills):
            if number % 3 == 2:  # while it opens, or has just opened
                ledger.launch()
                time.sleep(draw.uniform(0.2, 0.8))
                ledger.kill()
                continue
            if not ledger.alive:
                ledger.start()
            time.sleep(draw.uniform(0.01, LONGEST_LIFE_S))
            ledger.kill()
        ledger.start()
        time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert ledger.stop() == 0
    finally:
        stop.set()
        ledger.end()
    last = verify_log(ledger.folder, cast, speaking)
    return Told(
        kills,
        sum(len(one.acknowledged) for one in speaking),
        sum(len(one.failures) for one in speaking),
        last.size,
    )
