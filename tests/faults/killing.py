"""A ledger of several processes, three witnesses, clients and an agent, killed at random moments until told to stop."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulator.demo.witnesses import LocalWitness, make_witnesses
from statements.ledger_client import LedgerClient, Receipt
from tests.faults.agent_scene import RATE, Stage, said_windows, write_config
from tests.unit.ledger.cast import ORIGIN, T0
from tests.unit.ledger.clients import Client, verify_log
from tests.unit.ledger.process import LedgerProcess, children_of, found_log
from tlog.checkpoint import parse_checkpoint
from tlog.note import parse_note

VICTIMS: Final = {"ledger": 5, "ledger's first": 1, "ledger's child": 3, "witness": 3, "agent": 2}
"""What is killed, and how often: the ledger with all of its processes; the first of them alone; one beside it."""
_SETTLE_S: Final = 120.0
"""Patience with a machine whose cores others need, too."""


@dataclass(frozen=True)
class Told:
    """How it went: who was killed how often, what was acknowledged, and how often clients found the ledger gone."""

    kills: Counter[str]
    acknowledged: int
    interrupted: int
    windows: int
    checkpoints: int


class Daemon:
    """A command that is started again whenever it was killed."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = command
        self.log = log
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(self._command, stdout=sink, stderr=sink)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Kill it, and start it again."""
        self.kill()
        self.start()


def play(place: Path, *, kills: int, seed: int, clients: int = 3) -> Told:
    """Kill one after another; then let all settle, and hold everybody to their word."""
    draw = random.Random(seed)
    witnesses = make_witnesses(place / "witnesses", ("one", "two", "three"))
    lines = [*(one.line for one in witnesses), "group all 2 one two three", "quorum all"]
    cast = found_log(place / "log", "\n".join(lines))
    ledger = LedgerProcess(place / "log", options=("--beat", "0.05", "--tick", "2"))
    stop = threading.Event()
    with ExitStack() as stack:
        stack.callback(ledger.end)
        daemons = [
            stack.enter_context(_running(_witness(one, cast.signer.vkey))) for one in witnesses
        ]
        ledger.start()
        said, (node, *people) = cast.enrolled(clients + 1)
        with LedgerClient(ledger.grpc) as client:
            assert all(isinstance(one, Receipt) for one in client.append(said))
        stage = Stage.around(place, cast, ledger)
        write_config(stage, node, place / "agent")
        agent = stack.enter_context(_running(_agent(place / "agent")))
        stack.callback(stop.set)
        speaking = [Client(one, ledger.grpc, size=draw.choice([20, 200, 5_000])) for one in people]
        threads = [one.start(stop) for one in speaking]
        done: Counter[str] = Counter()
        while done.total() < kills:
            time.sleep(draw.uniform(0.02, 0.7))
            victim = draw.choices(list(VICTIMS), list(VICTIMS.values()))[0]
            done[victim] += _kill(victim, ledger, draw.choice(daemons), agent, draw)
        _have_serve(ledger)
        stop.set()
        for thread in threads:
            thread.join(_SETTLE_S)
            assert not thread.is_alive()
        heard = len(said_windows(stage.headers(node.key.key_id)))
        _until(lambda: len(said_windows(stage.headers(node.key.key_id))) > heard + 1)
        agent.process.terminate()
        assert agent.process.wait(_SETTLE_S) == 0, agent.log.read_text()[-2000:]
        windows = said_windows(stage.headers(node.key.key_id))
        # A stop publishes what it can in a few seconds: on a busy machine that may not be all.
        said_last = max(max(one.acknowledged.values(), default=0) for one in speaking)
        _until(lambda: _all_cosigned(ledger.folder, len(witnesses), said_last))
        assert ledger.stop(_SETTLE_S) == 0
    for log in (agent.log, ledger.log, *(one.log for one in daemons)):
        assert "Traceback" not in log.read_text(), log
    verify_log(ledger.folder, cast, speaking)
    return Told(
        done,
        sum(len(one.acknowledged) for one in speaking),
        sum(len(one.failures) for one in speaking),
        len(windows),
        len({note for one in speaking for note in one.checkpoints}),
    )


def _kill(
    victim: str, ledger: LedgerProcess, witness: Daemon, agent: Daemon, draw: random.Random
) -> int:
    """Kill somebody, and start it again; return how many were killed: none, where there is none of the kind."""
    if victim == "witness":
        witness.restart()
        return 1
    if victim == "agent":
        agent.restart()
        return 1
    if not ledger.alive:
        ledger.launch()
        if draw.random() < 0.7:  # else it is killed while it opens
            ledger.await_ready(_SETTLE_S)
        time.sleep(draw.uniform(0.0, 0.3))
    assert ledger.process is not None
    if victim == "ledger's child":
        children = children_of(ledger.process.pid)
        if not children:
            return 0
        with suppress(ProcessLookupError):
            os.kill(draw.choice(children), signal.SIGKILL)
        return 1
    if victim == "ledger's first":
        ledger.process.kill()
        ledger.process.wait()
        return 1
    ledger.kill()
    return 1


@contextmanager
def _running(daemon: Daemon) -> Iterator[Daemon]:
    try:
        yield daemon
    finally:
        daemon.kill()


def _witness(one: LocalWitness, vkey: str) -> Daemon:
    memory = one.folder.memory()
    memory.add_log(ORIGIN, vkey)
    memory.close()
    folder = str(one.folder.path)
    serving = ("witness", "serve", folder, "--http", f"127.0.0.1:{one.port}")
    return Daemon(
        [sys.executable, "-m", "stillwatch", *serving], one.folder.path.with_suffix(".log")
    )


def _agent(folder: Path) -> Daemon:
    words = ("agent", "run", "--config", str(folder / "agent.toml"))
    clock = f"{time.time_ns() // 1_000_000}:{T0}:{RATE}"
    command = [sys.executable, "-m", "stillwatch", *words, "--rehearsal-clock", clock]
    return Daemon(command, folder / "agent.log")


def _have_serve(ledger: LedgerProcess) -> None:
    """Have a ledger serve, and launch it again if it is about to end: of a kill beside it while it opened."""
    if not ledger.alive:
        ledger.launch()
    ready = ledger.log.with_suffix(".ready")
    _until(lambda: ready.exists() or not ledger.alive)
    if not ledger.alive:
        ledger.launch()
    ledger.await_ready(_SETTLE_S)


def _all_cosigned(folder: Path, witnesses: int, index: int) -> bool:
    """Return whether all witnesses cosigned a checkpoint that covers the record of that index."""
    note = parse_note((folder / "checkpoint").read_bytes())
    return len(note.signatures) == 1 + witnesses and parse_checkpoint(note).size > index


def _until(condition: Callable[[], bool], within_s: float = _SETTLE_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() <= deadline, "it does not settle"
        time.sleep(0.05)
