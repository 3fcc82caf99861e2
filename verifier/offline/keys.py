"""Which keys are at hand, and by whose word they may speak: the agreement's, or a party's that enrolled them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from statements.enrolment import verify_enrolment
from statements.errors import StatementError
from statements.pins import Pins, Role
from statements.signing import VerifyingKey
from verifier.offline.outcome import Outcome
from verifier.offline.said import Said, shown_enrolment, shown_key, verify_said


def find_keys(outcome: Outcome, records: Sequence[Said]) -> dict[bytes, VerifyingKey]:
    """Return the keys that openings and enrolments show, by digest; bodies that show none are noted.

    The digest is all that a key needs to be the right one; whether it may speak is another question.
    """
    keys: dict[bytes, VerifyingKey] = {}
    for said in records:
        with suppress(StatementError):  # a bad enrolment is told with its signature
            enrolment = shown_enrolment(said)
            if enrolment is not None:
                enrolled = VerifyingKey.from_spki(enrolment.node_key)
                keys[enrolled.key_id] = enrolled
        try:
            key = shown_key(said)
        except StatementError as error:
            outcome.refute(error.reason, str(error), said.index)
            continue
        if key is not None:
            keys[key.key_id] = key
    return keys


def find_signed(
    outcome: Outcome, records: Sequence[Said], keys: Mapping[bytes, VerifyingKey]
) -> list[Said]:
    """Return the records whose signatures hold; note the others."""
    signed: list[Said] = []
    for said in records:
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
        outcome.hold(
            "SIGNATURES", f"{len(signed)} of {len(records)} records are signed by their authors"
        )
    return signed


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A key that a party made live: whose it is, and the index of the enrolment."""

    party: str
    index: int


def find_standing(outcome: Outcome, signed: Sequence[Said], pins: Pins) -> None:
    """Note by whose word each author may speak, and for whom nothing here says it."""
    enrolled = _find_enrolled(outcome, signed, pins)
    first: dict[bytes, Said] = {}
    for said in signed:
        first.setdefault(said.header.author, said)
    stand: Counter[str] = Counter()
    for author, said in first.items():
        known = enrolled.get(author)
        if author in pins.by_key:
            stand["pinned by the agreement"] += 1
        elif known is not None and known.index < said.index:
            stand[f"enrolled by {known.party}"] += 1
        else:
            outcome.miss(
                "STANDING_NOT_SHOWN",
                f"the agreement does not pin its author {author.hex()}, and no party's enrolment before it is here",
                said.index,
            )
    if stand:
        told = ", ".join(f"{count} {how}" for how, count in sorted(stand.items()))
        outcome.hold("STANDING", f"authors that may speak: {told}")


def _find_enrolled(outcome: Outcome, signed: Sequence[Said], pins: Pins) -> dict[bytes, Enrolled]:
    enrolled: dict[bytes, Enrolled] = {}
    for said in signed:
        try:
            enrolment = shown_enrolment(said)
            if enrolment is None:
                continue
            pin = pins.by_key.get(said.header.author)
            if pin is None or pin.role is not Role.PARTY:
                outcome.refute("BAD_ENROLMENT", "only a party of the agreement enrols", said.index)
                continue
            key = verify_enrolment(enrolment, said.header.author, pins.digest)
        except StatementError as error:
            outcome.refute(error.reason, str(error), said.index)
            continue
        enrolled.setdefault(key.key_id, Enrolled(pin.id, said.index))
    return enrolled
