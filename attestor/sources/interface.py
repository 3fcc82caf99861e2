"""What a source of telemetry is."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from attestor.channels import Reading
from protos.stillwatch.statement.v1 import identity_pb2


class Telemetry(IntEnum):
    """How readings were made; values as in ``identity.proto``. A larger value claims less."""

    LIVE = identity_pb2.TELEMETRY_LIVE
    RECORDED = identity_pb2.TELEMETRY_RECORDED
    SIMULATED = identity_pb2.TELEMETRY_SIMULATED


@dataclass(frozen=True, slots=True)
class ChipDescription:
    """One chip as its source knows it; None and absent channels are what it does not offer.

    ``power_limit_w`` in W, ``max_sm_clock_mhz`` in MHz, ``memory_bytes`` in bytes; ``channels``
    names what can be read of this chip.
    """

    uuid: str
    model: str | None
    channels: frozenset[str]
    power_limit_w: float | None = None
    max_sm_clock_mhz: float | None = None
    memory_bytes: int | None = None
    partitioned: bool | None = None
    firmware: str | None = None


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """What a source offers.

    ``boot_id`` (16 bytes) identifies the boot under which the source's absolute counters count.
    ``sample_ms`` is the time between two readings of a row; ``poll_ms`` how often ``read`` must be
    called so that nothing is lost, 0 when the source keeps readings until they are asked for;
    ``lead_ms`` by how much that is best done before a multiple of ``poll_ms``, so that what counters
    say is of just before a window's end.
    """

    telemetry: Telemetry
    chips: tuple[ChipDescription, ...]
    node_channels: frozenset[str]
    driver: str | None
    boot_id: bytes
    sample_ms: int
    poll_ms: int
    lead_ms: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """All readings since the last one, in order of time within each row.

    ``failed`` holds a line for each thing that could not be read, for people; the readings that are
    there are good all the same.
    """

    readings: Sequence[Reading]
    failed: tuple[str, ...] = ()


class Source(Protocol):
    """Something that reads chips or the node. One thread at a time uses it."""

    @property
    def description(self) -> SourceDescription:
        """What the source offers; it does not change while the source is open."""
        ...

    def read(self, now_ms: int) -> Batch:
        """Return everything read since the last call, up to and including ``now_ms``.

        ``now_ms`` is Unix milliseconds by the agent's clock and never goes backwards. Raises
        SourceError when nothing at all can be read.
        """
        ...

    def close(self) -> None:
        """Let go of files and libraries. Closing twice does no harm."""
        ...
