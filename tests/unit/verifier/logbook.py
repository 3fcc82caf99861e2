"""A log in memory, said by real authors with real signatures: what the tests of the audit are played on.

Nothing here comes from the ledger or the agent: the tests read what the protocol says, not what those do.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import (
    governance_pb2,
    identity_pb2,
    inventory_pb2,
    log_pb2,
    summary_pb2,
)
from statements.author import NOTHING, Author, Seen, Statement
from statements.body_bundle import FOLDER, encode_body_bundle
from statements.disclosure import disclose
from statements.features import COLUMN, FEATURE_SET, WIDTH, pack_rows
from statements.kinds import Kind
from statements.pins import Pins, read_pins
from statements.record import Record, encode_record
from statements.sealing import ContentKey, day_of
from statements.signing import SigningKey
from tlog.checkpoint import Checkpoint, sign_checkpoint
from tlog.merkle import root_hash
from tlog.note import Signer
from tlog.tile import aligned_path, bundle_path, bundles_of, encode_bundle, tiles_of
from verifier.agreement.pinning import pin
from verifier.evidence.gather import Evidence, gather
from verifier.mirror.prefix import LogPrefix, build_levels

ROOT: Final = Path(__file__).parents[3]
ORIGIN: Final = "rehearsal.example/logbook"
T0: Final = 1_780_315_200_000
"""2026-06-01T12:00:00Z, a boundary of windows."""
MINUTE: Final = 60_000
H100: Final = "NVIDIA H100 80GB HBM3"
PARTIES: Final = ("aurora", "borealis", "cygnus")
CAP_FLOP: Final = 5e17
TERMS: Final = {
    "witnesses.policy": '"quorum none\\n"',
    "windows.late_grace": '"2 min"',
    "stages.notice": '"2 min"',
    "stages.winding_down": '"2 min"',
    "stages.min_dwell": '"20 min"',
    "stages.lifting": '"2 min"',
    "obligations.training-cap.limit": f'"{CAP_FLOP:g} FLOP"',
    "obligations.coverage-floor.cure": '"5 min"',
    **{f"parties.{name}.declared_h100e": '"16 H100e"' for name in PARTIES},
}
NODES: Final = 2
CHIPS: Final = 8


@dataclass(frozen=True, slots=True)
class Work:
    """What the chips of a node show in a window; ``None``: the channel is not read."""

    power_w: float | None = 70.0
    tensor: float | None = 0.0
    utilisation: float | None = 0.0
    clock_mhz: float | None = 1755.0
    counters: bool = True
    wall: bool = False
    slots: bool = False
    """Power by the second of each chip."""


IDLE: Final = Work()
TRAINING: Final = Work(power_w=620.0, tensor=0.45, utilisation=1.0)
POWER_ONLY: Final = Work(None, None, None, None, counters=False, wall=True)


@dataclass(slots=True)
class Speaker:
    """Somebody with a key: the chain so far, and the id of what was logged last."""

    key: SigningKey
    author: Author | None = None
    newest: bytes = NOTHING


@dataclass(slots=True)
class NodeSpeaker(Speaker):
    """A node: its party, its name, its inventory, and its chips' energy counters (mJ)."""

    party: str = ""
    name: str = ""
    inventory: bytes = NOTHING
    energy_mj: int = 1_000_000
    content_key: ContentKey | None = None


@dataclass(slots=True)
class Logbook:
    """The log so far; ``now_ms`` is its clock."""

    text: str = ""
    now_ms: int = T0
    records: list[bytes] = field(default_factory=list)
    bodies: list[bytes | None] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    people: dict[str, Speaker] = field(default_factory=dict)
    nodes: dict[str, NodeSpeaker] = field(default_factory=dict)
    signer: Signer = field(default_factory=lambda: Signer(ORIGIN, Ed25519PrivateKey.generate()))
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    @classmethod
    def begin(cls, terms: Mapping[str, str] | None = None, *, rehearsal: bool = True) -> "Logbook":
        """Return a log whose leaf 0 is the agreement, with everybody's key."""
        book = cls()
        template = (ROOT / "policies/agreements/frontier-pause.toml").read_text()
        names = {
            "parties": PARTIES,
            "evaluators": ("meridian", "northlight", "openbench"),
            "adjudicators": ("judge-adeyemi", "judge-lindqvist", "judge-tanaka"),
            "verifiers": ("auditor",),
        }
        for name in ("ledger", *(name for group in names.values() for name in group)):
            book.people[name] = Speaker(SigningKey.generate())
            if name != "ledger":
                book.people[f"{name}/recovery"] = Speaker(SigningKey.generate())
        if not rehearsal:
            book.signer = Signer("log.example/logbook", Ed25519PrivateKey.generate())
        book.text = pin(
            template,
            keys={
                table: {name: _digest(book.people[name].key) for name in group}
                for table, group in names.items()
            },
            ledgers=[
                {
                    "origin": book.origin,
                    "vkey": book.signer.vkey,
                    "key": _digest(book.people["ledger"].key),
                }
            ],
            overrides={**TERMS, **(terms or {})},
            rehearsal=rehearsal,
            recovery_keys={
                table: {name: _digest(book.people[f"{name}/recovery"].key) for name in group}
                for table, group in names.items()
            },
        )
        ledger = book.people["ledger"]
        author = Author.opening(ledger.key, book.draw(16))
        agreement = governance_pb2.Agreement(text=book.text.encode())
        said, author = author.say(agreement, T0, T0, salt=book.draw(16))
        book.log(said)
        said, ledger.author = author.say(book._opening(ledger.key, 0), T0, T0, salt=book.draw(16))
        book.log(said)
        return book

    @property
    def origin(self) -> str:
        return self.signer.name

    @property
    def pins(self) -> Pins:
        return read_pins(self.text.encode())

    def draw(self, count: int) -> bytes:
        return self.chance.randbytes(count)

    def log(self, said: Statement, *, body: bool = True) -> int:
        """Log a statement as it stands, and return its index."""
        self.records.append(encode_record(Record(said.header, said.signature, self.now_ms)))
        self.bodies.append(said.stored if body else None)
        self.ids.append(said.id)
        return len(self.records) - 1

    def _opening(self, key: SigningKey, telemetry: int) -> identity_pb2.Opening:
        return identity_pb2.Opening(
            key=key.spki,
            logs=[self.origin],
            agreements=[self.pins.digest],
            boot_id=b"b" * 16,
            telemetry=identity_pb2.Telemetry.ValueType(telemetry),
        )

    def open(self, speaker: Speaker, telemetry: int = 0, seen: Seen | None = None) -> None:
        """Open a new epoch."""
        author = Author.opening(speaker.key, self.draw(16), speaker.newest)
        opening = self._opening(speaker.key, telemetry)
        said, speaker.author = author.say(
            opening, self.now_ms, self.now_ms, salt=self.draw(16), seen=seen
        )
        self.log(said)
        speaker.newest = said.id

    def sign(
        self,
        speaker: Speaker,
        message: Message,
        start: int | None = None,
        end: int | None = None,
        content_key: ContentKey | None = None,
    ) -> Statement:
        """Sign the next statement of a chain, which moves on; it is not logged."""
        if speaker.author is None:
            self.open(speaker)
        assert speaker.author is not None
        start = self.now_ms if start is None else start
        said, speaker.author = speaker.author.say(
            message,
            start,
            start if end is None else end,
            salt=self.draw(16),
            content_key=content_key,
        )
        speaker.newest = said.id
        return said

    def say(self, who: str, message: Message) -> int:
        """Say something as a person, and return its index."""
        return self.log(self.sign(self.people[who], message))

    def tick(self) -> int:
        """Log a tick."""
        note = self.note()
        return self.say("ledger", log_pb2.Tick(checkpoint=note, time=self.now_ms))

    def enrol(self, party: str, name: str, *, chips: int = CHIPS, from_ms: int = T0) -> NodeSpeaker:
        """Enrol a node, open its chain, and log its inventory."""
        node = NodeSpeaker(SigningKey.generate(), party=party, name=name)
        token = hashlib.sha256(name.encode()).digest()
        proof = hashlib.sha256(
            b"stillwatch enrolment v1\n" + self.pins.digest + self.people[party].key.key_id + token
        ).digest()
        enrolment = identity_pb2.Enrolment(
            node_key=node.key.spki,
            site="hall",
            name=name,
            token_digest=token,
            possession=node.key.sign(proof),
            agreement=self.pins.digest,
            chips=chips,
            chip_model=H100,
            accounted_from=from_ms,
        )
        self.say(party, enrolment)
        self.nodes[name] = node
        self.join(node, chips=chips)
        return node

    def join(self, node: NodeSpeaker, *, chips: int = CHIPS, telemetry: int | None = None) -> None:
        """Open a node's epoch, and log its inventory in it."""
        label = identity_pb2.TELEMETRY_SIMULATED if telemetry is None else telemetry
        self.open(node, label)
        self.disclose(node)
        self.show(node, *(f"{node.name}-{at}" for at in range(chips)))

    def disclose(self, node: NodeSpeaker) -> None:
        """Log the content key of a node's day, where the agreement has summaries sealed."""
        to = self.pins.disclosures.of_kind.get(Kind.SUMMARY)
        if to is not None:
            author = node.key.key_id
            key = ContentKey(author, day_of(self.now_ms), to.number, self.draw(32))
            self.log(self.sign(node, disclose(key, to)))
            node.content_key = key

    def show(self, node: NodeSpeaker, *uuids: str) -> None:
        """Log a node's inventory: the chips of those names."""
        listed = inventory_pb2.Inventory(
            chips=[inventory_pb2.Chip(uuid=uuid, model=H100) for uuid in uuids]
        )
        said = self.sign(node, listed)
        node.inventory = hashlib.sha256(said.stored).digest()
        self.log(said)

    def window(self, node: NodeSpeaker, start: int, work: Work, *, chips: int = CHIPS) -> Statement:
        """Sign the window that begins at ``start``; it is not logged."""
        made = summary(node, start, work, chips)
        return self.sign(node, made, start, start + MINUTE, node.content_key)

    def minute(self, work: Mapping[str, Work | None]) -> None:
        """Let a minute pass: windows of the minute from ``now_ms`` on, then a tick."""
        start = self.now_ms
        self.now_ms += MINUTE + 5_000
        for name, node in self.nodes.items():
            does = work.get(name, work.get(node.party, IDLE))
            if does is not None:
                self.log(self.window(node, start, does))
        self.now_ms = start + MINUTE
        self.now_ms += 10_000
        self.tick()
        self.now_ms = start + MINUTE

    def trigger(self, nodes: int) -> None:
        """Have every party accede and enrol so many nodes, and two evaluators say what triggers the pause."""
        for party in PARTIES:
            self.say(party, governance_pb2.Accession(agreement=self.pins.digest, party=party))
            for at in range(nodes):
                self.enrol(party, f"{party}/{at}")
        self.tick()
        for indicator, value in (("task_horizon", 16.0), ("training_speedup", 52.0)):
            for who in ("meridian", "northlight"):
                fact = governance_pb2.Fact(indicator=indicator, value=value, source="published")
                fact.agreement = self.pins.digest
                self.say(who, fact)

    def minutes(self, work: Work, count: int, *, a_tick: int) -> None:
        """Log so many windows of every node from the start on, all at one work, with a tick each ``a_tick`` minutes."""
        for at in range(count):
            start = T0 + at * MINUTE
            self.now_ms = start + MINUTE
            for node in self.nodes.values():
                self.log(self.window(node, start, work))
            if at % a_tick == a_tick - 1:
                self.tick()

    def note(self) -> bytes:
        levels = build_levels(self.records)
        size = len(self.records)
        root = root_hash(size, lambda level, index: levels[level][index])
        return sign_checkpoint(Checkpoint(self.origin, size, root), self.signer)

    def prefix(self) -> LogPrefix:
        """Return the log as a mirror would have read it."""
        levels = build_levels(self.records)
        size = len(self.records)
        root = root_hash(size, lambda level, index: levels[level][index])
        return LogPrefix(
            self.origin, size, root, self.note(), tuple(self.records), tuple(self.bodies), levels
        )

    def evidence(self) -> Evidence:
        return gather(self.pins, self.prefix())

    def serve(self, folder: Path) -> None:
        """Write the static files of the log."""
        prefix = self.prefix()
        for path, data in served(prefix):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)

    def copy(self) -> "Logbook":
        """Return a log that may go on while this one stays."""
        return replace(
            self,
            records=list(self.records),
            bodies=list(self.bodies),
            ids=list(self.ids),
            people={name: replace(who) for name, who in self.people.items()},
            nodes={name: replace(node) for name, node in self.nodes.items()},
        )

    def without(self, *indices: int) -> "Logbook":
        """Return a log that never held some records; its ticks are of the whole log and left out."""
        kept = [at for at in range(len(self.records)) if at not in indices]
        return replace(
            self,
            records=[self.records[at] for at in kept],
            bodies=[self.bodies[at] for at in kept],
            ids=[self.ids[at] for at in kept],
        )


def served(prefix: LogPrefix) -> Iterator[tuple[str, bytes]]:
    """Yield the static files of a log."""
    for index, width in bundles_of(prefix.size):
        rows = slice(index * 256, index * 256 + width)
        yield bundle_path(index, width), encode_bundle(prefix.entries[rows])
        yield aligned_path(FOLDER, index, width), encode_body_bundle(prefix.bodies[rows])
    for tile in tiles_of(prefix.size):
        yield tile.path, prefix.tile(tile)
    yield "checkpoint", prefix.note


def summary(
    node: NodeSpeaker, start: int, work: Work, chips: int = CHIPS
) -> summary_pb2.WorkloadSummary:
    """Return a window's summary; the node's energy counters move on."""
    row = [float("nan")] * WIDTH
    told = {
        "power_mean": work.power_w,
        "utilisation_mean": work.utilisation,
        "sm_active_mean": work.utilisation,
        "tensor_active_mean": work.tensor,
        "hmma_active_mean": work.tensor,
        "imma_active_mean": None if work.tensor is None else 0.0,
        "dmma_active_mean": None if work.tensor is None else 0.0,
        "sm_clock_mean": work.clock_mhz,
        "sm_clock_tensor_mean": work.clock_mhz,
    }
    for name, value in told.items():
        if value is not None:
            row[COLUMN[name]] = value
    made = summary_pb2.WorkloadSummary(
        inventory=node.inventory,
        feature_set=FEATURE_SET,
        samples_expected=480,
        samples_taken=480,
        largest_gap_ms=1000,
        boot_id=b"b" * 16,
        chip_features=pack_rows([row] * chips),
    )
    if work.counters:
        before = node.energy_mj
        node.energy_mj += round((work.power_w or 0) * MINUTE)
        made.energy_start_mj.extend([before] * chips)
        made.energy_end_mj.extend([node.energy_mj] * chips)
        made.energy_start_at.extend([start] * chips)
        made.energy_end_at.extend([start + MINUTE] * chips)
    if work.slots:
        made.power.slot_ms = 1000
        made.power.chips = round(work.power_w or 0).to_bytes(2, "little") * (60 * chips)
    if work.wall:
        made.node.wall_energy_joules = 6_000.0 * 60
        made.node.wall_covered_ms = MINUTE
        made.node.wall_resolution_watts = 1.0
        made.power.slot_ms = 1000
        made.power.node = (6_000).to_bytes(2, "little") * 60
    return made


def _digest(key: SigningKey) -> str:
    return f"sha256:{key.key_id.hex()}"


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that was played: the log, and when it was in force."""

    book: Logbook
    in_force: tuple[int, int]


def play(
    conduct: Mapping[str, Work | None],
    *,
    minutes: int = 14,
    after: int = 4,
    terms: Mapping[str, str] | None = None,
) -> Pause:
    """Play a pause: all accede, facts trigger it, and in force each party does what ``conduct`` says.

    ``minutes`` are in force, of which the audited period is the first ``minutes - after``; then the log goes on, so
    that a tick stands past the grace.
    """
    book = Logbook.begin(terms)
    book.trigger(NODES)
    before = dict.fromkeys(PARTIES, TRAINING)
    for _ in range(2):
        book.minute(before)
    for _ in range(2):
        book.minute({})
    start = book.now_ms
    for _ in range(minutes):
        book.minute(conduct)
    return Pause(book, (start, start + (minutes - after) * MINUTE))
