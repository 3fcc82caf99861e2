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
from statements.body import decode_body, verify_stored
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
_LOGGED = frozenset(int(kind) for kind in Kind) - UNSUPPORTED

Parts = tuple[bytes, bytes, bytes | None]
"""A statement as sent: header, signature, and the body to store, ``None`` when it is withheld."""
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
    statement: Statement
    header: Header
    content: Message | None


def parts_of(request: ledger_pb2.AppendRequest) -> list[Parts]:
    """Return the statements of a request."""
    return [
        (one.header, one.signature, one.stored if one.HasField("stored") else None)
        for one in request.statements
    ]


def screen(
    batch: Sequence[Parts],
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
    formed: list[tuple[int, _Formed, VerifyingKey]] = []
    shown: dict[bytes, VerifyingKey] = {}
    enrolled: set[bytes] = set()
    for position, (header, signature, stored) in enumerate(batch):
        try:
            parsed = _parse(header)
            if not (parsed.key_id in enrolled or may_appear(parsed.key_id)):
                raise _unknown(parsed)  # before anything that costs
            one = _form(
                Statement(header, signature, stored or b""), parsed, stored is not None, disclosures
            )
            key = _key_of(one, known, shown)
            if isinstance(one.content, identity_pb2.Enrolment):
                enrolled.add(_enrolled_key(one, agreement))
            elif isinstance(one.content, identity_pb2.Rotation):
                enrolled.add(_successor(one.content, parsed, agreement))
            elif isinstance(one.content, identity_pb2.Revocation):
                _check_revocation(one.content)
        except Refused as refused:
            results[position] = refused.refusal
            continue
        formed.append((position, one, key))
    ids = [statement_id(one.statement.header) for _, one, _ in formed]
    failures = verify_batch(
        [key for _, _, key in formed], ids, [one.statement.signature for _, one, _ in formed]
    )
    for at, (position, one, _) in enumerate(formed):
        if at in failures:
            results[position] = Refusal(failures[at].reason, str(failures[at]))
        else:
            results[position] = Screened(one.statement, ids[at], one.header, one.content)
    return [result for result in results if result is not None], list(shown.values())


def _parse(data: bytes) -> Header:
    try:
        return decode_header(data)
    except HeaderError as error:
        raise Refused(error.reason, str(error)) from None


def _form(statement: Statement, header: Header, held: bool, disclosures: Disclosures) -> _Formed:
    """Check kind, period and body; raises :class:`Refused`."""
    if header.kind not in _LOGGED:
        raise Refused("UNKNOWN_KIND", f"kind {header.kind} is not logged by this version")
    kind = Kind(header.kind)
    if not disclosures.allows(kind, header.disclosure):
        raise Refused(
            "UNKNOWN_DISCLOSURE",
            f"the agreement does not have {kind.name} statements sealed to the class of number {header.disclosure}",
        )
    if header.disclosure != PUBLIC and header.body_digest == header.stored_digest:
        raise Refused(
            "BODY_MISMATCH", "a sealed body is stored as its ciphertext: the digests differ"
        )
    if header.end_ms < header.start_ms:
        raise Refused("INVERTED_PERIOD", "the period ends before it starts")
    if not held:
        if kind not in SEALABLE:
            raise Refused("BODY_MISSING", f"the body of {kind.name} statements must be sent")
        return _Formed(statement, header, None)
    stored = statement.stored
    try:
        verify_stored(stored, header.stored_digest)
        content = None if kind in SEALABLE else parse_content(kind, decode_body(stored))
        if isinstance(content, identity_pb2.ContentKey):
            verify_content_key(content, disclosures)
    except BodyError as error:
        raise Refused(error.reason, str(error)) from None
    if header.disclosure == PUBLIC and header.body_digest != header.stored_digest:
        raise Refused("BODY_MISMATCH", "a public body is stored as it is: both digests are one")
    return _Formed(statement, header, content)


def _key_of(one: _Formed, known: KnownKeys, shown: dict[bytes, VerifyingKey]) -> VerifyingKey:
    """Return the key that a statement names, an opening's from its own body; raises :class:`Refused`."""
    header = one.header
    key = known(header.key_id) or shown.get(header.key_id)
    if isinstance(one.content, identity_pb2.Opening):
        _check_opening(one.content, header)
        if key is None:
            try:
                key = shown[header.key_id] = VerifyingKey.from_spki(one.content.key)
            except SignatureError as error:
                raise Refused("MALFORMED_BODY", f"the opening's key: {error}") from None
    if key is None:
        raise _unknown(header)
    return key


def _unknown(header: Header) -> Refused:
    return Refused(
        "UNKNOWN_KEY",
        f"key {header.key_id.hex()} is neither pinned by the agreement nor enrolled, or no opening showed it",
    )


def _check_opening(opening: identity_pb2.Opening, header: Header) -> None:
    if key_digest(opening.key) != header.key_id:
        raise Refused("MALFORMED_BODY", "the opening shows another key than the one that signs")
    if not opening.logs or not opening.agreements:
        raise Refused("MALFORMED_BODY", "the opening names no log or no agreement")


def _enrolled_key(one: _Formed, agreement: bytes) -> bytes:
    assert isinstance(one.content, identity_pb2.Enrolment)  # noqa: S101 - for the type checker
    try:
        return verify_enrolment(one.content, one.header.author, agreement).key_id
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
