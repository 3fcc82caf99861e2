"""By whose word authors may speak: the agreement pins a key, a party enrols it, a key that lives names the next.

Keys live from the index at which that is said until another says that they end, by the one rule that ledgers and audits
follow (:mod:`statements.key_lives`): what breaks it does nothing, and is noted.
"""

from collections.abc import Sequence

from protos.stillwatch.statement.v1 import identity_pb2
from statements.enrolment import verify_enrolment
from statements.errors import StatementError
from statements.key_lives import Deed, KeyLives
from statements.kinds import Kind
from statements.pins import Pins
from statements.rotation import verify_revocation, verify_rotation
from verifier.offline.outcome import Outcome
from verifier.offline.said import Said, shown_deed


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
        (said.header.author, lives.word(said.header.author))
        for said in heard
        if lives.rule.may_appear(said.header.key_id)
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
        self.rule = KeyLives(pins)
        self._enrolled: dict[bytes, str] = {}
        self._ended: dict[bytes, int] = {}
        self._places: set[tuple[bytes, bytes, int]] = set()
        self.unknown: dict[tuple[bytes, bytes], Said] = {}

    def word(self, author: bytes) -> str:
        """Return by whose word an author speaks."""
        if author in self._pins.by_key:
            return "pinned by the agreement"
        if author in self._pins.by_recovery:
            return "pinned as recovery keys"
        return f"enrolled by {self._enrolled[author]}"

    def hears(self, outcome: Outcome, said: Said) -> bool:
        """Return whether a record is its author's word; what it says about keys is heeded."""
        header = said.header
        if not self.rule.may_appear(header.key_id):
            self.unknown.setdefault((header.key_id, header.author), said)
            return header.author == header.key_id
        if self.rule.author_of(header.key_id) != header.author:
            words = "it is said in the name of an author who does not hold the key"
            outcome.refute("WRONG_AUTHOR", words, said.index)
            return False
        if not self.rule.is_live(header.key_id):
            words = f"its key ended at record {self._ended[header.key_id]}: replaced or revoked"
            outcome.refute("REVOKED_KEY", words, said.index)
            return False
        if header.kind == Kind.TICK and header.author != self._ledger:
            outcome.refute("WRONG_AUTHOR", "only a log's own ledger says its time", said.index)
            return False
        if said.place in self._places:
            return True  # a place that was taken: the two contradict each other, and this one does nothing
        self._places.add(said.place)
        try:
            self._heed(said)
        except StatementError as error:
            outcome.refute(error.reason, str(error), said.index)
        return True

    def _heed(self, said: Said) -> None:
        deed = shown_deed(said)
        if isinstance(deed, identity_pb2.Revocation) and not self.rule.may_appear(deed.key_id):
            return  # of a key that nothing here lets speak
        self.rule.judge(said.header, deed)
        if not isinstance(deed, Deed):
            return
        self._verify(said, deed)
        for key_id in self.rule.apply(said.header, deed).ended:
            self._ended[key_id] = said.index

    def _verify(self, said: Said, deed: Deed) -> None:
        author, agreement = said.header.author, self._pins.digest
        if isinstance(deed, identity_pb2.Enrolment):
            node = verify_enrolment(deed, author, agreement).key_id
            self._enrolled.setdefault(node, self._pins.by_key[author].id)
        elif isinstance(deed, identity_pb2.Rotation):
            verify_rotation(deed, said.header, agreement)
        else:
            verify_revocation(deed)
