"""By whose word authors may speak: the agreement pins a key, a party enrols it, a key that lives names the next.

Keys live from the index at which that is said until another says that they end, as in an audit: what breaks a rule does
nothing, and is noted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import identity_pb2
from statements.enrolment import verify_enrolment
from statements.errors import StatementError
from statements.kinds import Kind
from statements.pins import Pins, Role
from statements.rotation import verify_revocation, verify_rotation
from verifier.errors import VerifierError
from verifier.offline.outcome import Outcome
from verifier.offline.said import Said, shown_deed


@dataclass(slots=True)
class _Life:
    """For whom a key speaks, by whose word, and the index at which it ended."""

    author: bytes
    word: str
    ended: int | None = None


def find_heard(outcome: Outcome, signed: Sequence[Said], pins: Pins, ledger: bytes) -> list[Said]:
    """Return the records that their authors said, as far as is shown; note the others, and by whose word they speak.

    ``signed`` are records whose signatures hold, by index; ``ledger`` is the log's own author. A key of which nothing
    is shown speaks for itself alone: it is noted as missing, and heard in nobody else's name.
    """
    lives = _Lives(pins, ledger)
    heard = [said for said in signed if lives.hears(outcome, said)]
    for said in lives.unknown.values():
        outcome.miss(
            "STANDING_NOT_SHOWN",
            f"nothing here says that key {said.header.key_id.hex()} may speak for {said.header.author.hex()}: the "
            "agreement does not pin it, and neither its enrolment nor a rotation to it stands before",
            said.index,
        )
    authors = {
        (said.header.author, lives.by_key[said.header.key_id].word)
        for said in heard
        if said.header.key_id in lives.by_key
    }
    if authors:
        words = sorted({word for _, word in authors})
        told = ", ".join(f"{sum(one == word for _, one in authors)} {word}" for word in words)
        outcome.hold("STANDING", f"authors that may speak: {told}")
    return heard


class _Lives:
    """The keys as the records so far have them."""

    def __init__(self, pins: Pins, ledger: bytes) -> None:
        self._pins = pins
        self._ledger = ledger
        self._parties: set[tuple[bytes, bytes]] = set()
        self.by_key = {key: _Life(key, "pinned by the agreement") for key in pins.by_key}
        self._places: set[tuple[bytes, bytes, int]] = set()
        self.unknown: dict[tuple[bytes, bytes], Said] = {}

    def hears(self, outcome: Outcome, said: Said) -> bool:
        """Return whether a record is its author's word; what it says about keys is heeded."""
        header = said.header
        life = self.by_key.get(header.key_id)
        if life is None:
            self.unknown.setdefault((header.key_id, header.author), said)
            return header.author == header.key_id
        if life.author != header.author:
            words = "it is said in the name of an author who does not hold the key"
            outcome.refute("WRONG_AUTHOR", words, said.index)
            return False
        if life.ended is not None:
            words = f"its key ended at record {life.ended}: rotated away or revoked"
            outcome.refute("REVOKED_KEY", words, said.index)
            return False
        if header.kind == Kind.TICK and header.author != self._ledger:
            outcome.refute("WRONG_AUTHOR", "only a log's own ledger says its time", said.index)
            return False
        if said.place in self._places:
            return True  # a place that was taken: the two contradict each other, and this one does nothing
        self._places.add(said.place)
        try:
            self._heed(said, shown_deed(said))
        except (StatementError, VerifierError) as error:
            outcome.refute(error.reason, str(error), said.index)
        return True

    def _heed(self, said: Said, deed: Message | None) -> None:
        if isinstance(deed, identity_pb2.Enrolment):
            self._enrol(said, deed)
        elif isinstance(deed, identity_pb2.Rotation):
            self._rotate(said, deed)
        elif isinstance(deed, identity_pb2.Revocation):
            self._revoke(said, deed)

    def _enrol(self, said: Said, enrolment: identity_pb2.Enrolment) -> None:
        pin = self._pins.by_key.get(said.header.author)
        if pin is None or pin.role is not Role.PARTY:
            raise VerifierError("BAD_ENROLMENT", "only a party of the agreement enrols")
        key = verify_enrolment(enrolment, said.header.author, self._pins.digest)
        self._parties.add((key.key_id, said.header.author))
        self.by_key.setdefault(key.key_id, _Life(key.key_id, f"enrolled by {pin.id}"))

    def _rotate(self, said: Said, message: identity_pb2.Rotation) -> None:
        header = said.header
        if header.author in {ledger.key_id for ledger in self._pins.ledgers}:
            raise VerifierError("BAD_ROTATION", "a ledger rotates the key that the agreement pins")
        new = verify_rotation(message, header.author, header.key_id)
        if new.key_id in self.by_key:
            raise VerifierError("BAD_ROTATION", "the new key is one that could speak already")
        old = self.by_key[header.key_id]
        self.by_key[new.key_id] = _Life(header.author, old.word)
        old.ended = said.index

    def _revoke(self, said: Said, message: identity_pb2.Revocation) -> None:
        verify_revocation(message)
        life = self.by_key.get(message.key_id)
        if life is None:
            return  # of a key that nothing here lets speak
        if (life.author, said.header.author) not in self._parties:
            raise VerifierError(
                "BAD_REVOCATION", "only the party that enrolled a node revokes its key"
            )
        life.ended = said.index if life.ended is None else life.ended
