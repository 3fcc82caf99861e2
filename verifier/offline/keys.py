"""Which keys are at hand, and which records they signed."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from protos.stillwatch.statement.v1 import identity_pb2
from statements.errors import StatementError
from statements.signing import VerifyingKey
from verifier.offline.outcome import Outcome
from verifier.offline.said import Said, shown_deed, shown_key, verify_said

Advance = Callable[[int], None]
"""Is told how many more records were looked at."""


def find_keys(outcome: Outcome, records: Sequence[Said]) -> dict[bytes, VerifyingKey]:
    """Return the keys that openings, enrolments and rotations show, by digest; openings that show none are noted.

    The digest is all that a key needs to be the right one; whether it may speak is another question.
    """
    keys: dict[bytes, VerifyingKey] = {}
    for said in records:
        with suppress(StatementError):  # what is wrong with a deed is told once it is heard
            other = _other_key(said)
            if other is not None:
                keys[other.key_id] = other
        try:
            key = shown_key(said)
        except StatementError as error:
            outcome.refute(error.reason, str(error), said.index)
            continue
        if key is not None:
            keys[key.key_id] = key
    return keys


def _other_key(said: Said) -> VerifyingKey | None:
    """Return the key that a statement shows of somebody else, or of its author's future."""
    deed = shown_deed(said)
    if isinstance(deed, identity_pb2.Enrolment):
        return VerifyingKey.from_spki(deed.node_key)
    if isinstance(deed, identity_pb2.Rotation):
        return VerifyingKey.from_spki(deed.new_key)
    return None


def find_signed(
    outcome: Outcome,
    records: Sequence[Said],
    keys: Mapping[bytes, VerifyingKey],
    advance: Advance,
) -> list[Said]:
    """Return the records whose signatures hold; note the others. ``advance`` is told of each: this takes long."""
    signed: list[Said] = []
    for said in records:
        advance(1)
        key = keys.get(said.header.key_id)
        if key is None:
            outcome.miss(
                "KEY_NOT_SHOWN",
                f"no opening here shows the key {said.header.key_id.hex()}: its signature is not verified",
                said.index,
            )
            continue
        try:
            verify_said(said, key)
        except StatementError as error:
            outcome.refute(error.reason, str(error), said.index)
            continue
        signed.append(said)
    if signed:
        outcome.hold("SIGNATURES", f"{len(signed)} of {len(records)} signatures hold")
    return signed
