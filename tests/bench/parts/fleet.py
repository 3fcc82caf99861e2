"""A fleet that speaks: one party, its nodes, and what they say, signed ahead of the clock."""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from protos.stillwatch.ledger.v1 import ledger_pb2
from protos.stillwatch.statement.v1 import header_pb2, identity_pb2
from statements.author import EPOCH_LENGTH, Author, Statement
from statements.body import SALT_LENGTH
from statements.enrolment import possession_digest
from statements.pins import Pins
from statements.signing import SigningKey
from tests.unit.verifier.logbook import H100, MINUTE, T0, TRAINING, NodeSpeaker, summary

CHIPS: Final = 8
_WORK: Final = replace(TRAINING, slots=True)
"""Eight chips that train: 31 features each, energy counters, and power by the second."""


@dataclass(slots=True)
class Fleet:
    """One party and its nodes; every method returns the next statements of their chains."""

    pins: Pins
    origin: str
    party: SigningKey
    nodes: list[NodeSpeaker] = field(default_factory=list)
    windows_said: int = 0

    def enrolments(self, count: int) -> Iterator[Statement]:
        """Yield the party's opening, and the enrolments of so many nodes with keys of their own."""
        author = Author.opening(self.party, secrets.token_bytes(EPOCH_LENGTH))
        said, author = author.say(
            self._opening(self.party), T0, T0, salt=secrets.token_bytes(SALT_LENGTH)
        )
        yield said
        for at in range(count):
            node = NodeSpeaker(SigningKey.generate(), name=f"node-{at}")
            token = hashlib.sha256(node.name.encode()).digest()
            proof = possession_digest(self.pins.digest, self.party.key_id, token)
            enrolment = identity_pb2.Enrolment(
                node_key=node.key.spki,
                site="hall",
                name=node.name,
                token_digest=token,
                possession=node.key.sign(proof),
                agreement=self.pins.digest,
                chips=CHIPS,
                chip_model=H100,
            )
            said, author = author.say(enrolment, T0, T0, salt=secrets.token_bytes(SALT_LENGTH))
            self.nodes.append(node)
            yield said

    def openings(self) -> Iterator[Statement]:
        """Yield an opening of every node's chain."""
        for node in self.nodes:
            author = Author.opening(node.key, secrets.token_bytes(EPOCH_LENGTH))
            said, node.author = author.say(
                self._opening(node.key), T0, T0, salt=secrets.token_bytes(SALT_LENGTH)
            )
            yield said

    def window(self) -> list[Statement]:
        """Return one window's summary of every node, in the order of the nodes."""
        start = T0 + self.windows_said * MINUTE
        self.windows_said += 1
        said: list[Statement] = []
        for node in self.nodes:
            assert node.author is not None
            body = summary(node, start, _WORK, CHIPS)
            statement, node.author = node.author.say(
                body, start, start + MINUTE, salt=secrets.token_bytes(SALT_LENGTH)
            )
            said.append(statement)
        return said

    def _opening(self, key: SigningKey) -> identity_pb2.Opening:
        return identity_pb2.Opening(
            key=key.spki,
            logs=[self.origin],
            agreements=[self.pins.digest],
            boot_id=b"b" * 16,
            telemetry=identity_pb2.TELEMETRY_SIMULATED,
        )


def request(statements: Sequence[Statement], *, bodies: bool) -> ledger_pb2.AppendRequest:
    """Return a batch as it is sent; without ``bodies`` they are withheld, as summaries' may be."""
    return ledger_pb2.AppendRequest(
        statements=[
            header_pb2.Statement(
                header=one.header, signature=one.signature, stored=one.stored if bodies else None
            )
            for one in statements
        ]
    )
