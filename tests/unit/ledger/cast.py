"""Who speaks in the ledger's tests: an agreement that pins them, and their chains."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message

from ledger.errors import JournalError, ObjectError
from ledger.journal.interface import Entry
from ledger.journal.sqlite import SqliteJournal
from ledger.keyring import Keyring
from ledger.objects.directory import DirectoryStore
from ledger.screening import Screened
from protos.stillwatch.ledger.v1 import ledger_pb2
from protos.stillwatch.statement.v1 import (
    governance_pb2,
    header_pb2,
    identity_pb2,
    summary_pb2,
)
from statements.author import NOTHING, Author, Statement
from statements.enrolment import possession_digest
from statements.pins import Pins, read_pins
from statements.record import RECORD_LENGTH
from statements.sealing import ContentKey
from statements.signing import SigningKey
from tlog.note import Signer

ORIGIN: Final = "rehearsal.example/ledger"
T0: Final = 1_780_315_200_000
"""2026-06-01T12:00:00Z."""
MINUTE: Final = 60_000


def terms(
    signer: Signer, ledger: SigningKey, people: Mapping[str, SigningKey], policy: str
) -> bytes:
    """Return an agreement that pins one of each, and says no more than a ledger reads; the party has a recovery key."""
    return f'''
[agreement]
id = "test-pause"

[windows]
length = "60 s"
late_grace = "5 min"
tick = "60 s"

[witnesses]
policy = """{policy}"""

[[parties]]
id = "aurora"
key = "sha256:{people["party"].key_id.hex()}"
recovery = "sha256:{people["recovery"].key_id.hex()}"

[[evaluators]]
id = "meridian"
key = "sha256:{people["evaluator"].key_id.hex()}"

[[ledgers]]
origin = "{signer.name}"
vkey = "{signer.vkey}"
key = "sha256:{ledger.key_id.hex()}"
'''.encode()


@dataclass
class Person:
    """Somebody with a key. Whatever is said takes the next place of the chain."""

    key: SigningKey
    agreement: bytes
    draw: random.Random
    place: Author | None = None

    def open(self, previous: bytes = NOTHING) -> Statement:
        """Open a new epoch."""
        self.place = Author.opening(self.key, self.draw.randbytes(16), previous)
        return self.say(
            identity_pb2.Opening(
                key=self.key.spki, logs=[ORIGIN], agreements=[self.agreement], software="a test"
            )
        )

    def say(
        self,
        message: Message,
        start_ms: int = T0,
        end_ms: int = T0,
        content_key: ContentKey | None = None,
    ) -> Statement:
        """Say something at the next place, sealed where there is a key for it."""
        assert self.place is not None, "the epoch is not open"
        said, self.place = self.place.say(
            message, start_ms, end_ms, salt=self.draw.randbytes(16), content_key=content_key
        )
        return said

    def summary(self, size: int = 100) -> Statement:
        """Say a summary whose body has a bit more than ``size`` bytes."""
        return self.say(
            summary_pb2.WorkloadSummary(chip_features=self.draw.randbytes(size)), T0, T0 + MINUTE
        )

    def summaries(self, count: int, size: int = 100) -> list[Statement]:
        return [self.summary(size) for _ in range(count)]


@dataclass
class Cast:
    """A ledger's keys, one party, one evaluator, and as many nodes as are asked for."""

    seed: int = 1
    policy: str = "quorum none"
    disclosure: str = ""
    signer: Signer = field(default_factory=lambda: Signer(ORIGIN, Ed25519PrivateKey.generate()))
    ledger_key: SigningKey = field(default_factory=SigningKey.generate)
    party_key: SigningKey = field(default_factory=SigningKey.generate)
    evaluator_key: SigningKey = field(default_factory=SigningKey.generate)
    recovery_key: SigningKey = field(default_factory=SigningKey.generate)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        people = {
            "party": self.party_key,
            "evaluator": self.evaluator_key,
            "recovery": self.recovery_key,
        }
        self.text = terms(self.signer, self.ledger_key, people, self.policy)
        self.text += self.disclosure.encode()
        self.pins: Pins = read_pins(self.text)
        self.party = self.person(self.party_key)
        self.evaluator = self.person(self.evaluator_key)
        self.ledger = self.person(self.ledger_key)
        self.saviour = self.person(self.recovery_key)

    def person(self, key: SigningKey | None = None) -> Person:
        """Return somebody, a stranger unless the key is pinned."""
        return Person(key or SigningKey.generate(), self.pins.digest, self.draw)

    def keyring(self) -> Keyring:
        """Return the ledger's keyring before anything is logged."""
        return Keyring(self.pins, self.ledger_key.key_id)

    def enrolment(self, node: Person, **fields: object) -> identity_pb2.Enrolment:
        """Return what makes a node's key live; ``fields`` replace what is right."""
        token = self.draw.randbytes(32)
        digest = possession_digest(self.pins.digest, self.party_key.key_id, token)
        message = identity_pb2.Enrolment(
            node_key=node.key.spki,
            site="hall",
            name="node",
            token_digest=token,
            possession=node.key.sign(digest),
            agreement=self.pins.digest,
            chips=8,
        )
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    def enrolled(self, nodes: int = 1) -> tuple[list[Statement], list[Person]]:
        """Return what makes fresh nodes live, the party's opening included when it has none, and the nodes."""
        said = [] if self.party.place else [self.party.open()]
        people = [self.person() for _ in range(nodes)]
        said += [self.party.say(self.enrolment(node)) for node in people]
        return said, people

    def founding(self) -> list[Statement]:
        """Return leaves 0 and 1, said by the ledger."""
        self.ledger.place = Author.opening(self.ledger_key, self.draw.randbytes(16))
        agreement = self.ledger.say(governance_pb2.Agreement(text=self.text))
        opening = identity_pb2.Opening(
            key=self.ledger_key.spki, logs=[ORIGIN], agreements=[self.pins.digest]
        )
        return [agreement, self.ledger.say(opening)]


@dataclass
class Hours:
    """A clock that stands still until it is moved."""

    ms: int = T0

    def now_ms(self) -> int:
        return self.ms

    def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


def wire(statement: Statement, *, withheld: bool = False) -> header_pb2.Statement:
    """Return a statement as it is sent."""
    message = header_pb2.Statement(header=statement.header, signature=statement.signature)
    if not withheld:
        message.stored = statement.stored
    return message


def request(*statements: Statement) -> ledger_pb2.AppendRequest:
    return ledger_pb2.AppendRequest(statements=[wire(one) for one in statements])


def triple(statement: Statement) -> tuple[bytes, bytes, bytes | None]:
    return statement.header, statement.signature, statement.stored


def screened(statement: Statement) -> Screened:
    """Return a statement as screening lets it through."""
    return Screened(statement, statement.id)


def entries(count: int, size: int = 50, seed: int = 7) -> list[Entry]:
    """Return records of no meaning, with bodies; every fifth body is not held."""
    draw = random.Random(seed)
    return [
        (draw.randbytes(RECORD_LENGTH), None if at % 5 == 4 else draw.randbytes(size))
        for at in range(count)
    ]


class FailingJournal(SqliteJournal):
    """A journal whose next writes fail as ``failures`` says: ``before`` anything is durable, or ``after`` all is."""

    def __init__(self, folder: Path) -> None:
        self.failures: list[str] = []
        super().__init__(folder)

    def append(self, first: int, entries: Sequence[Entry]) -> None:
        with self._failing():
            super().append(first, entries)

    def sign(self, expected: bytes | None, note: bytes) -> None:
        with self._failing():
            super().sign(expected, note)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        when = self.failures.pop(0) if self.failures else ""
        if when == "before":
            raise JournalError("STORAGE", "nothing was written")
        yield
        if when == "after":
            raise JournalError("STORAGE", "the answer was lost")


class FailingStore(DirectoryStore):
    """An object store that fails after ``left`` more writes, or at one path, until these are ``None`` again."""

    left: int | None = None
    at: str | None = None

    def put(self, files: Mapping[str, bytes]) -> None:
        for path, data in files.items():
            if self.left == 0 or path == self.at:
                raise ObjectError("STORAGE", f"cannot write {path}: no space")
            super().put({path: data})
            if self.left is not None:
                self.left -= 1
