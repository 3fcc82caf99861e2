"""One record as it is checked offline: read, its body compared, the key that it shows, its signature."""

from dataclasses import dataclass

from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import identity_pb2
from statements.body import decode_body
from statements.errors import BodyError, SignatureError
from statements.header import Header, decode_header
from statements.key_lives import DEEDS
from statements.kinds import PUBLIC, Kind, parse_content
from statements.record import Record, decode_record
from statements.signing import VerifyingKey, statement_id, verify_signature


@dataclass(frozen=True, slots=True)
class Said:
    """A record at its index, with its stored body where that is at hand."""

    index: int
    record: Record
    header: Header
    id: bytes
    body: bytes | None

    @property
    def kind(self) -> str:
        """The kind in words."""
        return kind_name(self.header.kind)

    @property
    def place(self) -> tuple[bytes, bytes, int]:
        """Its place in its author's chain: author, epoch, sequence."""
        return self.header.author, self.header.epoch, self.header.sequence


def kind_name(kind: int) -> str:
    """Return a kind in words."""
    known = {int(kind): kind.name.lower() for kind in Kind}
    return known.get(kind, f"kind {kind}")


def read_said(index: int, leaf: bytes, body: bytes | None) -> Said:
    """Return what a leaf says; nothing is verified.

    Raises :class:`RecordError` or :class:`HeaderError` when it is no record.
    """
    record = decode_record(leaf)
    header = decode_header(record.header)
    return Said(index, record, header, statement_id(record.header), body)


def shown_key(said: Said) -> VerifyingKey | None:
    """Return the key that an opening shows for itself, by its verified body; ``None`` for all other statements.

    Raises :class:`BodyError` when the body does not parse, and :class:`SignatureError` when it shows no key or another.
    """
    if said.header.kind != Kind.OPENING or said.body is None:
        return None
    opening = parse_content(Kind.OPENING, decode_body(said.body))
    assert isinstance(opening, identity_pb2.Opening)  # noqa: S101 - for the type checker
    key = VerifyingKey.from_spki(opening.key)
    if key.key_id != said.header.key_id:
        raise SignatureError("OTHER_KEY", "the opening shows another key than the one that signs")
    return key


def shown_deed(said: Said) -> Message | None:
    """Return what a statement does to keys, by its verified body; ``None`` for one that does nothing, or has no body.

    Raises :class:`BodyError` when the body does not parse.
    """
    if said.header.kind not in DEEDS or said.body is None:
        return None
    return parse_content(Kind(said.header.kind), decode_body(said.body))


def verify_plain(said: Said) -> None:
    """Refuse a record that calls its body public and names other bytes than those stored: :class:`BodyError`."""
    header = said.header
    if header.disclosure == PUBLIC and header.body_digest != header.stored_digest:
        raise BodyError("BODY_MISMATCH", "the body is public, and is not what is stored")


def verify_said(said: Said, key: VerifyingKey) -> None:
    """Refuse a record that the key did not sign: :class:`SignatureError`."""
    verify_signature(key, said.id, said.record.signature)
