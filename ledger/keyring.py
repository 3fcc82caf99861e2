"""Whose keys may speak in this log: those that the agreement pins, that its parties enrolled, and their successors.

A key *lives* from when it is pinned, enrolled or rotated to, until it is rotated away or revoked. It speaks for one
author, which is named by the digest of its first key for ever.
"""

from collections.abc import Callable

from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import identity_pb2
from statements.author import Statement
from statements.body import decode_body
from statements.header import Header
from statements.kinds import Kind, parse_content
from statements.pins import Pins, Role
from statements.signing import VerifyingKey, key_digest

TEACHING = frozenset({Kind.OPENING, Kind.ENROLMENT, Kind.ROTATION, Kind.REVOCATION})
"""Kinds that say something about keys."""

Undo = Callable[[], None]
"""Takes back a change that did not become durable."""


class Keyring:
    """The keys of a log.

    A digest may *appear* once it is pinned, enrolled or rotated to, and is *live* until it ends; its key is *known*
    once an opening, an enrolment or a rotation showed it. One thread changes it, others may read: each method that
    they call looks into tables one after the other, and no entry that one of them leads to is ever missing.
    """

    def __init__(self, pins: Pins, ledger: bytes) -> None:
        self.pins = pins
        self.ledger = ledger
        self._enrolled: set[bytes] = set()
        self._parties: dict[bytes, set[bytes]] = {}
        self._successors: dict[bytes, bytes] = {}
        self._current: dict[bytes, bytes] = {}
        self._ended: set[bytes] = set()
        self._known: dict[bytes, VerifyingKey] = {}

    def may_appear(self, key_id: bytes) -> bool:
        """Whether a key of that digest may speak, or could once."""
        return key_id in self.pins.by_key or key_id in self._enrolled or key_id in self._successors

    def is_live(self, key_id: bytes) -> bool:
        """Whether a key of that digest may speak."""
        return self.may_appear(key_id) and key_id not in self._ended

    def author_of(self, key_id: bytes) -> bytes:
        """Return the author for whom a key speaks."""
        return self._successors.get(key_id, key_id)

    def speaks(self, author: bytes) -> bool:
        """Whether an author has a live key."""
        return self.is_live(self._current.get(author, author))

    def is_party(self, author: bytes) -> bool:
        """Whether that author is a party."""
        pin = self.pins.by_key.get(author)
        return pin is not None and pin.role is Role.PARTY

    def enrolled_by(self, author: bytes, party: bytes) -> bool:
        """Whether that party enrolled that node."""
        return party in self._parties.get(author, ())

    def known(self, key_id: bytes) -> VerifyingKey | None:
        """Return the key of that digest, if it was shown."""
        return self._known.get(key_id)

    def show(self, key: VerifyingKey) -> None:
        """Remember the key behind a digest that may appear."""
        if self.may_appear(key.key_id):
            self._known[key.key_id] = key

    def enrol(self, key: VerifyingKey, party: bytes) -> Undo:
        """Make a node's key live, unless its life has ended; ``party`` is who enrols it."""
        node = key.key_id
        parties = self._parties.setdefault(node, set())
        named, fresh = party not in parties, not self.may_appear(node)
        parties.add(party)
        self._known[node] = key
        self._enrolled.add(node)

        def undo() -> None:
            if named:
                parties.discard(party)
            if fresh:
                self._enrolled.discard(node)
                self._known.pop(node, None)

        return undo

    def rotate(self, author: bytes, old: bytes, new: VerifyingKey) -> Undo:
        """Let an author go on under a new key; the old one ends."""
        self._known[new.key_id] = new
        self._successors[new.key_id] = author
        self._current[author] = new.key_id
        self._ended.add(old)

        def undo() -> None:
            self._ended.discard(old)
            self._current[author] = old
            self._successors.pop(new.key_id, None)
            self._known.pop(new.key_id, None)

        return undo

    def revoke(self, key_id: bytes) -> Undo:
        """End a key's life."""
        fresh = key_id not in self._ended
        self._ended.add(key_id)
        return lambda: self._ended.discard(key_id) if fresh else None

    def heed(self, header: Header, content: Message | None) -> Undo | None:
        """Take what an admitted statement says about keys; returns what takes it back, if it changed anything."""
        if isinstance(content, identity_pb2.Enrolment):
            return self.enrol(VerifyingKey.from_spki(content.node_key), header.author)
        if isinstance(content, identity_pb2.Rotation):
            new = VerifyingKey.from_spki(content.new_key)
            return self.rotate(header.author, header.key_id, new)
        if isinstance(content, identity_pb2.Revocation):
            return self.revoke(content.key_id)
        if isinstance(content, identity_pb2.Opening) and header.key_id not in self._known:
            self.show(VerifyingKey.from_spki(content.key))
        return None

    def learn(self, header: Header, statement: Statement) -> None:
        """Take what a logged statement says about keys. It was admitted once: nothing is verified again."""
        if header.kind in TEACHING:
            self.heed(header, parse_content(Kind(header.kind), decode_body(statement.stored)))


def enrolled_digest(enrolment: identity_pb2.Enrolment) -> bytes:
    """Return the digest of the key that an enrolment makes live."""
    return key_digest(enrolment.node_key)
