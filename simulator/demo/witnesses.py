"""The rehearsal's witnesses: each lab runs one, and an evaluator one more: no lab alone can stop or split the log."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.witness.folder import WitnessFolder
from simulator.demo.processes import Processes, stillwatch
from statements.clock import ScaledClock
from statements.pins import Pins

BESIDE_LABS: Final = "meridian"
"""The evaluator that runs one beside the labs."""
_READY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class LocalWitness:
    """A witness on this machine: who runs it, its folder, and the port that it will listen on."""

    name: str
    folder: WitnessFolder
    port: int

    @property
    def line(self) -> str:
        """Its line in a witness policy."""
        return f"witness {self.name} {self.folder.keys[0].vkey} http://127.0.0.1:{self.port}/"


def threshold(count: int) -> int:
    """Return how many of so many must cosign for two quorums to share two, of whom one may lie; one may be down."""
    return (count + 3) // 2


def make_witnesses(folder: Path, names: Sequence[str]) -> tuple[LocalWitness, ...]:
    """Draw keys for every witness, each in a folder of its own, and find it a port."""
    ports = _free_ports(len(names))
    return tuple(
        LocalWitness(name, WitnessFolder.create(folder / name, f"witness.example/{name}"), port)
        for name, port in zip(names, ports, strict=True)
    )


def policy_of(witnesses: Sequence[LocalWitness]) -> str:
    """Return the witness policy of the rehearsal's agreement."""
    names = " ".join(one.name for one in witnesses)
    lines = [one.line for one in witnesses]
    return "\n".join(
        [*lines, f"group witnesses {threshold(len(witnesses))} {names}", "quorum witnesses", ""]
    )


def start_witnesses(
    witnesses: Sequence[LocalWitness], pins: Pins, processes: Processes, clock: ScaledClock
) -> None:
    """Have every witness know the agreement's logs, and start it as a process of its own."""
    for one in witnesses:
        memory = one.folder.memory()
        try:
            for ledger in pins.ledgers:
                memory.add_log(ledger.origin, ledger.vkey)
        finally:
            memory.close()
        processes.start(
            f"witness-{one.name}",
            stillwatch(
                "witness", "serve", str(one.folder.path), "--http", f"127.0.0.1:{one.port}",
                "--ready-file", str(_ready(one)), "--rehearsal-clock", str(clock),
            ),
        )  # fmt: skip
    for one in witnesses:
        processes.await_file(_ready(one), _READY_S)


def _ready(one: LocalWitness) -> Path:
    return one.folder.path / "ready.json"


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on: an agreement names its witnesses' addresses before they run."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports
