"""The audit's way through a log one by one, as the formats' own decoders read it: what the fast way must agree with."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from unittest import mock

import numpy as np

from statements.errors import HeaderError, RecordError, SignatureError
from statements.header import Header, decode_header
from statements.kinds import PUBLIC, SEALABLE, Kind
from statements.record import RECORD_LENGTH, decode_record
from statements.signing import VerifyingKey, statement_id, verify_signature
from verifier.evidence.bulk import Bodies, Piece
from verifier.evidence.records import _DTYPE, Int64, Records
from verifier.instants import LAST_MS
from verifier.rows import hashing
from verifier.rows.digests import Digests

MOST = 2**62


def _refused(leaf: bytes) -> str | None:
    if len(leaf) != RECORD_LENGTH:
        return "its length is not that of a record"
    try:
        record = decode_record(leaf)
        header = decode_header(record.header)
    except (RecordError, HeaderError):
        return "its fields are not those of a record"
    sealed = header.disclosure != PUBLIC
    told = {
        "its kind is not known": header.kind not in list(Kind),
        "its period ends before it starts": header.end_ms < header.start_ms,
        "its body is of an unknown disclosure class": header.disclosure < PUBLIC
        or (sealed and header.kind not in SEALABLE),
        "its numbers are beyond what a log can hold": max(header.sequence, record.logged_at_ms)
        > MOST,
    }
    return next((why for why, holds in told.items() if holds), None)


def read_records(entries: Sequence[bytes]) -> Records:
    """Read leaves one by one."""
    told = [(index, _refused(leaf)) for index, leaf in enumerate(entries)]
    kept = [(index, entries[index]) for index, why in told if why is None]
    leaves = b"".join(leaf for _, leaf in kept)
    records = [decode_record(leaf) for _, leaf in kept]
    headers: list[Header] = [decode_header(record.header) for record in records]
    speakers = [header.author + header.key_id + header.epoch for header in headers]
    known = {speaker: at for at, speaker in enumerate(dict.fromkeys(speakers))}

    def column(values: Sequence[int]) -> Int64:
        return np.array(values, dtype=np.int64)

    return Records(
        index=column([index for index, _ in kept]),
        ids=Digests(b"".join(statement_id(record.header) for record in records)),
        chain=column([known[speaker] for speaker in speakers]),
        first=column([speakers.index(speaker) for speaker in known]),
        kind=column([header.kind for header in headers]),
        sequence=column([header.sequence for header in headers]),
        start_ms=column([min(header.start_ms, LAST_MS) for header in headers]),
        end_ms=column([min(header.end_ms, LAST_MS) for header in headers]),
        seen_size=column([min(header.seen_size, MOST) for header in headers]),
        logged_at_ms=column([record.logged_at_ms for record in records]),
        octets=np.frombuffer(leaves, np.uint8).reshape(len(kept), RECORD_LENGTH),
        table=np.frombuffer(leaves, _DTYPE),
        refused=tuple((index, why) for index, why in told if why is not None),
    )


def read_none_in_bulk(bodies: Bodies) -> tuple[list[Piece], Int64]:
    """Leave all bodies to be read one by one."""
    return [], np.arange(len(bodies.stored))


def hash_rows(
    buffers: Sequence[bytes], buffer: Int64, start: Int64, length: Int64, prefix: bytes
) -> bytes:
    """Hash rows one by one."""
    digests = b""
    for which, at, count in zip(buffer.tolist(), start.tolist(), length.tolist(), strict=True):
        digests += hashlib.sha256(prefix + buffers[which][at : at + count]).digest()
    return digests


def verify_one_by_one(
    keys: Sequence[VerifyingKey], digests: Sequence[bytes], signatures: Sequence[bytes]
) -> dict[int, SignatureError]:
    """Verify signatures one by one."""
    failures: dict[int, SignatureError] = {}
    for at, claim in enumerate(zip(keys, digests, signatures, strict=True)):
        try:
            verify_signature(*claim)
        except SignatureError as error:
            failures[at] = error
    return failures


@contextlib.contextmanager
def slowly() -> Iterator[None]:
    """Let audits read one by one."""
    with (
        mock.patch("verifier.evidence.gather.read_records", read_records),
        mock.patch("verifier.evidence.windows.read_bulk", read_none_in_bulk),
        mock.patch.dict(hashing.BACKENDS, {"one by one": hash_rows}),
        mock.patch("verifier.evidence.gather.Vouched.verify_together"),
        mock.patch("verifier.evidence.chains.verify_batch", verify_one_by_one),
    ):
        yield
