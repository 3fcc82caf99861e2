"""``agent``: CPU and memory of ``stillwatch agent run`` on a node of eight chips, sampled ten times a second.

The driver is the tests' own stand-in, which answers at once, and keeps samples as NVML does: a real driver's time comes
on top, and is not measured here. The agent is a process of its own, with a window of 60 s, and a real ledger to send
to. It is measured for one window's length once its first window was logged: closing, signing, sending and proving of
one window are in it.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from attestor.identity import enrolment, request_enrolment, token_digest, verify_request
from simulator.chip import H100
from simulator.world import Node, Party, Shift, Site, World, record
from statements.keys import write_signing_key
from statements.ledger_client import LedgerClient
from statements.publication import publish
from statements.signing import SigningKey
from tests.bench.figure import Figure
from tests.bench.parts.log_server import ORIGIN, LogServer, serving
from tests.nvml.driver import build, flatten

CHIPS: Final = 8
WINDOW_S: Final = 60.0
BEFORE_S: Final = 4.0
"""What the agent has to start before its first window begins."""
AFTER_S: Final = 6.0
"""What the first window has to be closed, signed, sent and proven, before the clock starts."""
REQUIRED: Final = 0.01
REACH: Final = 0.005
MOST_MB: Final = 80.0
_TOKEN: Final = "bench"


def measure() -> Figure:
    """Return the figure: the share of one core, with the peak of resident memory beside it."""
    return measured("agent", "driver")


def measured(name: str, samples: str) -> Figure:
    """Return the figure of an agent that fetches the samples that the ``driver`` keeps, or has chips ``polled``."""
    party = SigningKey.generate()
    with TemporaryDirectory(prefix="bench-agent-") as made, serving(party) as server:
        folder = Path(made)
        node = _enrol(server, party, folder)
        share, peak_mb = _watch(_start(server, folder, samples), server, node)
        fetched = '"poll_ms": 1000' in (folder / "agent.log").read_text()
        if fetched != (samples == "driver"):
            raise RuntimeError(f"samples were to be {samples}, and were not: see the agent's log")
    return Figure(
        name=name,
        value=share * 1000,
        unit=f"thousandths of a core; {CHIPS} chips at 10 Hz, {peak_mb:.0f} MB of memory at most; at most",
        reference="one core, thousandths",
        reference_value=1000.0,
        ratio=share,
        required=REQUIRED,
        reach=REACH,
        met=share <= REQUIRED and peak_mb <= MOST_MB,
    )


def _enrol(server: LogServer, party: SigningKey, folder: Path) -> bytes:
    """Draw the node's key, and have its party enrol it; return its id."""
    node = SigningKey.generate()
    write_signing_key(folder / "node.key", node)
    write_signing_key(folder / "party.key", party)
    request = request_enrolment(
        node,
        token=_TOKEN,
        name="node",
        agreement=server.pins.digest,
        party=party.key_id,
        chips=CHIPS,
        chip_model=H100.model,
    )
    verify_request(
        request,
        agreement=server.pins.digest,
        party=party.key_id,
        tokens={token_digest(_TOKEN)},
    )
    now_ms = time.time_ns() // 1_000_000
    with LedgerClient(server.grpc) as client:
        publish(
            client,
            folder / "party.key",
            enrolment(request, site="hall", accounted_from_ms=now_ms),
            now_ms=now_ms,
            pins=server.pins,
            origin=ORIGIN,
        )
    return node.key_id


def _start(server: LogServer, folder: Path, samples: str) -> "subprocess.Popen[bytes]":
    """Start the agent on the stand-in driver, which replays three minutes of training."""
    library = build(folder / "driver")
    party = Party("lab", "open_training", (Site("hall", (Node("node", CHIPS, H100),)),))
    path = folder / "node.csv.gz"
    record(path, World("bench", (party,)), party, party.nodes[0], [Shift(0, 180, "training")])
    flatten(path, folder / "node.txt")
    agreement = server.folder.parent / "agreement.toml"
    config = folder / "agent.toml"
    now_ms = time.time_ns() // 1_000_000
    window_ms = round(WINDOW_S * 1000)
    shown_ms = now_ms - now_ms % window_ms + window_ms - round(BEFORE_S * 1000)
    config.write_text(
        f'ledger = "{server.grpc}"\nagreement = "{agreement}"\nspool = "spool.sqlite"\n\n[[nodes]]\n'
        'name = "node"\nkey = "node.key"\n'
        f'source = {{ kind = "nvml", period = "100 ms", samples = "{samples}" }}\n'
    )
    with (folder / "agent.log").open("wb") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "stillwatch", "agent", "run", "--config", str(config)),
                *("--rehearsal-clock", f"{now_ms}:{shown_ms}:1"),
            ],
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                "LD_LIBRARY_PATH": str(library.parent),
                "FAKE_NVML_DATA": str(folder / "node.txt"),
            },
        )


def _watch(agent: "subprocess.Popen[bytes]", server: LogServer, node: bytes) -> tuple[float, float]:
    """Return the share of a core that the agent used over one window, and its peak of resident memory, MB."""
    try:
        time.sleep(BEFORE_S + WINDOW_S + AFTER_S)
        logged, began, used = _logged(server, node), time.monotonic(), _cpu_s(agent.pid)
        time.sleep(WINDOW_S)
        share = (_cpu_s(agent.pid) - used) / (time.monotonic() - began)
        status = Path(f"/proc/{agent.pid}/status").read_text()
        peak_kb = next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
        if (logged, _logged(server, node)) != (3, 4):  # opening, inventory, and a summary a window
            raise RuntimeError(f"not one window was logged meanwhile: {logged} statements before")
    finally:
        agent.terminate()
        if agent.wait(30) != 0:
            raise RuntimeError("the agent ended badly: its figure is none")
    return share, peak_kb / 1000


def _logged(server: LogServer, node: bytes) -> int:
    """Return how many statements of the node the ledger has."""
    with LedgerClient(server.grpc) as client:
        return sum(head.sequence + 1 for head in client.author(node))


def _cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used, its own and the kernel's for it (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
