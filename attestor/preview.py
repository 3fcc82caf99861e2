"""Shows people what leaves a node: every field of every header and body, decoded."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from attestor.output import Json
from attestor.sealer import Sealer, plain_body
from attestor.window import Span
from protos.stillwatch.statement.v1 import summary_pb2
from statements.author import Statement
from statements.body import SALT_LENGTH, decode_body
from statements.features import FEATURES, MISSING_COUNTER, MISSING_SLOT, unpack_rows
from statements.header import Header, decode_header
from statements.kinds import PUBLIC, Kind, parse_content

READERS = "everyone: the body is public"


def rfc3339(instant_ms: int) -> str:
    """Return Unix milliseconds as RFC 3339 UTC."""
    seconds, millis = divmod(instant_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def describe_message(message: Message) -> dict[str, Json]:
    """Return every field that is set, by name: bytes in hexadecimal, enumerations by name."""
    return {field.name: _value(field, value) for field, value in message.ListFields()}


def _value(field: FieldDescriptor, value: object) -> Json:
    if isinstance(value, Message):
        return describe_message(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int) and field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if isinstance(value, bool | int | float | str):
        return value
    assert isinstance(value, Iterable)  # noqa: S101 - what is left is a repeated field
    return [_value(field, one) for one in value]


def _slots(data: bytes) -> list[int | None]:
    values = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]
    return [None if value == MISSING_SLOT else value for value in values]


def _counters(values: Sequence[int]) -> list[int | None]:
    return [None if value == MISSING_COUNTER else value for value in values]


def describe_summary(summary: summary_pb2.WorkloadSummary) -> dict[str, Json]:
    """Return a summary's fields by name, matrices decoded; what the hardware did not say is left out or null."""
    width = 4 * len(FEATURES)
    rows = unpack_rows(summary.chip_features, len(summary.chip_features) // width)
    described = describe_message(summary)
    described.pop("chip_features", None)
    described["failed_sources"] = list(summary.failed_sources)
    described["energy_start_mj"] = _counters(summary.energy_start_mj)
    described["energy_end_mj"] = _counters(summary.energy_end_mj)
    described["chips"] = [
        {
            feature.name: value
            for feature, value in zip(FEATURES, row, strict=True)
            if not math.isnan(value)
        }
        for row in rows
    ]
    if described.pop("power", None) is not None:
        size = len(summary.power.chips) // (len(rows) or 1)
        described["power_w"] = {
            "slot_ms": summary.power.slot_ms,
            "chips": [
                _slots(summary.power.chips[chip * size : (chip + 1) * size])
                for chip in range(len(rows) if size else 0)
            ],
            "node": _slots(summary.power.node),
        }
    return described


def who_may_read(header: Header, sealer: Sealer | None) -> str:
    """Return in words who may read a body."""
    if header.disclosure == PUBLIC or sealer is None:
        return READERS
    names = ", ".join(reader.id for reader in sealer.to.readers)
    return f"{names}, and nobody else: the body is sealed to the class {sealer.to.id}"


def describe_statement(statement: Statement, sealer: Sealer | None = None) -> dict[str, Json]:
    """Return a statement's header, field by field, the size of its body, and who may read it."""
    header = decode_header(statement.header)
    return {
        "kind": Kind(header.kind).name.lower(),
        "author": header.author.hex(),
        "key_id": header.key_id.hex(),
        "epoch": header.epoch.hex(),
        "sequence": header.sequence,
        "previous": header.previous.hex(),
        "from": rfc3339(header.start_ms),
        "to": rfc3339(header.end_ms),
        "seen_log": header.seen_log.hex(),
        "seen_size": header.seen_size,
        "seen_root": header.seen_root.hex(),
        "body_digest": header.body_digest.hex(),
        "stored_digest": header.stored_digest.hex(),
        "header_bytes": len(statement.header),
        "signature_bytes": len(statement.signature),
        "body_bytes": len(statement.stored),
        "body_salt_bytes": SALT_LENGTH,
        "who_may_read": who_may_read(header, sealer),
    }


def describe_content(statement: Statement, sealer: Sealer | None = None) -> dict[str, Json]:
    """Return every field of what a statement's body says, opened if it is sealed."""
    header = decode_header(statement.header)
    body = plain_body(statement, header, sealer)
    content = parse_content(Kind(header.kind), decode_body(body or b""))
    if isinstance(content, summary_pb2.WorkloadSummary):
        return describe_summary(content)
    return describe_message(content)


@dataclass(frozen=True, slots=True)
class Preview:
    """What one node would say of one window: statements in order. ``telemetry`` is the label of its readings.

    ``sealer`` opens what is sealed of it, for its operator to see.
    """

    node: str
    telemetry: str
    span: Span
    statements: tuple[Statement, ...]
    sealer: Sealer | None = None

    def contents(self) -> dict[str, Json]:
        """Return what the bodies say, by kind of statement."""
        return {
            Kind(decode_header(statement.header).kind).name.lower(): describe_content(
                statement, self.sealer
            )
            for statement in self.statements
        }

    def as_json(self) -> dict[str, Json]:
        """Return the preview for output: headers in order, then what each body says."""
        sent: list[Json] = [
            describe_statement(statement, self.sealer) for statement in self.statements
        ]
        return {"node": self.node, "telemetry": self.telemetry, "sent": sent, **self.contents()}
