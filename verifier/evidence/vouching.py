"""Signatures of a log that are verified together, before anybody asks for one of them. Pure.

A key is taken from wherever the log shows it, and found by its digest. Whether it may speak, for whom and since when is
not asked here: only whether a signature is by the key that it names.
"""

from collections.abc import Iterable, Mapping

from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import identity_pb2
from statements.enrolment import possession_digest
from statements.errors import SignatureError
from statements.signing import VerifyingKey, key_digest, verify_batch, verify_signature

Claim = tuple[VerifyingKey, bytes, bytes]
"""A key, a digest of 32 bytes, and what is said to be its signature."""


class Vouched:
    """Signatures of which it is known that they verify."""

    def __init__(self) -> None:
        self._good: set[tuple[bytes, bytes, bytes]] = set()

    def verify_together(self, claims: Iterable[Claim]) -> None:
        """Verify many; those that do not verify are told to nobody before they are asked for."""
        told = list(claims)
        failures = verify_batch(
            [key for key, _, _ in told],
            [digest for _, digest, _ in told],
            [signature for _, _, signature in told],
        )
        self._good |= {
            (key.spki, digest, signature)
            for at, (key, digest, signature) in enumerate(told)
            if at not in failures
        }

    def verify(self, key: VerifyingKey, digest: bytes, signature: bytes) -> None:
        """Refuse a signature as :func:`verify_signature` does; one that is known to verify is not verified again."""
        if (key.spki, digest, signature) not in self._good:
            verify_signature(key, digest, signature)


def shown_keys(
    deeds: Iterable[Message | None], wanted: Iterable[bytes]
) -> dict[bytes, VerifyingKey]:
    """Return by their digests the keys that openings, enrolments and rotations show, of those that are wanted."""
    sought, found = set(wanted), dict[bytes, VerifyingKey]()
    for deed in deeds:
        spki = _shown(deed)
        if spki is None or (digest := key_digest(spki)) not in sought or digest in found:
            continue
        try:
            found[digest] = VerifyingKey.from_spki(spki)
        except SignatureError:
            continue  # whoever takes up the deed says so
    return found


def _shown(deed: Message | None) -> bytes | None:
    if isinstance(deed, identity_pb2.Opening):
        return deed.key
    if isinstance(deed, identity_pb2.Enrolment):
        return deed.node_key
    return deed.new_key if isinstance(deed, identity_pb2.Rotation) else None


def possessions(
    enrolments: Iterable[tuple[bytes, Message | None]],
    keys: Mapping[bytes, VerifyingKey],
    agreement: bytes,
) -> Iterable[Claim]:
    """Yield the proofs of possession of enrolments under an agreement, each given with its author's digest."""
    for party, deed in enrolments:
        if isinstance(deed, identity_pb2.Enrolment):
            key = keys.get(key_digest(deed.node_key))
            if key is not None:
                yield key, possession_digest(agreement, party, deed.token_digest), deed.possession
