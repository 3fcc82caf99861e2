"""The lives of keys: what rotations and revocations in a log do to them. Pure.

Both take effect at the index at which they are logged. What they say is verified again, and what breaks a rule does
nothing: a ledger can neither give an author a key nor take one away.
"""

from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from protos.stillwatch.statement.v1 import identity_pb2
from statements.errors import BodyError, SignatureError
from statements.header import Header
from statements.pins import Pins, Role
from statements.rotation import verify_revocation, verify_rotation
from statements.signing import verify_signature
from verifier.evidence.chains import LiveKey
from verifier.evidence.records import Records


class KeyLives:
    """The keys of a log, by digest, as its statements change them. ``enrolled`` holds (node, party) pairs."""

    def __init__(
        self,
        keys: MutableMapping[bytes, LiveKey],
        pins: Pins,
        enrolled: Collection[tuple[bytes, str]],
    ) -> None:
        self._keys = keys
        self._pins = pins
        self._enrolled = enrolled

    def rotate(self, header: Header, index: int, message: identity_pb2.Rotation) -> None:
        """Let an author go on under a new key.

        Raises :class:`BodyError` or :class:`SignatureError` when the new key is no key, did not agree, or may speak
        for somebody already.
        """
        if header.author in {ledger.key_id for ledger in self._pins.ledgers}:
            raise BodyError("BAD_ROTATION", "a ledger rotates the key that the agreement pins")
        new = verify_rotation(message, header.author, header.key_id)
        if new.key_id in self._keys or new.key_id in self._pins.by_key:
            raise BodyError("BAD_ROTATION", "a rotation's new key is one that could speak already")
        self._keys[new.key_id] = LiveKey(new, header.author, index)
        self._end(header.key_id, index)

    def revoke(self, header: Header, index: int, message: identity_pb2.Revocation) -> None:
        """End a key's life; raises :class:`BodyError` when whoever says so is not the party that enrolled its node."""
        verify_revocation(message)
        live, pin = self._keys.get(message.key_id), self._pins.by_key.get(header.author)
        if (
            live is None
            or pin is None
            or pin.role is not Role.PARTY
            or (live.author, pin.id) not in self._enrolled
        ):
            raise BodyError(
                "BAD_REVOCATION", "a key is revoked by somebody who did not enrol its node"
            )
        self._end(message.key_id, index)

    def _end(self, key_id: bytes, index: int) -> None:
        live = self._keys[key_id]
        self._keys[key_id] = replace(live, until_index=min(live.until_index, index))


class Places:
    """Which places of chains were taken when a statement came."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def is_taken(self, row: int, keys: Mapping[bytes, LiveKey]) -> bool:
        """Return whether another statement for a row's place was logged before, and is validly signed."""
        live = keys[self._records.text("key_id", row)]
        earlier = self._before.get(row)
        while earlier is not None and self._records.index[earlier] > live.from_index:
            try:
                verify_signature(
                    live.key, self._records.ids[earlier], self._records.signature(earlier)
                )
            except SignatureError:
                earlier = self._before.get(earlier)
            else:
                return True
        return False

    @cached_property
    def _before(self) -> Mapping[int, int]:
        """The row logged before each row that is not the first for its place."""
        records = self._records
        order = np.lexsort((records.sequence, records.chain))  # stable: by row within a place
        chain, sequence = records.chain[order], records.sequence[order]
        again = np.flatnonzero((np.diff(chain) == 0) & (np.diff(sequence) == 0)) + 1
        return dict(zip(order[again].tolist(), order[again - 1].tolist(), strict=True))
