"""``agent``: CPU and memory of ``stillwatch agent run`` on a node of eight chips, sampled ten times a second.

The driver is the tests' own stand-in, which answers at once: a real driver's time comes on top, and is not measured
here. The agent is a process of its own, with a window of 60 s, and a real ledger to send to.
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
SETTLE_S: Final = 8.0
MEASURED_S: Final = 62.0
"""A little over one window, so that one is closed, signed and sent."""
REQUIRED: Final = 0.01
REACH: Final = 0.005
MOST_MB: Final = 80.0
_TOKEN: Final = "bench"


def measure() -> Figure:
    """Return the figure: the share of one core, with the peak of resident memory beside it."""
    party = SigningKey.generate()
    with TemporaryDirectory(prefix="bench-agent-") as made, serving(party) as server:
        folder = Path(made)
        _enrol(server, party, folder)
        share, peak_mb = _watch(_start(server, folder))
    return Figure(
        name="agent",
        value=share * 1000,
        unit=f"thousandths of a core; {CHIPS} chips at 10 Hz, {peak_mb:.0f} MB of memory at most; at most",
        reference="one core, thousandths",
        reference_value=1000.0,
        ratio=share,
        required=REQUIRED,
        reach=REACH,
        met=share <= REQUIRED and peak_mb <= MOST_MB,
    )


def _enrol(server: LogServer, party: SigningKey, folder: Path) -> None:
    """Draw the node's key, and have its party enrol it."""
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


def _start(server: LogServer, folder: Path) -> "subprocess.Popen[bytes]":
    """Start the agent on the stand-in driver, which replays two minutes of training."""
    library = build(folder / "driver")
    party = Party("lab", "open_training", (Site("hall", (Node("node", CHIPS, H100),)),))
    path = folder / "node.csv.gz"
    record(path, World("bench", (party,)), party, party.nodes[0], [Shift(0, 120, "training")])
    flatten(path, folder / "node.txt")
    agreement = server.folder.parent / "agreement.toml"
    config = folder / "agent.toml"
    config.write_text(
        f'ledger = "{server.grpc}"\nagreement = "{agreement}"\nspool = "spool.sqlite"\n\n[[nodes]]\n'
        'name = "node"\nkey = "node.key"\nsource = { kind = "nvml", period = "100 ms" }\n'
    )
    with (folder / "agent.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "stillwatch", "agent", "run", "--config", str(config)],
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                "LD_LIBRARY_PATH": str(library.parent),
                "FAKE_NVML_DATA": str(folder / "node.txt"),
            },
        )


def _watch(agent: "subprocess.Popen[bytes]") -> tuple[float, float]:
    """Return the share of a core that the agent used once settled, and its peak of resident memory, MB."""
    try:
        time.sleep(SETTLE_S)
        began, used = time.monotonic(), _cpu_s(agent.pid)
        time.sleep(MEASURED_S)
        share = (_cpu_s(agent.pid) - used) / (time.monotonic() - began)
        status = Path(f"/proc/{agent.pid}/status").read_text()
        peak_kb = next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
    finally:
        agent.terminate()
        if agent.wait(30) != 0:
            raise RuntimeError("the agent ended badly: its figure is none")
    return share, peak_kb / 1000


def _cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used, its own and the kernel's for it (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
