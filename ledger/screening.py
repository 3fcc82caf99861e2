"""Screening: what of a statement can be judged from it and its key alone, before its place in the log.

Runs on several threads at once; it reads the set of keys and changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from google.protobuf.message import Message

from ledger.refusal import Refusal, Refused
from protos.stillwatch.ledger.v1 import ledger_pb2
from protos.stillwatch.statement.v1 import identity_pb2
from statements.author import Statement
from statements.body import body_digest, decode_body, verify_hashed, verify_stored
from statements.disclosure import Disclosures, verify_content_key
from statements.enrolment import verify_enrolment
from statements.errors import BodyError, HeaderError, SignatureError
from statements.header import Header, decode_header
from statements.kinds import PUBLIC, SEALABLE, Kind, parse_content
from statements.rotation import verify_revocation, verify_rotation
from statements.signing import VerifyingKey, key_digest, statement_id, verify_batch

UNSUPPORTED = frozenset(
    {
        Kind.ACTIVATION,
        Kind.FOREIGN_CHECKPOINT,
    }
)
"""Kinds whose effects this version cannot check, and therefore does not log."""
_LOGGED = {int(kind): kind for kind in Kind if kind not in UNSUPPORTED}
_UNREAD_HEADS = frozenset(b"\x0d" + kind.to_bytes(4, "little") for kind in SEALABLE)
"""How headers begin whose bodies nobody reads here."""


class Hashed(NamedTuple):
    """A body of a kind whose content nobody reads here: its size and SHA-256 stand for its bytes."""

    size: int
    digest: bytes


Parts = tuple[bytes, bytes, bytes | None]
"""A statement as sent: header, signature, and the body to store, ``None`` when it is withheld."""
Screenable = tuple[bytes, bytes, bytes | Hashed | None]
"""The same, or with a body that was hashed before."""
KnownKeys = Callable[[bytes], VerifyingKey | None]
"""Returns the key of that digest, when the ledger has logged it."""


@dataclass(slots=True)
class Screened:
    """A statement whose form, body and signature are good. Nobody changes one.

    Most are logged by their bytes alone: header and content are parsed when somebody asks.
    """

    statement: Statement
    id: bytes
    _header: Header | None = field(default=None, compare=False, repr=False)
    _content: Message | None = field(default=None, compare=False, repr=False)

    @property
    def header(self) -> Header:
        """The header, parsed."""
        if self._header is None:
            self._header = decode_header(self.statement.header)
        return self._header

    @property
    def content(self) -> Message | None:
        """What a statement of a public kind says; ``None`` of another kind."""
        kind = Kind(self.header.kind)
        if self._content is None and kind not in SEALABLE:
            self._content = parse_content(kind, decode_body(self.statement.stored))
        return self._content


class _Formed(NamedTuple):
    """A statement whose form and body are good, and whose signature has not been verified."""

    position: int
    statement: Statement
    header: Header
    content: Message | None


def parts_of(request: ledger_pb2.AppendRequest) -> list[Parts]:
    """Return the statements of a request."""
    return [
        (one.header, one.signature, one.stored if one.HasField("stored") else None)
        for one in request.statements
    ]


def hash_bodies(batch: Sequence[Parts]) -> list[Screenable]:
    """Return statements with the bodies hashed whose bytes screening does not need."""
    return [
        (header, signature, stored)
        if stored is None or header[:5] not in _UNREAD_HEADS
        else (header, signature, Hashed(len(stored), body_digest(stored)))
        for header, signature, stored in batch
    ]


def screen(
    batch: Sequence[Screenable],
    known: KnownKeys,
    may_appear: Callable[[bytes], bool],
    agreement: bytes,
    disclosures: Disclosures,
) -> tuple[list[Screened | Refusal], list[VerifyingKey]]:
    """Judge each (header, signature, stored body) of a batch, in order; return that, and the keys that openings show.

    ``may_appear`` says whether a key is pinned, enrolled or rotated to, if only once: what was logged before its end
    may be sent again. A key that this very batch enrols or rotates to counts too; whether that is logged is decided
    later, as is whose key it is. ``agreement`` is the digest, ``disclosures`` who may read what.
    """
    results: list[Screened | Refusal | None] = [None] * len(batch)
    formed: list[_Formed] = []
    keys: list[VerifyingKey] = []
    shown: dict[bytes, VerifyingKey] = {}
    enrolled: set[bytes] = set()
    for position, (data, signature, stored) in enumerate(batch):
        try:
            header = _parse(data)
            if not (header.key_id in enrolled or may_appear(header.key_id)):
                raise _unknown(header)  # before anything that costs
            kind = _kind(header, disclosures)
            _check_body(kind, header, stored)
            held = stored if isinstance(stored, bytes) else b""
            content = None if kind in SEALABLE else _read(kind, held, disclosures)
            key = known(header.key_id) or _shown_key(header, content, shown)
            if content is not None:
                _check_opening(content, header)
                enrolled |= _enrolled_keys(content, header, agreement)
        except Refused as refused:
            results[position] = refused.refusal
            continue
        formed.append(_Formed(position, Statement(data, signature, held), header, content))
        keys.append(key)
    ids = [statement_id(one.statement.header) for one in formed]
    failures = verify_batch(keys, ids, [one.statement.signature for one in formed])
    for at, one in enumerate(formed):
        if at in failures:
            results[one.position] = Refusal(failures[at].reason, str(failures[at]))
        else:
            results[one.position] = Screened(one.statement, ids[at], one.header, one.content)
    return [result for result in results if result is not None], list(shown.values())


def _parse(data: bytes) -> Header:
    try:
        return decode_header(data)
    except HeaderError as error:
        raise Refused(error.reason, str(error)) from None


def _kind(header: Header, disclosures: Disclosures) -> Kind:
    """Return a header's kind, once that may be logged so; raises :class:`Refused`."""
    kind = _LOGGED.get(header.kind)
    if kind is None:
        raise Refused("UNKNOWN_KIND", f"kind {header.kind} is not logged by this version")
    if header.disclosure == PUBLIC:
        return kind
    if not disclosures.allows(kind, header.disclosure):
        raise Refused(
            "UNKNOWN_DISCLOSURE",
            f"the agreement does not have {kind.name} statements sealed to the class of number {header.disclosure}",
        )
    if header.body_digest == header.stored_digest:
        raise Refused(
            "BODY_MISMATCH", "a sealed body is stored as its ciphertext: the digests differ"
        )
    return kind


def _check_body(kind: Kind, header: Header, stored: bytes | Hashed | None) -> None:
    """Check period and body against a header; raises :class:`Refused`."""
    if header.end_ms < header.start_ms:
        raise Refused("INVERTED_PERIOD", "the period ends before it starts")
    if stored is None:
        if kind not in SEALABLE:
            raise Refused("BODY_MISSING", f"the body of {kind.name} statements must be sent")
        return
    try:
        if isinstance(stored, bytes):
            verify_stored(stored, header.stored_digest)
        else:
            verify_hashed(stored.size, stored.digest, header.stored_digest)
    except BodyError as error:
        raise Refused(error.reason, str(error)) from None
    if header.disclosure == PUBLIC and header.body_digest != header.stored_digest:
        raise Refused("BODY_MISMATCH", "a public body is stored as it is: both digests are one")


def _read(kind: Kind, stored: bytes, disclosures: Disclosures) -> Message:
    """Return what a public body says; raises :class:`Refused`."""
    try:
        content = parse_content(kind, decode_body(stored))
        if isinstance(content, identity_pb2.ContentKey):
            verify_content_key(content, disclosures)
    except BodyError as error:
        raise Refused(error.reason, str(error)) from None
    return content


def _enrolled_keys(content: Message, header: Header, agreement: bytes) -> set[bytes]:
    """Check what is said of keys, and return the digests of those that it lets speak; raises :class:`Refused`."""
    if isinstance(content, identity_pb2.Enrolment):
        return {_enrolled_key(content, header, agreement)}
    if isinstance(content, identity_pb2.Rotation):
        return {_successor(content, header, agreement)}
    if isinstance(content, identity_pb2.Revocation):
        _check_revocation(content)
    return set()


def _shown_key(
    header: Header, content: Message | None, shown: dict[bytes, VerifyingKey]
) -> VerifyingKey:
    """Return the key that the ledger has not logged, and an opening shows: this one, or one before it in the batch.

    Raises :class:`Refused` when none does.
    """
    if isinstance(content, identity_pb2.Opening) and header.key_id not in shown:
        _check_opening(content, header)
        try:
            shown[header.key_id] = VerifyingKey.from_spki(content.key)
        except SignatureError as error:
            raise Refused("MALFORMED_BODY", f"the opening's key: {error}") from None
    key = shown.get(header.key_id)
    if key is None:
        raise _unknown(header)
    return key


def _unknown(header: Header) -> Refused:
    return Refused(
        "UNKNOWN_KEY",
        f"key {header.key_id.hex()} is neither pinned by the agreement nor enrolled, or no opening showed it",
    )


def _check_opening(opening: Message, header: Header) -> None:
    if not isinstance(opening, identity_pb2.Opening):
        return
    if key_digest(opening.key) != header.key_id:
        raise Refused("MALFORMED_BODY", "the opening shows another key than the one that signs")
    if not opening.logs or not opening.agreements:
        raise Refused("MALFORMED_BODY", "the opening names no log or no agreement")


def _enrolled_key(message: identity_pb2.Enrolment, header: Header, agreement: bytes) -> bytes:
    try:
        return verify_enrolment(message, header.author, agreement).key_id
    except (BodyError, SignatureError) as error:
        raise Refused("BAD_ENROLMENT", str(error)) from None


def _successor(message: identity_pb2.Rotation, header: Header, agreement: bytes) -> bytes:
    try:
        return verify_rotation(message, header, agreement).key_id
    except (BodyError, SignatureError) as error:
        raise Refused("BAD_ROTATION", f"the rotation's new key: {error}") from None


def _check_revocation(message: identity_pb2.Revocation) -> None:
    try:
        verify_revocation(message)
    except BodyError as error:
        raise Refused(error.reason, str(error)) from None
