"""The lives of keys: whose keys may speak in a log, and what is said in it that changes that. Pure.

A key *lives* from when it is pinned, enrolled or rotated to, until it is replaced or revoked, each at the index at
which that is logged. It speaks for one author, which is named by the digest of its first key for ever, and has one live
key at a time. Who may replace an author's key, each word standing over those before it:

1. its own live key;
2. of a node, the party that enrolled it first; of somebody whom the agreement pins, its recovery key, which says
   nothing else;
3. of somebody whom the agreement pins, a quorum of the panel: it ends the recovery key as well.

Nobody undoes what a higher word did: a thief of the live key cannot touch the recovery key, nor either thief the panel.
A ledger's own key is for good. Ledgers and auditors follow this one rule (docs/adr/0009-who-replaces-a-lost-key.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import identity_pb2
from statements.errors import KeyLifeError
from statements.header import Header
from statements.kinds import Kind
from statements.pins import Pins, Role
from statements.rotation import replaced_author
from statements.signing import key_digest

Undo = Callable[[], None]
"""Takes back a change that did not become durable."""
Deed: TypeAlias = identity_pb2.Enrolment | identity_pb2.Rotation | identity_pb2.Revocation
"""What is said about keys."""
DEEDS: Final = frozenset({Kind.ENROLMENT, Kind.ROTATION, Kind.REVOCATION})
"""The kinds that say it."""
_OF_RECOVERY: Final = frozenset({Kind.OPENING, Kind.ROTATION})
"""All that a recovery key says."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a deed did to keys: the digests of the one that began to live, if any, and of those that ended.

    ``undo`` takes it back; of several changes the last one first.
    """

    began: bytes | None
    ended: tuple[bytes, ...]
    undo: Undo


class KeyLives:
    """The keys of a log as it stands, by their digests.

    A digest *may appear* once it is pinned, enrolled or rotated to, and is *live* until it ends. :meth:`judge` says
    whether a statement may be, :meth:`apply` does what it says. Neither verifies a signature.

    One thread changes it, others may ask: each answer looks into tables one after the other, and no entry that one of
    them leads to is ever missing.
    """

    def __init__(self, pins: Pins) -> None:
        self.pins = pins
        self._authors = {key_id: key_id for key_id in (*pins.by_key, *pins.by_recovery)}
        self._current: dict[bytes, bytes] = {}
        self._ended: set[bytes] = set()
        self._party: dict[bytes, bytes] = {}
        self._votes: dict[bytes, dict[bytes, bytes]] = {}

    # ------------------------------------------------------------------------------------------ who may speak

    def may_appear(self, key_id: bytes) -> bool:
        """Whether a key of that digest may speak, or could once."""
        return key_id in self._authors

    def is_live(self, key_id: bytes) -> bool:
        """Whether a key of that digest may speak."""
        return key_id in self._authors and key_id not in self._ended

    def author_of(self, key_id: bytes) -> bytes:
        """Return the author for whom a key speaks; one that may not appear speaks for nobody else."""
        return self._authors.get(key_id, key_id)

    def current(self, author: bytes) -> bytes:
        """Return the digest of an author's newest key."""
        return self._current.get(author, author)

    def speaks(self, author: bytes) -> bool:
        """Whether an author has a live key."""
        return self.is_live(self.current(author))

    def is_party(self, author: bytes) -> bool:
        """Whether that author is a party."""
        pin = self.pins.by_key.get(author)
        return pin is not None and pin.role is Role.PARTY

    def enrolled_by(self, author: bytes, party: bytes) -> bool:
        """Whether that party was the first to enrol that node: others that do so have no say over it."""
        return self._party.get(author) == party

    # ------------------------------------------------------------------------------------------ what may be said

    def judge(self, header: Header, content: Message | None) -> None:
        """Refuse what the holder of a live key may not say about keys; raises :class:`KeyLifeError`."""
        author = header.author
        if author in self.pins.by_recovery and header.kind not in _OF_RECOVERY:
            raise KeyLifeError(
                "WRONG_AUTHOR",
                "a recovery key says under which key its author goes on, and no more",
            )
        if isinstance(content, identity_pb2.Enrolment):
            self._judge_enrolment(author, key_digest(content.node_key))
        elif isinstance(content, identity_pb2.Rotation):
            self._judge_rotation(author, replaced_author(content, header), content)
        elif isinstance(content, identity_pb2.Revocation):
            node = self.author_of(content.key_id)
            if not (self.may_appear(content.key_id) and self.enrolled_by(node, author)):
                raise KeyLifeError(
                    "BAD_REVOCATION", "a party revokes the keys of nodes that it enrolled first"
                )

    def _judge_enrolment(self, author: bytes, node: bytes) -> None:
        if not self.is_party(author):
            raise KeyLifeError("BAD_ENROLMENT", "only a party of the agreement enrols nodes")
        if node in self.pins.by_key or node in self.pins.by_recovery:
            raise KeyLifeError("BAD_ENROLMENT", "the agreement pins that key as somebody else's")
        if self.author_of(node) != node:
            raise KeyLifeError("BAD_ENROLMENT", "that key is the later key of another author")
        if self.may_appear(node) and not self.is_live(node):
            raise KeyLifeError(
                "BAD_ENROLMENT",
                "that node's first key has ended, and proves nothing more: its party gives it another, or enrols the "
                "machine as another node",
            )

    def _judge_rotation(
        self, speaker: bytes, author: bytes, message: identity_pb2.Rotation
    ) -> None:
        if author in {ledger.key_id for ledger in self.pins.ledgers}:
            raise KeyLifeError(
                "BAD_ROTATION", "a ledger's key is what the agreement pins, for good"
            )
        if author in self.pins.by_recovery:
            raise KeyLifeError(
                "BAD_ROTATION", "a recovery key is what the agreement pins, for good"
            )
        if message.HasField("author") and not self._may_replace(speaker, author):
            raise KeyLifeError(
                "BAD_ROTATION",
                "an author's lost key is replaced by its recovery key, a node's by the party that enrolled it first, "
                "or by members of the panel without a conflict",
            )
        if self.may_appear(key_digest(message.new_key)):
            raise KeyLifeError("BAD_ROTATION", "the new key is in use, or was: draw a fresh one")

    def _may_replace(self, speaker: bytes, author: bytes) -> bool:
        recovered = self.pins.by_recovery.get(speaker)
        return (
            (recovered is not None and recovered.key_id == author)
            or self.enrolled_by(author, speaker)
            or self._rules_on(speaker, author)
        )

    def _rules_on(self, speaker: bytes, author: bytes) -> bool:
        panel = self.pins.panel
        return panel is not None and speaker in panel.able.get(author, ())

    # ------------------------------------------------------------------------------------------ what it does

    def apply(self, header: Header, deed: Deed) -> Change:
        """Do what a deed says that :meth:`judge` let pass."""
        if isinstance(deed, identity_pb2.Enrolment):
            return self._enrol(key_digest(deed.node_key), header.author)
        if isinstance(deed, identity_pb2.Revocation):
            return self._end((deed.key_id,))
        author, new = replaced_author(deed, header), key_digest(deed.new_key)
        if deed.HasField("author") and self._rules_on(header.author, author):
            return self._vote(header.author, author, new)
        return self._replace(author, new)

    def _enrol(self, node: bytes, party: bytes) -> Change:
        fresh = node not in self._authors
        self._party.setdefault(node, party)
        self._authors.setdefault(node, node)

        def undo() -> None:
            if fresh:
                self._authors.pop(node, None)
                self._party.pop(node, None)

        return Change(node if fresh else None, (), undo)

    def _end(self, keys: tuple[bytes, ...]) -> Change:
        fresh = tuple(key_id for key_id in keys if key_id not in self._ended)
        self._ended.update(fresh)
        return Change(None, fresh, lambda: self._ended.difference_update(fresh))

    def _replace(self, author: bytes, new: bytes, also: tuple[bytes, ...] = ()) -> Change:
        """Let an author go on under a new key; the one that it had ends, and ``also`` others."""
        old = self.current(author)
        self._authors[new] = author
        self._current[author] = new
        ended = self._end((old, *also))

        def undo() -> None:
            ended.undo()
            self._current[author] = old
            self._authors.pop(new, None)

        return Change(new, ended.ended, undo)

    def _vote(self, adjudicator: bytes, author: bytes, new: bytes) -> Change:
        """Take a vote, the newest of each adjudicator; a quorum for one key gives it to the author."""
        before = self._votes.get(author, {})
        votes = before | {adjudicator: new}
        panel = self.pins.panel
        assert panel is not None  # noqa: S101 - for the type checker: somebody rules
        decided = sum(vote == new for vote in votes.values()) >= panel.quorum
        self._votes[author] = {} if decided else votes
        done = Change(None, (), lambda: None)
        if decided:
            recovery = self.pins.by_key[author].recovery
            done = self._replace(author, new, () if recovery is None else (recovery,))

        def undo() -> None:
            done.undo()
            self._votes[author] = before

        return Change(done.began, done.ended, undo)
