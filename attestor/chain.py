"""A node's chain: what it has to say, signed in order, each place in the chain used once.

The states of a chain, and what moves it on:

- *waiting*: the newest logged statement is not known; ``begin`` gives it.
- *unopened*: the next signing starts an epoch with an opening. After ``begin``, after ``reopen``, and
  when the boot or the telemetry label is no longer what the opening said.
- *open*: statements follow one another.

Signing changes nothing until ``keep``: statements that could not be spooled were never said.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from attestor.sealer import Sealer, plain_body
from attestor.sources.interface import Telemetry
from attestor.spool import SpoolHead
from protos.stillwatch.statement.v1 import header_pb2, identity_pb2, summary_pb2
from statements.author import EPOCH_LENGTH, Author, Seen, Statement
from statements.body import SALT_LENGTH, body_digest, encode_body, verify_stored
from statements.errors import BodyError, HeaderError, SealError
from statements.header import decode_header
from statements.kinds import Kind, parse_content
from statements.signing import SigningKey

Draw = Callable[[int], bytes]
"""Draws that many random bytes."""

MOST_PENDING: Final = 1_440
"""Sayings kept in memory while they cannot be spooled: a day of windows of a minute."""


@dataclass(frozen=True, slots=True)
class Saying:
    """Something to be signed: a message, its period in Unix milliseconds, and its body's salt."""

    message: Message
    start_ms: int
    end_ms: int
    salt: bytes

    @property
    def body_digest(self) -> bytes:
        """The digest by which other statements cite this one's body; 32 bytes."""
        return body_digest(
            encode_body(self.message.SerializeToString(deterministic=True), self.salt)
        )


@dataclass(frozen=True, slots=True)
class Life:
    """What an opening says of its epoch: telemetry label and boot id (16 bytes)."""

    telemetry: Telemetry | None
    boot_id: bytes


def restate(
    statements: Iterable[Statement], sealer: Sealer | None = None
) -> tuple[list[Saying], int]:
    """Return what statements of an epoch that cannot go on said, and how many are lost.

    Its opening and content keys are left out: each epoch says its own. Lost are those that a failing disk has changed,
    so that their bytes are no longer what was signed, and those that were sealed with another spool's secret.
    """
    sayings: list[Saying] = []
    lost = 0
    for statement in statements:
        try:
            header = decode_header(statement.header)
            verify_stored(statement.stored, header.stored_digest)
            stored = plain_body(statement, header, sealer)
        except (HeaderError, BodyError, SealError):
            stored = None
        if stored is None:
            lost += 1
            continue
        if header.kind not in {Kind.OPENING, Kind.CONTENT_KEY}:
            body = header_pb2.Body.FromString(stored)
            content = parse_content(Kind(header.kind), body.content)
            sayings.append(Saying(content, header.start_ms, header.end_ms, body.salt))
    return sayings, lost


def signs(key: SigningKey, statement: Statement) -> bool:
    """Return whether a statement names that key as the one that signs it."""
    try:
        return decode_header(statement.header).key_id == key.key_id
    except HeaderError:
        return False


class Chain:
    """The chain of the node that holds ``key``, for logs and agreement as its openings name them.

    ``author`` is the digest of the node's first key, when ``key`` is a later one.
    """

    def __init__(
        self,
        key: SigningKey,
        *,
        origin: str,
        agreement: bytes,
        software: str,
        draw: Draw,
        author: bytes | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        self.key = key
        self.sealer = sealer
        self.author = author or key.key_id
        self._origin = origin
        self._agreement = agreement
        self._software = software
        self._draw = draw
        self._previous: bytes | None = None
        self._author: Author | None = None
        self._life: Life | None = None
        self._pending: deque[Saying] = deque()
        self._disclosed: frozenset[int] = frozenset()
        self._signed: tuple[Author, Life, frozenset[int]] | None = None
        self.forsakes = False
        self.dropped = 0

    @property
    def waiting(self) -> bool:
        """Whether the chain does not know yet after which statement to open."""
        return self._previous is None

    @property
    def pending(self) -> int:
        """How many sayings await signing."""
        return len(self._pending)

    def begin(self, previous: bytes) -> None:
        """Open the next epoch after ``previous``: the newest logged statement, or zeros."""
        self._previous = previous
        self._author = None

    def reopen(self, previous: bytes, unlogged: Iterable[Statement]) -> None:
        """Give up the epoch: open a new one after ``previous``, and say ``unlogged`` again in it.

        ``forsakes`` then tells the spool to drop them in the transaction that holds the new ones. What can no longer
        be read of them is counted in ``dropped``.
        """
        self.begin(previous)
        sayings, lost = restate(unlogged, self.sealer)
        self._pending.extendleft(reversed(sayings))
        self.dropped += lost
        self.forsakes = True

    def say(self, message: Message, start_ms: int, end_ms: int) -> Saying:
        """Queue a message about the period [start, end); return it with the salt it was given.

        When too many wait, the oldest window is dropped, and counted in ``dropped``; inventories are not, since what
        comes after cites them.
        """
        saying = Saying(message, start_ms, end_ms, self._draw(SALT_LENGTH))
        self._pending.append(saying)
        if len(self._pending) > MOST_PENDING:
            for place, waiting in enumerate(self._pending):
                if isinstance(waiting.message, summary_pb2.WorkloadSummary):
                    del self._pending[place]
                    self.dropped += 1
                    break
        return saying

    def sign(self, now_ms: int, seen: Seen, life: Life) -> list[tuple[Author, Statement]]:
        """Return all that is pending as statements, each with the author's state before it.

        Nothing while the chain is waiting, or has nothing to say.
        """
        if self._previous is None or not self._pending:
            return []
        author = self._author if self._life == life else None
        disclosed = self._disclosed if author is not None else frozenset()
        said: list[tuple[Author, Statement]] = []
        if author is None:
            newest = self._author.previous if self._author is not None else self._previous
            author = Author.opening(self.key, self._draw(EPOCH_LENGTH), newest, self.author)
            opening = identity_pb2.Opening(
                key=self.key.spki,
                logs=[self._origin],
                agreements=[self._agreement],
                boot_id=life.boot_id,
                software=self._software,
                telemetry=identity_pb2.Telemetry.ValueType(life.telemetry or 0),
            )
            statement, after = author.say(
                opening, now_ms, now_ms, salt=self._draw(SALT_LENGTH), seen=seen
            )
            said.append((author, statement))
            author = after
        for saying in self._pending:
            content_key = None
            if self.sealer is not None:
                content_key = self.sealer.key_for(saying.message, saying.start_ms)
                for day in self.sealer.due(saying.message, saying.start_ms, disclosed):
                    statement, after = author.say(
                        *self.sealer.disclosed(day), salt=self._draw(SALT_LENGTH), seen=seen
                    )
                    said.append((author, statement))
                    author = after
                    disclosed |= {day}
            statement, after = author.say(
                saying.message,
                saying.start_ms,
                saying.end_ms,
                salt=saying.salt,
                seen=seen,
                content_key=content_key,
            )
            said.append((author, statement))
            author = after
        self._signed = (author, life, disclosed)
        return said

    def settle(self, head: SpoolHead | None) -> None:
        """Keep what was signed last if the spool has it after all, though it reported a failure."""
        if self._signed is not None and head is not None and head.id == self._signed[0].previous:
            self.keep()

    def keep(self) -> None:
        """Go on from what was last signed: it is safe in the spool."""
        if self._signed is not None:
            self._author, self._life, self._disclosed = self._signed
            self._signed = None
            self._pending.clear()
            self.forsakes = False
