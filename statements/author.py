"""An author's side of its chain: what it says next, and after what."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from google.protobuf.message import Message

from statements.body import body_digest, encode_body
from statements.header import Header, encode_header
from statements.kinds import PUBLIC, kind_of
from statements.sealing import ContentKey, Place, seal_body
from statements.signing import SigningKey, statement_id

NOTHING = bytes(32)
EPOCH_LENGTH = 16


class Statement(NamedTuple):
    """What an author hands to a ledger: header bytes, 64-byte signature, and the bytes to store."""

    header: bytes
    signature: bytes
    stored: bytes

    @property
    def id(self) -> bytes:
        """The statement's id; 32 bytes."""
        return statement_id(self.header)


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest checkpoint that an author had verified: SHA-256 of its origin, size, root."""

    log: bytes = NOTHING
    size: int = 0
    root: bytes = NOTHING


@dataclass(frozen=True, slots=True)
class Author:
    """An author at one point of its chain.

    ``sequence`` and ``previous`` are those of the statement to come. :meth:`say` returns the statement and the author
    after it; whoever calls keeps the latter only once the former is safe, so that no place is used twice.
    """

    key: SigningKey
    author: bytes
    epoch: bytes
    sequence: int = 0
    previous: bytes = NOTHING

    @classmethod
    def opening(
        cls, key: SigningKey, epoch: bytes, previous: bytes = NOTHING, author: bytes | None = None
    ) -> Self:
        """Return an author about to open an epoch.

        ``epoch`` is 16 random bytes; ``previous`` the id of its newest logged statement, zeros when there is none;
        ``author`` the digest of its first key, when ``key`` is a later one.
        """
        return cls(key, author or key.key_id, epoch, 0, previous)

    def say(
        self,
        message: Message,
        start_ms: int,
        end_ms: int,
        *,
        salt: bytes,
        seen: Seen | None = None,
        content_key: ContentKey | None = None,
    ) -> tuple[Statement, Self]:
        """Sign a statement about the period [start, end): public, or sealed under ``content_key`` to its class.

        ``salt`` is 16 bytes of the operating system's randomness. Raises :class:`BodyError` for a body over 1 MiB,
        :class:`SealError` for one that is too large once sealed, and :class:`HeaderError` for a number that does not
        fit.
        """
        seen = seen or Seen()
        body = encode_body(message.SerializeToString(deterministic=True), salt)
        digest = body_digest(body)
        stored = body
        if content_key is not None:
            place = Place(self.author, self.epoch, self.sequence, digest)
            stored = seal_body(body, place, content_key)
        header = encode_header(
            Header(
                kind=kind_of(message),
                author=self.author,
                key_id=self.key.key_id,
                epoch=self.epoch,
                sequence=self.sequence,
                previous=self.previous,
                start_ms=start_ms,
                end_ms=end_ms,
                seen_log=seen.log,
                seen_size=seen.size,
                seen_root=seen.root,
                body_digest=digest,
                stored_digest=body_digest(stored),
                disclosure=PUBLIC if content_key is None else content_key.disclosure,
            )
        )
        identity = statement_id(header)
        after = type(self)(self.key, self.author, self.epoch, self.sequence + 1, identity)
        return Statement(header, self.key.sign(identity), stored), after
