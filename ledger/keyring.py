"""The keys of this log: whose may speak, and those that were shown.

The rule is :mod:`statements.key_lives`', which auditors follow as well.
"""

from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import identity_pb2
from statements.author import Statement
from statements.body import decode_body
from statements.header import Header
from statements.key_lives import DEEDS, Deed, KeyLives, Undo
from statements.kinds import Kind, parse_content
from statements.pins import Pins
from statements.signing import VerifyingKey

__all__ = ["TEACHING", "Keyring", "Undo"]

TEACHING = DEEDS | {Kind.OPENING}
"""Kinds that say something about keys."""


class Keyring(KeyLives):
    """The lives of a log's keys, and each key that an opening, an enrolment or a rotation *showed*.

    One thread changes it, others may ask (:class:`KeyLives`); a key is there before its digest may appear.
    """

    def __init__(self, pins: Pins, ledger: bytes) -> None:
        super().__init__(pins)
        self.ledger = ledger
        self._known: dict[bytes, VerifyingKey] = {}

    def known(self, key_id: bytes) -> VerifyingKey | None:
        """Return the key of that digest, if it was shown."""
        return self._known.get(key_id)

    def show(self, key: VerifyingKey) -> None:
        """Remember the key behind a digest that may appear."""
        if self.may_appear(key.key_id):
            self._known[key.key_id] = key

    def heed(self, header: Header, content: Message | None) -> Undo | None:
        """Take what an admitted statement says about keys; returns what takes it back, if it changed anything."""
        if isinstance(content, identity_pb2.Enrolment):
            return self._heed(header, content, VerifyingKey.from_spki(content.node_key))
        if isinstance(content, identity_pb2.Rotation):
            return self._heed(header, content, VerifyingKey.from_spki(content.new_key))
        if isinstance(content, identity_pb2.Revocation):
            return self.apply(header, content).undo
        if isinstance(content, identity_pb2.Opening) and header.key_id not in self._known:
            self.show(VerifyingKey.from_spki(content.key))
        return None

    def _heed(self, header: Header, deed: Deed, key: VerifyingKey) -> Undo:
        self._known[key.key_id] = key
        change = self.apply(header, deed)

        def forget() -> None:
            if not self.may_appear(key.key_id):
                self._known.pop(key.key_id, None)

        def undo() -> None:
            change.undo()
            forget()

        forget()  # one vote of several
        return undo

    def learn(self, header: Header, statement: Statement) -> None:
        """Take what a logged statement says about keys. It was admitted once: nothing is verified again."""
        if header.kind in TEACHING:
            self.heed(header, parse_content(Kind(header.kind), decode_body(statement.stored)))
