"""What is sealed in a rehearsal's log, who opens it, and whether the ledger holds any of it in plain."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protos.stillwatch.statement.v1 import header_pb2, summary_pb2
from statements.disclosure import DisclosureClass
from statements.errors import SealError
from statements.kinds import PUBLIC, Kind
from statements.sealing import ReadingKey
from verifier.agreement.model import Agreement
from verifier.evidence.errors import UnreadError
from verifier.evidence.gather import gather
from verifier.mirror.prefix import fetch_prefix, served_log
from verifier.mirror.source import FolderSource

_PROBE: Final = 64
"""Bytes of a matrix of features that are looked for; rows of different chips and windows differ within them."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """The summaries of a log: how many there are, are sealed, opened with a reader's key, and lie about in plain.

    ``in_plain`` counts those of which the salt or the features are found in any file that the ledger keeps; ``stored``
    is the length of one sealed body, in bytes.
    """

    to: DisclosureClass
    summaries: int
    sealed: int
    opened: int
    in_plain: int
    stored: int

    @property
    def readers(self) -> str:
        """The names of those who may read them."""
        return " and ".join(reader.id for reader in self.to.readers)


def look_into(log: Path, agreement: Agreement, to: DisclosureClass, key: ReadingKey) -> Sealed:
    """Open every sealed summary of a ledger's folder with a reader's key, and look for it in the folder's files.

    Raises the verifier's errors for a log that does not verify.
    """
    source = FolderSource(log)
    evidence = gather(
        agreement.pins, fetch_prefix(source, served_log(source, agreement.pins)), [key]
    )
    records = evidence.records
    held = [path.read_bytes() for path in sorted(log.rglob("*")) if path.is_file()]
    rows = [row for row, kind in enumerate(records.kind.tolist()) if kind == Kind.SUMMARY]
    sealed = [row for row in rows if int(records.table["disclosure"][row]) != PUBLIC]
    opened = in_plain = stored = 0
    for row in sealed:
        body = evidence.prefix.bodies[int(records.index[row])] or b""
        stored = max(stored, len(body))
        try:
            plain = header_pb2.Body.FromString(evidence.opener.open(records, row, body))
        except (SealError, UnreadError):
            continue
        opened += 1
        in_plain += any(probe in data for probe in _probes(plain) for data in held)
    return Sealed(to, len(rows), len(sealed), opened, in_plain, stored)


def _probes(plain: header_pb2.Body) -> Iterator[bytes]:
    """Yield what is nowhere but where a body lies in plain: its salt, and the features that it tells, if any."""
    yield plain.salt
    told = summary_pb2.WorkloadSummary.FromString(plain.content).chip_features[:_PROBE]
    if told:
        yield told
