"""Shows people what leaves a node: summaries and headers, decoded."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from attestor.window import Span
from protos.stillwatch.statement.v1 import inventory_pb2, summary_pb2
from statements.author import Statement
from statements.features import FEATURES, MISSING_COUNTER, MISSING_SLOT, unpack_rows
from statements.header import decode_header
from statements.kinds import Kind

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

READERS = "everyone: this version makes every body public"


def rfc3339(instant_ms: int) -> str:
    """Return Unix milliseconds as RFC 3339 UTC."""
    seconds, millis = divmod(instant_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def _slots(data: bytes) -> list[int | None]:
    values = [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]
    return [None if value == MISSING_SLOT else value for value in values]


def _counters(values: Sequence[int]) -> list[int | None]:
    return [None if value == MISSING_COUNTER else value for value in values]


def describe_summary(summary: summary_pb2.WorkloadSummary) -> dict[str, Json]:
    """Return a summary's fields by name; what the hardware did not say is left out or null."""
    width = 4 * len(FEATURES)
    rows = unpack_rows(summary.chip_features, len(summary.chip_features) // width)
    described: dict[str, Json] = {
        "samples_expected": summary.samples_expected,
        "samples_taken": summary.samples_taken,
        "largest_gap_ms": summary.largest_gap_ms,
        "boot_id": summary.boot_id.hex(),
        "inventory": summary.inventory.hex(),
        "energy_start_mj": _counters(summary.energy_start_mj),
        "energy_end_mj": _counters(summary.energy_end_mj),
        "chips": [
            {
                feature.name: value
                for feature, value in zip(FEATURES, row, strict=True)
                if not math.isnan(value)
            }
            for row in rows
        ],
        "failed_sources": list(summary.failed_sources),
    }
    if summary.HasField("power"):
        count = len(rows) or 1
        size = len(summary.power.chips) // count
        described["power_w"] = {
            "slot_ms": summary.power.slot_ms,
            "chips": [
                _slots(summary.power.chips[chip * size : (chip + 1) * size])
                for chip in range(len(rows) if size else 0)
            ],
            "node": _slots(summary.power.node),
        }
    if summary.HasField("node"):
        described["node"] = {field.name: value for field, value in summary.node.ListFields()}
    return described


def describe_inventory(inventory: inventory_pb2.Inventory) -> dict[str, Json]:
    """Return an inventory's fields by name."""
    return {
        "driver": inventory.driver or None,
        "sources": list(inventory.sources),
        "missing_channels": list(inventory.missing_channels),
        "chips": [
            {field.name: value for field, value in chip.ListFields()} for chip in inventory.chips
        ],
    }


def describe_statement(statement: Statement) -> dict[str, Json]:
    """Return a statement's header, field by field, the size of its body, and who may read it."""
    header = decode_header(statement.header)
    return {
        "kind": Kind(header.kind).name.lower(),
        "author": header.author.hex(),
        "epoch": header.epoch.hex(),
        "sequence": header.sequence,
        "previous": header.previous.hex(),
        "from": rfc3339(header.start_ms),
        "to": rfc3339(header.end_ms),
        "seen_size": header.seen_size,
        "body_digest": header.body_digest.hex(),
        "header_bytes": len(statement.header),
        "signature_bytes": len(statement.signature),
        "body_bytes": len(statement.stored),
        "who_may_read": READERS,
    }


@dataclass(frozen=True, slots=True)
class Preview:
    """What one node would say of one window: statements in order, and their contents described."""

    node: str
    telemetry: str
    span: Span
    statements: tuple[Statement, ...]
    inventory: dict[str, Json]
    summary: dict[str, Json]

    def as_json(self) -> dict[str, Json]:
        """Return the preview for output."""
        return {
            "node": self.node,
            "telemetry": self.telemetry,
            "sent": [describe_statement(statement) for statement in self.statements],
            "inventory": self.inventory,
            "summary": self.summary,
        }


def as_text(value: Json, indent: int = 0) -> str:
    """Return described fields as lines for a terminal, nested ones indented."""
    pad = "  " * indent
    if isinstance(value, Mapping):
        lines = []
        for key, inner in value.items():
            if isinstance(inner, Mapping) or (
                isinstance(inner, list) and any(isinstance(item, Mapping) for item in inner)
            ):
                lines += [f"{pad}{key}:", as_text(inner, indent + 1)]
            else:
                lines.append(f"{pad}{key}: {_plain(inner)}")
        return "\n".join(lines)
    if isinstance(value, list):
        return "\n".join(f"{pad}- {as_text(item, indent + 1).lstrip()}" for item in value)
    return f"{pad}{_plain(value)}"


def _plain(value: Json) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " ".join(_plain(item) for item in value) if value else "none"
    return "-" if value is None else str(value)
