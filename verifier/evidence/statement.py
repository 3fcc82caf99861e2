"""What was said: statements whose signatures were verified, with when they were logged."""

from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import identity_pb2, inventory_pb2
from statements.header import Header
from statements.pins import Role


@dataclass(frozen=True, slots=True)
class LoggedStatement:
    """A verified statement of somebody whose key the agreement pins.

    ``index`` is its place in the log; ``logged_ms`` the ledger's hint of when, held to the bounds
    [``not_before_ms``, ``not_after_ms``] that ticks give.
    """

    index: int
    statement_id: bytes
    header: Header
    role: Role
    name: str
    message: Message
    logged_ms: int
    not_before_ms: int
    not_after_ms: int


@dataclass(frozen=True, slots=True)
class EnrolledNode:
    """A node as its party enrolled it, first enrolment; ``chips`` is the most that any enrolment names.

    ``chip_model`` is ``None`` where it was not said, or said in two ways. ``accounted_from_ms`` is the earliest that
    any enrolment names.
    """

    node_id: bytes
    party: str
    site: str
    name: str
    chips: int
    chip_model: str | None
    accounted_from_ms: int
    index: int


@dataclass(frozen=True, slots=True)
class NodeOpening:
    """The opening of a node's epoch: its row, its author, and what it says."""

    row: int
    author: bytes
    message: identity_pb2.Opening = field(repr=False)


@dataclass(frozen=True, slots=True)
class NodeInventory:
    """A node's inventory: its row, its author, the digest by which summaries cite it, and what it says."""

    row: int
    author: bytes
    body_digest: bytes
    message: inventory_pb2.Inventory = field(repr=False)


UNSERVED: Final = frozenset({"BODY_MISSING", "BODY_MISMATCH", "BODY_TOO_LARGE"})
"""Reason codes of faults that say that the body of a public statement is not served as it was logged."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the log that an honest ledger does not write: a reason code, the index, and words.

    ``notes`` are the signed checkpoints that prove it, where there are any.
    """

    reason: str
    index: int
    message: str
    notes: tuple[bytes, ...] = ()
