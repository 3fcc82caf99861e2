"""Whose keys may speak in this log: those that the agreement pins, and those that its parties enrolled."""

from protos.stillwatch.statement.v1 import identity_pb2
from statements.author import Statement
from statements.body import decode_body
from statements.header import Header
from statements.kinds import Kind, parse_content
from statements.pins import Pins, Role
from statements.signing import VerifyingKey, key_digest


class Keyring:
    """The live keys of a log.

    A digest is *live* once it is pinned or enrolled; its key is *known* once an opening or an enrolment showed it.
    One thread changes it, others may read: each method looks once into one table.
    """

    def __init__(self, pins: Pins, ledger: bytes) -> None:
        self.pins = pins
        self.ledger = ledger
        self._enrolled: set[bytes] = set()
        self._known: dict[bytes, VerifyingKey] = {}

    def is_live(self, key_id: bytes) -> bool:
        """Whether a key of that digest may speak."""
        return key_id in self.pins.by_key or key_id in self._enrolled

    def is_party(self, key_id: bytes) -> bool:
        """Whether that key is a party's."""
        pin = self.pins.by_key.get(key_id)
        return pin is not None and pin.role is Role.PARTY

    def known(self, key_id: bytes) -> VerifyingKey | None:
        """Return the key of that digest, if it was shown."""
        return self._known.get(key_id)

    def show(self, key: VerifyingKey) -> None:
        """Remember the key behind a live digest."""
        if self.is_live(key.key_id):
            self._known[key.key_id] = key

    def enrol(self, key: VerifyingKey) -> bool:
        """Make a node's key live; returns whether it was not before."""
        fresh = not self.is_live(key.key_id)
        self._enrolled.add(key.key_id)
        self._known[key.key_id] = key
        return fresh

    def expel(self, key_id: bytes) -> None:
        """Take back an enrolment that did not become durable."""
        self._enrolled.discard(key_id)
        self._known.pop(key_id, None)

    def learn(self, header: Header, statement: Statement) -> None:
        """Take what a logged statement says about keys. It was admitted once: nothing is verified again."""
        if header.kind == Kind.OPENING:
            opening = parse_content(Kind.OPENING, decode_body(statement.stored))
            if isinstance(opening, identity_pb2.Opening) and header.key_id not in self._known:
                self.show(VerifyingKey.from_spki(opening.key))
        elif header.kind == Kind.ENROLMENT:
            enrolment = parse_content(Kind.ENROLMENT, decode_body(statement.stored))
            if isinstance(enrolment, identity_pb2.Enrolment):
                self.enrol(VerifyingKey.from_spki(enrolment.node_key))


def enrolled_digest(enrolment: identity_pb2.Enrolment) -> bytes:
    """Return the digest of the key that an enrolment makes live."""
    return key_digest(enrolment.node_key)
