"""A rehearsal as it runs: its folder, its clock, its processes, and what people say in its log.

The folder::

    agreement.toml   log/ (as served)   verdicts/   labs/PARTY/ (an agent's configuration, keys, recordings)
    witnesses/NAME/ (keys, memory)   keys/ (of everybody else)   processes/ (what each printed)
    telemetry.json (what was recorded, what simulated)

The ledger, its witnesses, the agents and the auditor are processes of their own. Parties, evaluators and the panel
speak from here, by the same function that their commands call.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import governance_pb2, summary_pb2
from simulator.demo import lab as labs
from simulator.demo.cast import Cast, make_keys, pin_agreement
from simulator.demo.lab import Lab
from simulator.demo.plot import Plot
from simulator.demo.processes import Processes, stillwatch
from simulator.demo.witnesses import (
    BESIDE_LABS,
    LocalWitness,
    make_witnesses,
    policy_of,
    start_witnesses,
)
from simulator.errors import StoryError
from statements.clock import ScaledClock
from statements.ledger_client import LedgerClient
from statements.publication import Published, publish
from verifier.agreement.events import events_from
from verifier.agreement.lifecycle import AgreementState, replay
from verifier.agreement.model import Agreement
from verifier.agreement.parse import parse_agreement
from verifier.agreement.pinning import LedgerEntry
from verifier.evidence import read_evidence

ORIGIN: Final = "rehearsal.stillwatch.example/frontier-pause"
CLOCK_START_MS: Final = 1_780_315_200_000
"""2026-06-01T12:00:00Z on the rehearsal's clock, a boundary of windows."""
_BEAT_S: Final = "0.25"
_READY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the ledger listens: host:port of its gRPC service, and the address of its static files."""

    grpc: str
    http: str


@dataclass(slots=True)
class Rehearsal:
    """One rehearsal in ``folder``, made by ``prepare``; ``begin`` starts its clock and its ledger."""

    folder: Path
    processes: Processes
    cast: Cast
    agreement: Agreement
    witnesses: tuple[LocalWitness, ...]
    said: Counter[str] = field(default_factory=Counter)
    """Statements that were said from here, by kind."""
    _clock: ScaledClock | None = None
    _client: LedgerClient | None = None
    _endpoints: Endpoints | None = None

    @classmethod
    def prepare(cls, folder: Path, processes: Processes, plot: Plot) -> "Rehearsal":
        """Draw everybody's keys, make the log, and log the agreement that pins them as its leaf 0."""
        cast = make_keys(folder / "keys", plot.addition)
        log = str(folder / "log")
        made = processes.run(
            "ledger-init", stillwatch("ledger", "init", log, "--origin", ORIGIN, "-o", "json")
        )
        path = folder / "agreement.toml"
        entry = LedgerEntry(origin=ORIGIN, vkey=str(made.field("vkey")), key=str(made.field("key")))
        names = (*cast.digests["parties"], BESIDE_LABS)
        witnesses = make_witnesses(folder / "witnesses", names)
        terms = {**plot.terms, "witnesses.policy": policy_of(witnesses)}
        pin_agreement(cast, entry, terms, path)
        (folder / "verdicts").mkdir()
        return cls(folder, processes, cast, parse_agreement(path.read_bytes()), witnesses)

    @property
    def agreement_path(self) -> Path:
        """The agreement's file."""
        return self.folder / "agreement.toml"

    @property
    def clock(self) -> ScaledClock:
        """The clock of every process of the rehearsal."""
        if self._clock is None:
            raise StoryError("NOT_BEGUN", "the rehearsal has no clock before it begins")
        return self._clock

    @property
    def endpoints(self) -> Endpoints:
        """Where the ledger listens."""
        if self._endpoints is None:
            raise StoryError("NOT_BEGUN", "the rehearsal has no ledger before it begins")
        return self._endpoints

    def begin(self, rate: float) -> None:
        """Start the clock, ``rate`` times as fast as the system's, and on it the witnesses and the ledger."""
        self._clock = ScaledClock(time.time_ns() // 1_000_000, CLOCK_START_MS, rate)
        start_witnesses(self.witnesses, self.agreement.pins, self.processes, self._clock)
        log = self.folder / "log"
        self.processes.run(
            "ledger-init",
            stillwatch(
                "ledger", "init", str(log), "--agreement", str(self.agreement_path),
                "--rehearsal-clock", str(self._clock),
            ),
        )  # fmt: skip
        ready = self.folder / "processes" / "ledger.json"
        self.processes.start(
            "ledger",
            stillwatch(
                "ledger", "serve", str(log), "--ready-file", str(ready),
                "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0",
                "--beat", _BEAT_S, "--rehearsal-clock", str(self._clock),
            ),
        )  # fmt: skip
        found = json.loads(self.processes.await_file(ready, _READY_S))
        self._endpoints = Endpoints(found["grpc"], found["http"])
        self._client = LedgerClient(self._endpoints.grpc)

    def say(self, key: Path, message: Message, period: tuple[int, int] | None = None) -> Published:
        """Say a message with the key in a file, and have it logged; ``period`` is what it speaks of, if not now."""
        if self._client is None:
            raise StoryError("NOT_BEGUN", "nothing can be said before the ledger runs")
        self.said[type(message).__name__] += 1
        return publish(
            self._client,
            key,
            message,
            now_ms=self.clock.now_ms(),
            pins=self.agreement.pins,
            origin=ORIGIN,
            period=period,
        )

    def read_meter(self, meter: str, lab: Lab, since_ms: int, period: tuple[int, int]) -> None:
        """Have the meter of a lab's site say what it counted in a period; it began to count at ``since_ms``."""
        start, end = (round(lab.metered_j[(at - since_ms) // 1000] * 1000) for at in period)
        message = summary_pb2.MeterReading(
            subject=lab.site, energy_start_mj=start, energy_end_mj=end
        )
        self.say(self.cast.key(meter), message, period)

    def accede(self, party: str) -> None:
        """Have a party accede, on the condition that the agreement states for it."""
        message = governance_pb2.Accession(agreement=self.agreement.digest, party=party)
        self.say(self.cast.key(party), message)

    def assert_fact(self, evaluator: str, indicator: str, value: float, source: str) -> None:
        """Have an evaluator assert an indicator's value."""
        message = governance_pb2.Fact(
            agreement=self.agreement.digest, indicator=indicator, value=value, source=source
        )
        self.say(self.cast.key(evaluator), message)

    def reply(self, party: str, finding: str, verdict: bytes, text: str) -> None:
        """Have a party answer a finding of a logged verdict."""
        message = governance_pb2.Reply(finding=finding, verdict=verdict, text=text)
        self.say(self.cast.key(party), message)

    def uphold(self, judge: str, party: str, finding: str, verdict: bytes, reason: str) -> None:
        """Have a member of the panel vote that a finding about a party stands."""
        message = governance_pb2.Ruling(
            finding=finding,
            verdict=verdict,
            party=party,
            outcome=governance_pb2.Ruling.OUTCOME_UPHELD,
            reason=reason,
            agreement=self.agreement.digest,
        )
        self.say(self.cast.key(judge), message)

    def enrol(self, lab: Lab, from_ms: int) -> None:
        """Have a lab enrol its nodes, which are accounted for from ``from_ms`` on."""
        labs.enrol(lab, self.agreement.pins, self.say, from_ms)

    def start_agent(self, lab: Lab, at_ms: int) -> None:
        """Start a lab's agent; what it replays begins at ``at_ms`` where its source does not say otherwise."""
        labs.write_config(
            lab, ledger=self.endpoints.grpc, agreement=self.agreement_path, at_ms=at_ms
        )
        self.processes.start(
            f"agent-{lab.party}",
            stillwatch(
                "agent", "run", "--config", str(lab.config),
                "--rehearsal-clock", str(self.clock), "-o", "json",
            ),
        )  # fmt: skip

    def stop_agents(self, *stopping: Lab) -> None:
        """Stop the agents of labs, all at once; each sends first what it has."""
        self.processes.stop(*(f"agent-{lab.party}" for lab in stopping))

    def state(self) -> AgreementState | None:
        """Return where the agreement is, from the log as served; None before the log has told its time.

        Everything in the log is verified for it, as ``agreement state`` does.
        """
        evidence = read_evidence(self.folder / "log", self.agreement)
        if not evidence.time.ticks:
            return None
        return replay(self.agreement, events_from(self.agreement, evidence.said), evidence.as_of_ms)

    def close(self) -> None:
        """End the connection to the ledger."""
        if self._client is not None:
            self._client.close()
