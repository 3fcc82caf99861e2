"""Opening what is sealed, with the keys of the readers for whom an audit is made. Pure: the same keys, the same bodies.

Three things may come of a sealed body that has its stored digest. It opens. Or nobody who audits holds a key to its
class: it is *unread*, which is nobody's fault and no evidence. Or it is *unopenable*, by its author's fault: it was
sealed to another class than the agreement names, before any content key for it was logged, under a key that does not
open for a reader, or to another body than its header names. Where the log does not serve what some content key of the
author says, none of that is certain, and nothing is laid to the author.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from protos.stillwatch.statement.v1 import identity_pb2
from statements.disclosure import Disclosures, verify_content_key
from statements.errors import BodyError, SealError
from statements.kinds import Kind
from statements.sealing import (
    ContentKey,
    Place,
    ReadingKey,
    day_of,
    open_body,
    open_content_key,
)
from verifier.evidence.errors import KeyWithheldError, UnreadError
from verifier.evidence.records import Records

_Owner = tuple[bytes, int, int]
"""Author, day and class."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A sealed statement other than a summary that was not opened: its row, and the class or what is wrong with it.

    ``charged`` says that its author is at fault, and not the audit without a key.
    """

    row: int
    detail: str
    charged: bool


class Opener:
    """The content keys that a log holds, and the bodies that they open for some readers."""

    def __init__(self, disclosures: Disclosures, readers: Sequence[ReadingKey] = ()) -> None:
        self._disclosures = disclosures
        self._readers = {reader.public.key_id: reader for reader in readers}
        self._logged: dict[_Owner, list[tuple[int, identity_pb2.ContentKey]]] = {}
        self._opened: dict[tuple[_Owner, int], ContentKey] = {}
        self._missed: dict[bytes, int] = {}

    def hear(self, row: int, author: bytes, message: identity_pb2.ContentKey) -> None:
        """Take up a content key, in log order; one that is not for its class opens nothing."""
        try:
            verify_content_key(message, self._disclosures)
        except BodyError:
            return
        owner = author, message.day, message.disclosure
        self._logged.setdefault(owner, []).append((row, message))

    def miss(self, row: int, author: bytes) -> None:
        """Note that an author logged some content key which the log does not serve."""
        self._missed.setdefault(author, row)

    def open(self, records: Records, row: int, stored: bytes) -> bytes:
        """Return the plaintext body of a sealed record whose stored bytes have their digest.

        Raises :class:`UnreadError` when no reader's key is held, :class:`KeyWithheldError` when the log may keep back
        what opens it, and :class:`SealError` when its author is at fault.
        """
        try:
            return self._open(records, row, stored)
        except SealError:
            author = records.text("author", row)
            if self._missed.get(author, row) < row:
                raise KeyWithheldError(
                    "KEY_WITHHELD", "a content key of its author is not served"
                ) from None
            raise

    def _open(self, records: Records, row: int, stored: bytes) -> bytes:
        number = int(records.table["disclosure"][row])
        to = self._disclosures.numbered(number)
        if to is None or not self._disclosures.allows(Kind(int(records.kind[row])), number):
            raise SealError(
                "OTHER_CLASS", "it is sealed to a class that the agreement does not name"
            )
        author, day = records.text("author", row), day_of(int(records.start_ms[row]))
        owner = author, day, number
        logged = self._logged.get(owner, [])
        before = bisect_left(logged, row, key=itemgetter(0))
        if not before:
            raise SealError(
                "NO_CONTENT_KEY", "no content key that opens it for its class was logged before it"
            )
        content_key = self._content_key(owner, *logged[before - 1])
        if content_key is None:
            raise UnreadError("NOT_A_READER", to.id)
        place = Place(
            author,
            records.text("epoch", row),
            int(records.sequence[row]),
            records.text("body_digest", row),
        )
        return open_body(stored, place, content_key)

    def _content_key(
        self, owner: _Owner, row: int, message: identity_pb2.ContentKey
    ) -> ContentKey | None:
        """Return a content key; ``None`` when no reader's key is held."""
        known = self._opened.get((owner, row))
        if known is not None:
            return known
        author, day, number = owner
        mine = [one for one in message.sealed if one.reader in self._readers]
        found: ContentKey | None = None
        for sealed in mine:
            found = open_content_key(
                sealed.sealed,
                self._readers[sealed.reader],
                author=author,
                day=day,
                disclosure=number,
                commitment=message.commitment,
            )
        if found is not None:
            self._opened[owner, row] = found
        return found
