"""A whole pause over TLS at addresses that are not loopback, in a network of its own that reaches no other machine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from ledger.witness.folder import WitnessFolder
from simulator.demo.cast import Cast, make_keys, pin_agreement
from verifier.agreement.pinning import LedgerEntry
from verifier.instants import rfc3339

LEDGER: Final = "192.0.2.1"
WITNESS: Final = "192.0.2.3"
ORIGIN: Final = "rehearsal.example/between-machines"
RATE: Final = 60


@dataclass
class Network:
    """Addresses of a documentation range on the loopback device of a network namespace."""

    holder: "subprocess.Popen[bytes]"
    enter: list[str]
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @classmethod
    def make(cls) -> "Network":
        unshare = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "-r", "--net"]
        holder = subprocess.Popen([*unshare, "sleep", "600"])
        enter = ["nsenter", f"--target={holder.pid}", "--net"]
        if os.geteuid() != 0:
            enter += ["--user", "--preserve-credentials"]
        made = cls(holder, enter)
        time.sleep(0.3)
        for words in (
            "link set lo up",
            f"addr add {LEDGER}/32 dev lo",
            f"addr add {WITNESS}/32 dev lo",
        ):
            done = subprocess.run([*enter, "ip", *words.split()], check=False, capture_output=True)
            if done.returncode != 0:
                made.close()
                pytest.skip(f"no network of its own can be made here: {done.stderr.decode()}")
        return made

    def run(self, *arguments: str, status: tuple[int, ...] = (0,)) -> str:
        """Run a command of ours there; return what it printed."""
        done = subprocess.run(
            [*self.enter, sys.executable, "-m", "stillwatch", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, log: Path, *arguments: str) -> None:
        with log.open("ab") as sink:
            command = [*self.enter, sys.executable, "-m", "stillwatch", *arguments]
            self.processes.append(subprocess.Popen(command, stdout=sink, stderr=sink))

    def close(self) -> None:
        for process in [*self.processes, self.holder]:
            process.send_signal(signal.SIGTERM)
        for process in [*self.processes, self.holder]:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    made = Network.make()
    yield made
    made.close()


@dataclass
class Pause:
    """A log that one witness cosigns, both reached over TLS with the certificates of the guide."""

    place: Path
    network: Network
    cast: Cast
    clock: str

    def path(self, name: str) -> str:
        return str(self.place / name)

    def await_file(self, name: str) -> None:
        deadline = time.monotonic() + 60
        while not (self.place / name).exists():
            logs = "\n".join(path.read_text() for path in self.place.glob("*.log"))
            assert time.monotonic() < deadline, logs
            time.sleep(0.1)

    def log(self) -> list[dict[str, object]]:
        text = (self.place / "ledger.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def certificates(root: Path, place: Path) -> None:
    """Make what the guide makes, by its own words."""
    page = (root / "docs/guides/tls.md").read_text()
    block = re.search(r"```sh\n(.*?)```", page, re.DOTALL)
    assert block is not None
    subprocess.run(
        ["bash", "-euc", block[1]], cwd=place, check=True, capture_output=True, timeout=60
    )


@pytest.fixture(scope="module")
def pause(network: Network, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Pause:
    place = tmp_path_factory.mktemp("pause")
    certificates(root, place)
    cast = make_keys(place / "keys")
    now = time.time_ns() // 1_000_000
    made = Pause(place, network, cast, f"{now}:{now}:{RATE}")
    log, agreement = made.path("log"), made.path("agreement.toml")
    entry = json.loads(network.run("ledger", "init", log, "--origin", ORIGIN, "-o", "json"))
    witness = WitnessFolder.create(place / "witness", "witness.example/one")
    line = f"witness one {witness.keys[0].vkey} https://{WITNESS}:7703/"
    pin_agreement(
        cast,
        LedgerEntry(origin=ORIGIN, vkey=entry["vkey"], key=entry["key"]),
        {"witnesses.policy": f"{line}\nquorum one\n"},
        place / "agreement.toml",
    )
    clock = ("--rehearsal-clock", made.clock)
    network.run("witness", "add", made.path("witness"), "--agreement", agreement)
    network.start(
        place / "witness.log", "witness", "serve", made.path("witness"), "--http",
        f"{WITNESS}:7703", "--tls", made.path("witness-tls"), "--ready-file", made.path("w.json"),
        *clock,
    )  # fmt: skip
    made.await_file("w.json")
    assert json.loads((place / "w.json").read_text()) == {"http": f"https://{WITNESS}:7703/"}
    network.run("ledger", "init", log, "--agreement", agreement, *clock)
    network.start(
        place / "ledger.log", "ledger", "serve", log, "--grpc", f"{LEDGER}:7701",
        "--http", f"{LEDGER}:7702", "--tls", made.path("ledger-tls"), "--beat", "0.2",
        "--ready-file", made.path("l.json"), *clock,
    )  # fmt: skip
    made.await_file("l.json")
    assert json.loads((place / "l.json").read_text()) == {
        "grpc": f"{LEDGER}:7701",
        "http": f"https://{LEDGER}:7702",
    }
    return made


def speaking(pause: Pause, ledger: str = f"{LEDGER}:7701") -> list[str]:
    return [
        "--ledger", ledger, "--agreement", pause.path("agreement.toml"), "--rehearsal-clock",
        pause.clock,
    ]  # fmt: skip


def test_a_node_is_enrolled_attests_and_is_audited_over_tls(pause: Pause) -> None:
    run, party = pause.network.run, str(pause.cast.key("aurora"))
    tls = ["--tls", pause.path("node-tls")]
    token, key = ["--token", "one-time"], pause.path("node.key")
    run("agent", "keygen", "--key", key)
    run(
        "agent", "enrol", "request", "--key", key, *token, "--agreement",
        pause.path("agreement.toml"), "--party", "aurora", "--name", "node", "--chips", "8",
        "--out", pause.path("node.json"),
    )  # fmt: skip
    signing = ["agent", "enrol", "sign", "--party-key", party, "--request", pause.path("node.json")]
    run(*signing, *token, "--site", "hall", *speaking(pause), *tls)
    run("agent", "rotate", "--key", key, *speaking(pause), *tls)
    recorded = pause.path("recorded")
    run("sim", "record", "honest", "--out", recorded, "--nodes", "1", "--minutes", "10")
    (recording,) = Path(recorded).glob("*.csv.gz")
    _, anchor, _ = pause.clock.split(":")
    now = int(anchor) + (time.time_ns() // 1_000_000 - int(anchor)) * RATE
    begin = now - now % 60_000 + 120_000
    config = pause.place / "agent.toml"
    config.write_text(
        f'ledger = "{LEDGER}:7701"\ntls = "node-tls"\nagreement = "agreement.toml"\n'
        'spool = "spool.sqlite"\ncheckpoint_every = "1 s"\n'
        '[[nodes]]\nname = "node"\nkey = "node.key"\n'
        f'source = {{ kind = "replay", path = "{recording}", at = "{rfc3339(begin)}" }}\n'
    )
    said = run(
        "agent", "run", "--config", str(config), "--until", rfc3339(begin + 240_000),
        "--rehearsal-clock", pause.clock,
    )  # fmt: skip
    assert "left_in_spool: 0" in said
    assert "lost: 0" in said
    time.sleep(3)  # for a tick past the window's end
    audited = run(
        "audit", "run", "--agreement", pause.path("agreement.toml"),
        "--log", f"https://{LEDGER}:7702", "--tls", pause.path("auditor-tls"),
        "--out", pause.path("verdict.json"),
        "--period", f"{rfc3339(begin)}/{rfc3339(begin + 60_000)}", "-o", "json",
        status=(0, 1, 3),
    )  # fmt: skip
    assert "Traceback" not in audited
    verdict = json.loads((pause.place / "verdict.json").read_text())
    (log,) = verdict["logs"]
    assert log["origin"] == ORIGIN
    aurora = next(one for one in verdict["parties"] if one["party"] == "aurora")
    assert aurora["telemetry"] == ["simulated"], "the node's window was read"


def test_what_is_said_of_the_agreement_and_of_verdicts_goes_over_tls(pause: Pause) -> None:
    fact = [
        "fact", "publish", "--key", str(pause.cast.key("meridian")), "--indicator",
        "task_horizon", "--value", "16", "--source", "a report",
    ]  # fmt: skip
    said = pause.network.run(*fact, *speaking(pause), "--tls", pause.path("node-tls"))
    assert "index" in said
    refused = pause.network.run(
        *fact, *speaking(pause), "--tls", pause.path("auditor-tls"), status=(4,)
    )
    assert "[PERMISSION_DENIED]" in refused
    assert "'auditor' may not" in refused


def test_nobody_speaks_plainly_to_another_machine(pause: Pause) -> None:
    key = str(pause.cast.key("aurora"))
    for refused in (
        pause.network.run("agent", "rotate", "--key", key, *speaking(pause), status=(4,)),
        pause.network.run(
            "audit", "run", "--agreement", pause.path("agreement.toml"), "--log",
            f"http://{LEDGER}:7702", "--period", "stage", status=(4,),
        ),
        pause.network.run(
            "ledger", "serve", pause.path("log"), "--grpc", f"{LEDGER}:7801", status=(4,)
        ),
        pause.network.run(
            "witness", "serve", pause.path("witness"), "--http", f"{WITNESS}:7803", status=(4,)
        ),
    ):  # fmt: skip
        assert "[TLS_REQUIRED]" in refused
        assert "Traceback" not in refused


def test_the_ledger_says_nothing_of_failing_witnesses(pause: Pause) -> None:
    assert not [row for row in pause.log() if row["level"] in {"warning", "error"}]
