"""The lives of keys as an auditor reads them: from which index each may speak, and until which. Pure.

The rule is :mod:`statements.key_lives`', which ledgers follow as well. What is said is verified again, and what breaks
a rule does nothing: a ledger can neither give an author a key nor take one away.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import identity_pb2
from statements.enrolment import verify_enrolment
from statements.errors import SignatureError
from statements.header import Header
from statements.key_lives import Deed, KeyLives
from statements.pins import Pins
from statements.rotation import replaced_author, verify_revocation, verify_rotation
from statements.signing import Verify, VerifyingKey, verify_signature
from verifier.evidence.chains import FOREVER, LiveKey
from verifier.evidence.records import Records


@dataclass(frozen=True, slots=True)
class Replacement:
    """An author whose key was replaced by somebody else's word: its row, the author, and who said so, an author too."""

    row: int
    author: bytes
    by: bytes


class LoggedKeys:
    """The keys of a log, by digest, as its statements change them; ``verify`` does as :func:`verify_signature`."""

    def __init__(self, pins: Pins, verify: Verify = verify_signature) -> None:
        self._pins = pins
        self._verify = verify
        self._lives = KeyLives(pins)
        self._ended: dict[bytes, int] = {}
        self.by_digest: dict[bytes, LiveKey] = {}
        self.replacements: list[Replacement] = []

    def show(self, key: VerifyingKey) -> None:
        """Take up a pinned key that its opening showed."""
        if self._lives.may_appear(key.key_id) and key.key_id not in self.by_digest:
            until = self._ended.get(key.key_id, FOREVER)
            self.by_digest[key.key_id] = LiveKey(key, key.key_id, -1, until)

    def heed(self, header: Header, row: int, index: int, deed: Message) -> VerifyingKey | None:
        """Do what a statement of a live key says about keys, and return the key that it shows, if it shows one.

        Raises :class:`BodyError`, :class:`SignatureError` or :class:`KeyLifeError` when it breaks a rule.
        """
        self._lives.judge(header, deed)
        if not isinstance(deed, Deed):
            return None
        key = self._shown(deed, header)
        change = self._lives.apply(header, deed)
        if change.began is not None and key is not None:
            author = self._lives.author_of(key.key_id)
            self.by_digest[key.key_id] = LiveKey(key, author, index)
            if isinstance(deed, identity_pb2.Rotation) and deed.HasField("author"):
                self.replacements.append(
                    Replacement(row, replaced_author(deed, header), header.author)
                )
        for key_id in change.ended:
            self._ended[key_id] = index
            live = self.by_digest.get(key_id)
            if live is not None:
                self.by_digest[key_id] = replace(live, until_index=index)
        return key

    def _shown(self, deed: Deed, header: Header) -> VerifyingKey | None:
        agreement = self._pins.digest
        if isinstance(deed, identity_pb2.Enrolment):
            return verify_enrolment(deed, header.author, agreement, self._verify)
        if isinstance(deed, identity_pb2.Rotation):
            return verify_rotation(deed, header, agreement)
        verify_revocation(deed)
        return None


class Places:
    """Which places of chains were taken when a statement came; ``verify`` does as :func:`verify_signature`."""

    def __init__(self, records: Records, verify: Verify = verify_signature) -> None:
        self._records = records
        self._verify = verify

    def is_taken(self, row: int, keys: Mapping[bytes, LiveKey]) -> bool:
        """Return whether another statement for a row's place was logged before, and is validly signed."""
        live = keys[self._records.text("key_id", row)]
        earlier = self._before.get(row)
        while earlier is not None and self._records.index[earlier] > live.from_index:
            try:
                self._verify(live.key, self._records.ids[earlier], self._records.signature(earlier))
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
