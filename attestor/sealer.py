"""A node's sealing: the content keys of its days, and who may open them.

Content keys are derived from a secret that the spool holds. So an agent that starts again, or goes on with another
signing key, can still open what its spool has not sent, and says the same key of the same day.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import identity_pb2, summary_pb2
from statements.author import Statement
from statements.disclosure import DisclosureClass, disclose
from statements.header import Header
from statements.kinds import PUBLIC
from statements.sealing import DAY_MS, ContentKey, Place, day_of, derive_content_key, open_body


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals the summaries of one author to a class; ``secret`` are 32 bytes."""

    to: DisclosureClass
    secret: bytes
    author: bytes

    def key_for(self, message: Message, start_ms: int) -> ContentKey | None:
        """Return the key under which a message of that period is sealed; ``None`` for what is public."""
        if not isinstance(message, summary_pb2.WorkloadSummary):
            return None
        return self._key(day_of(start_ms))

    def due(self, message: Message, start_ms: int, said: frozenset[int]) -> Iterator[int]:
        """Yield the days whose content keys are said before a message: its own, and the one after, a day ahead.

        ``said`` are the days whose keys the epoch has said.
        """
        if self.key_for(message, start_ms) is not None:
            day = day_of(start_ms)
            yield from (one for one in (day, day + 1) if one not in said)

    def disclosed(self, day: int) -> tuple[identity_pb2.ContentKey, int, int]:
        """Return what is said so that the class can open a day, and the period [start, end) of that."""
        return disclose(self._key(day), self.to), day * DAY_MS, (day + 1) * DAY_MS

    def open(self, header: Header, statement: Statement) -> bytes:
        """Return the plaintext of what this author sealed; raises :class:`SealError` when it does not open."""
        place = Place(header.author, header.epoch, header.sequence, header.body_digest)
        return open_body(statement.stored, place, self._key(day_of(header.start_ms)))

    def _key(self, day: int) -> ContentKey:
        return derive_content_key(self.secret, self.author, day, self.to.number)


def plain_body(statement: Statement, header: Header, sealer: Sealer | None) -> bytes | None:
    """Return a statement's plaintext body; ``None`` for one that is sealed, where there is no sealer.

    Raises :class:`SealError` when it does not open.
    """
    if header.disclosure == PUBLIC:
        return statement.stored
    return None if sealer is None else sealer.open(header, statement)
