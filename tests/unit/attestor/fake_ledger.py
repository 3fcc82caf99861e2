"""A ledger in memory, for the agent's tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from statements.author import NOTHING, Statement
from statements.errors import SubmissionError
from statements.header import decode_header
from statements.ledger_client import Head, InclusionProof, Receipt, Refusal
from statements.pins import LedgerPin
from statements.record import Record, encode_record
from tlog.checkpoint import Checkpoint, sign_checkpoint
from tlog.merkle import consistency_proof, inclusion_proof, leaf_hash, subtree_root
from tlog.note import Signer

SIGNER = Signer("rehearsal.test", Ed25519PrivateKey.generate())
PIN = LedgerPin("rehearsal.test", SIGNER.vkey, bytes(32))


@dataclass
class FakeLedger:
    """A log in memory with a ledger's rules of order, and ways to misbehave."""

    records: list[bytes] = field(default_factory=list)
    heads: dict[tuple[bytes, bytes], tuple[int, bytes]] = field(default_factory=dict)
    refuse: dict[bytes, str] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    down: bool = False
    published: int | None = None

    def append(self, statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        if self.down:
            raise SubmissionError("UNAVAILABLE", "down")
        self.batches.append(len(statements))
        return [self._admit(statement) for statement in statements]

    def _admit(self, statement: Statement) -> Receipt | Refusal:
        header = decode_header(statement.header)
        if header.author in self.refuse:
            return Refusal(self.refuse[header.author], "as told", None)
        newest, newest_id = self.heads.get((header.author, header.epoch), (-1, NOTHING))
        if header.sequence <= newest:
            for index, record in enumerate(self.records):
                if statement.header in record:
                    return Receipt(index, record, body_held=True)
            return Refusal("FORK", "another holds this place", newest + 1)
        if header.sequence > newest + 1:
            return Refusal("GAP", "an earlier one is missing", newest + 1)
        if newest >= 0 and header.previous != newest_id:
            return Refusal("WRONG_PREVIOUS", "it follows another", newest + 1)
        record = encode_record(Record(statement.header, statement.signature, 0))
        self.records.append(record)
        self.heads[header.author, header.epoch] = (header.sequence, statement.id)
        return Receipt(len(self.records) - 1, record, body_held=True)

    def rest(self) -> None:
        pass

    def author(self, author: bytes) -> tuple[Head, ...]:
        if self.down:
            raise SubmissionError("UNAVAILABLE", "down")
        return tuple(
            Head(epoch, sequence, id_, index)
            for index, ((who, epoch), (sequence, id_)) in enumerate(self.heads.items())
            if who == author
        )

    @property
    def size(self) -> int:
        return len(self.records) if self.published is None else self.published

    def _subtree(self, level: int, index: int) -> bytes:
        span = self.records[index << level : (index + 1) << level]
        return subtree_root([leaf_hash(record) for record in span])

    def checkpoint(self) -> bytes:
        if self.down:
            raise SubmissionError("UNAVAILABLE", "down")
        root = subtree_root([leaf_hash(record) for record in self.records[: self.size]])
        return sign_checkpoint(Checkpoint(PIN.origin, self.size, root), SIGNER)

    def inclusion(self, index: int) -> InclusionProof:
        path = inclusion_proof(index, self.size, self._subtree)
        return InclusionProof(self.size, tuple(path), self.checkpoint())

    def consistency(self, from_size: int, to_size: int) -> tuple[bytes, ...]:
        return tuple(consistency_proof(from_size, to_size, self._subtree))
