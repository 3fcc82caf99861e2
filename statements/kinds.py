"""The kinds of statement, and the message that each kind's body holds."""

from enum import IntEnum

from google.protobuf.message import DecodeError, Message

from protos.stillwatch.statement.v1 import (
    governance_pb2,
    header_pb2,
    identity_pb2,
    inventory_pb2,
    log_pb2,
    summary_pb2,
)
from statements.errors import BodyError

PUBLIC = int(header_pb2.DISCLOSURE_PUBLIC)
"""The disclosure class that everyone may read."""


class Kind(IntEnum):
    """What a statement's body holds; values as in ``header.proto``."""

    OPENING = header_pb2.KIND_OPENING
    AGREEMENT = header_pb2.KIND_AGREEMENT
    ACCESSION = header_pb2.KIND_ACCESSION
    WITHDRAWAL = header_pb2.KIND_WITHDRAWAL
    ENROLMENT = header_pb2.KIND_ENROLMENT
    ACTIVATION = header_pb2.KIND_ACTIVATION
    ROTATION = header_pb2.KIND_ROTATION
    REVOCATION = header_pb2.KIND_REVOCATION
    CONTENT_KEY = header_pb2.KIND_CONTENT_KEY
    INVENTORY = header_pb2.KIND_INVENTORY
    DECLARATION = header_pb2.KIND_DECLARATION
    SUMMARY = header_pb2.KIND_SUMMARY
    METER_READING = header_pb2.KIND_METER_READING
    FACT = header_pb2.KIND_FACT
    PERMIT = header_pb2.KIND_PERMIT
    FREEZE = header_pb2.KIND_FREEZE
    RESUME = header_pb2.KIND_RESUME
    CHALLENGE = header_pb2.KIND_CHALLENGE
    RESPONSE = header_pb2.KIND_RESPONSE
    REPLY = header_pb2.KIND_REPLY
    RULING = header_pb2.KIND_RULING
    VERDICT = header_pb2.KIND_VERDICT
    TICK = header_pb2.KIND_TICK
    FOREIGN_CHECKPOINT = header_pb2.KIND_FOREIGN_CHECKPOINT


_CONTENT: dict[Kind, type[Message]] = {
    Kind.OPENING: identity_pb2.Opening,
    Kind.AGREEMENT: governance_pb2.Agreement,
    Kind.ACCESSION: governance_pb2.Accession,
    Kind.WITHDRAWAL: governance_pb2.Withdrawal,
    Kind.ENROLMENT: identity_pb2.Enrolment,
    Kind.ACTIVATION: identity_pb2.Activation,
    Kind.ROTATION: identity_pb2.Rotation,
    Kind.REVOCATION: identity_pb2.Revocation,
    Kind.CONTENT_KEY: identity_pb2.ContentKey,
    Kind.INVENTORY: inventory_pb2.Inventory,
    Kind.DECLARATION: inventory_pb2.Declaration,
    Kind.SUMMARY: summary_pb2.WorkloadSummary,
    Kind.METER_READING: summary_pb2.MeterReading,
    Kind.FACT: governance_pb2.Fact,
    Kind.PERMIT: governance_pb2.Permit,
    Kind.FREEZE: governance_pb2.Freeze,
    Kind.RESUME: governance_pb2.Resume,
    Kind.CHALLENGE: governance_pb2.Challenge,
    Kind.RESPONSE: governance_pb2.Response,
    Kind.REPLY: governance_pb2.Reply,
    Kind.RULING: governance_pb2.Ruling,
    Kind.VERDICT: governance_pb2.Verdict,
    Kind.TICK: log_pb2.Tick,
    Kind.FOREIGN_CHECKPOINT: log_pb2.ForeignCheckpoint,
}

SEALABLE = frozenset({Kind.SUMMARY, Kind.METER_READING, Kind.RESPONSE})
"""Kinds whose bodies may be sealed, withheld or pruned; all others are public and required."""


def parse_content(kind: Kind, content: bytes) -> Message:
    """Return the message that a body of that kind holds.

    Raises :class:`BodyError` when the bytes are not such a message.
    """
    try:
        return _CONTENT[kind].FromString(content)
    except DecodeError:
        raise BodyError(
            "MALFORMED_BODY", f"the content does not parse as {_CONTENT[kind].__name__}"
        ) from None


def kind_of(message: Message) -> Kind:
    """Return the kind whose bodies hold such a message."""
    for kind, content in _CONTENT.items():
        if isinstance(message, content):
            return kind
    raise BodyError("UNKNOWN_KIND", f"no kind of statement holds {type(message).__name__}")
