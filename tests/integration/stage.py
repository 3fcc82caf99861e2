"""One log in this process: agents speak to it, and an auditor reads it. Only the network is left out.

Statements are screened and sequenced as a ledger does, on a real journal; the agent is the real one, on a scaled clock;
what they left is gathered and judged as an audit does.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from google.protobuf.message import Message

from attestor.agent import Agent, Outcome
from attestor.config import AgentConfig, NodeConfig
from attestor.sources.replay import ReplaySource
from ledger.journal.sqlite import SqliteJournal
from ledger.keyring import Keyring
from ledger.screening import screen
from ledger.sequencer import Logged, Sequencer
from protos.stillwatch.statement.v1 import identity_pb2, log_pb2, summary_pb2
from statements.author import EPOCH_LENGTH, NOTHING, Author, Seen, Statement
from statements.body import SALT_LENGTH, decode_body
from statements.enrolment import possession_digest
from statements.header import Header, decode_header
from statements.kinds import Kind
from statements.ledger_client import Head, InclusionProof, Receipt, Refusal
from statements.record import decode_record
from statements.signing import SigningKey
from tests.unit.attestor.late_clock import LateClock
from tests.unit.verifier.auditing import audit, party_of
from tests.unit.verifier.logbook import H100, MINUTE, T0, Logbook
from tlog.merkle import consistency_proof, inclusion_proof
from verifier.checks.interface import Finding, Severity
from verifier.evidence.gather import Evidence
from verifier.ruleset import Ruleset
from verifier.verdict import PartyVerdict

AT: Final = T0 + 10 * MINUTE
"""When the node's first window begins."""
CHIPS: Final = 2
GRACE_MIN: Final = 600
"""Minutes within which a window is in time: on the scaled clock a busy machine is an hour late."""
Append = Callable[[Sequence[Statement]], list[Receipt | Refusal]]


class Hours:
    """The log's clock: that of the agent which runs, or where it was left."""

    def __init__(self) -> None:
        self.read: Callable[[], int] = lambda: T0

    def now_ms(self) -> int:
        return self.read()

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps on the log's clock")


class Stage:
    """A log, party aurora, and one node of hers. It is a ledger as agents know one."""

    def __init__(
        self, folder: Path, recording: Path, terms: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.recording = folder, recording
        self.book = Logbook.begin({"windows.late_grace": f'"{GRACE_MIN} min"', **(terms or {})})
        self.hours = Hours()
        self._lock = threading.RLock()
        journal = folder / "journal"
        journal.mkdir()
        self._journal = SqliteJournal(journal)
        self._journal.append(0, list(zip(self.book.records, self.book.bodies, strict=True)))
        keyring = Keyring(self.book.pins, self.book.people["ledger"].key.key_id)
        self.sequencer = Sequencer.open(self._journal, keyring, self.hours)
        self._ticked = 0
        self.via: Append = self.take
        self.party = Author.opening(self.book.people["aurora"].key, self.book.draw(EPOCH_LENGTH))
        self.key = self.first = SigningKey.generate()
        self._enrol()

    def close(self) -> None:
        self._journal.close()

    def _enrol(self) -> None:
        token, party = bytes(32), self.party.key.key_id
        self.party_says(self.opening(self.party.key))
        self.party_says(
            identity_pb2.Enrolment(
                node_key=self.key.spki,
                site="hall",
                name="node",
                token_digest=token,
                possession=self.key.sign(possession_digest(self.book.pins.digest, party, token)),
                agreement=self.book.pins.digest,
                chips=CHIPS,
                chip_model=H100,
                accounted_from=AT,
            )
        )

    def party_says(self, message: Message) -> None:
        """Log something said by the party."""
        (answer,) = self.take([self.said(message)])
        assert isinstance(answer, Receipt), answer

    def said(self, message: Message) -> Statement:
        """Return something said by the party at its next place."""
        statement, self.party = self.party.say(
            message, self.hours.now_ms(), self.hours.now_ms(), salt=self.book.draw(SALT_LENGTH)
        )
        return statement

    def opening(self, key: SigningKey) -> identity_pb2.Opening:
        return identity_pb2.Opening(
            key=key.spki,
            logs=[self.book.origin],
            agreements=[self.book.pins.digest],
            boot_id=b"c" * 16,
            telemetry=identity_pb2.TELEMETRY_SIMULATED,
        )

    # ---------------------------------------------------------------- as a ledger

    def append(self, statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        """Take statements by way of whatever lies between the agent and the ledger."""
        return self.via(statements)

    def take(self, statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        """Screen and log statements, and say the time once a minute."""
        keyring = self.sequencer.keyring
        with self._lock:
            batch, _ = screen(
                [(one.header, one.signature, one.stored) for one in statements],
                keyring.known,
                keyring.may_appear,
                keyring.pins.digest,
                keyring.pins.disclosures,
            )
            (outcomes,) = self.sequencer.log([batch])
            if self.hours.now_ms() >= self._ticked + MINUTE:
                self.tick()
        return [
            Receipt(one.index, one.record, one.body_held)
            if isinstance(one, Logged)
            else Refusal(one.reason, one.message, one.wanted_sequence)
            for one in outcomes
        ]

    def tick(self) -> None:
        """Log the time."""
        self._ticked = self.hours.now_ms()
        message = log_pb2.Tick(checkpoint=self.checkpoint(), time=self._ticked)
        self.sequencer.say(self.book.people["ledger"].key, message, draw=self.book.draw)

    def rest(self) -> None:
        """Nothing is held open."""

    def author(self, author: bytes) -> tuple[Head, ...]:
        with self._lock:
            return tuple(
                Head(one.epoch, one.sequence, one.statement_id, one.index)
                for one in self.sequencer.heads(author, 1000)
            )

    def checkpoint(self) -> bytes:
        return self._log().note()

    def inclusion(self, index: int) -> InclusionProof:
        prefix = self._log().prefix()
        path = inclusion_proof(index, prefix.size, lambda level, at: prefix.levels[level][at])
        return InclusionProof(prefix.size, tuple(path), prefix.note)

    def consistency(self, from_size: int, to_size: int) -> tuple[bytes, ...]:
        levels = self._log().prefix().levels
        return tuple(consistency_proof(from_size, to_size, lambda level, at: levels[level][at]))

    # ----------------------------------------------------------------- what happens

    def run(self, start: int, end: int) -> Outcome:
        """Run the node's agent from the window that begins at ``start`` to the one that ends by ``end``."""
        clock = LateClock(start - 1_000)
        self.hours.read = clock.now_ms
        pins = self.book.pins
        node = NodeConfig(
            "node",
            self.key,
            self.folder / "node.key",
            self.folder / "spool",
            (("replay", lambda: ReplaySource(self.recording, at_ms=AT)),),
            self.first.key_id,
        )
        config = AgentConfig("here", pins, pins.ledgers[0], (node,), 0.5, 3.0, 0.02)
        outcome = Agent(config, self, clock).run(end)
        self.wait_until(max(end, clock.now_ms()))
        return outcome

    def wait_until(self, time_ms: int) -> None:
        """Let the log's time pass."""
        self.hours.read = lambda: time_ms

    def headers(self) -> list[Header]:
        """Return what the node's author said, as logged."""
        found = [decode_header(decode_record(one).header) for one in self._log().records]
        return [header for header in found if header.author == self.first.key_id]

    def seen(self) -> Seen:
        """Return the log as somebody sees it who looks now."""
        prefix = self._log().prefix()
        return Seen(hashlib.sha256(prefix.origin.encode()).digest(), prefix.size, prefix.root)

    def clone(self) -> Author:
        """Return somebody with a copy of the node's key, about to open an epoch."""
        newest = max(self.author(self.first.key_id), key=lambda head: head.index, default=None)
        previous = NOTHING if newest is None else newest.statement_id
        return Author.opening(self.key, self.book.draw(EPOCH_LENGTH), previous, self.first.key_id)

    def summary(self, start_ms: int) -> summary_pb2.WorkloadSummary:
        """Return what the node said of the window that begins then."""
        book = self._log()
        for record, body in zip(book.records, book.bodies, strict=True):
            header = decode_header(decode_record(record).header)
            if (header.kind, header.start_ms) == (Kind.SUMMARY, start_ms):
                return summary_pb2.WorkloadSummary.FromString(decode_body(body or b""))
        raise AssertionError(f"no window begins at {start_ms}")

    # ------------------------------------------------------------------ as an auditor

    def read_log(self) -> Logbook:
        """Return the log as it stands."""
        return self._log()

    def _log(self) -> Logbook:
        with self._lock:
            entries = list(self._journal.read(0, self._journal.size()))
        return replace(
            self.book, records=[one for one, _ in entries], bodies=[body for _, body in entries]
        )

    def evidence(self) -> Evidence:
        return self._log().evidence()

    def heard(self) -> list[int]:
        """Return the starts of the node's windows that its author said, as an auditor believes it, in order."""
        evidence = self.evidence()
        records, author = evidence.records, self.first.key_id
        return sorted(
            int(records.start_ms[row])
            for row in evidence.chains.authentic.nonzero()[0].tolist()
            if records.kind[row] == int(Kind.SUMMARY) and records.text("author", row) == author
        )

    def verdict(self, start: int, end: int, ruleset: Ruleset) -> PartyVerdict:
        """Return what is concluded of aurora, once the log's time has passed the grace."""
        self.tick()
        self.wait_until(max(self.hours.now_ms(), end + (GRACE_MIN + 3) * MINUTE))
        self.tick()
        self.tick()
        return party_of(audit(self._log(), (start, end), ruleset), "aurora")


def minutes(*numbers: int) -> list[int]:
    """Return the starts of windows, by their number."""
    return [AT + number * MINUTE for number in numbers]


def on_chains(party: PartyVerdict) -> list[tuple[str, Severity]]:
    """Return what was found of chains, and how grave it is."""
    findings: list[Finding] = [ruled.finding for ruled in party.findings]
    return [(one.check, one.severity) for one in findings if one.check.startswith("chain_")]


def covered(party: PartyVerdict) -> float:
    """Return the share of the node's chip time with evidence; the party declared 16 H100e, and has no other node."""
    return party.account.coverage * 16 / CHIPS
