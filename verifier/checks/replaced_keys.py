"""Replaced keys: a key of the party, of its nodes or of its meters was lost or stolen, and somebody else replaced it.

What the former key said until then stands, since nobody can tell from when on a thief held it. Mostly that is only
told. It leaves doubt in the period where it may have decided something: a meter's readings are what its party is judged
by, and a recovery key that is used again may be in two hands that take the author from one another, until a panel
rules.
"""

from collections import Counter
from collections.abc import Iterator

from statements.pins import Role
from verifier.checks.interface import (
    Check,
    CheckClass,
    Finding,
    PartyCase,
    Severity,
    cite,
    finding_id,
)
from verifier.evidence.keys import Replacement


def _find(case: PartyCase) -> Iterator[Finding]:
    records, pins = case.evidence.records, case.agreement.pins
    meters = {meter.id for meter in case.agreement.meters if meter.party == case.party.id}
    names = {
        **case.names,
        **{
            key_id: f"meter {pin.id}"
            for key_id, pin in pins.by_key.items()
            if pin.role is Role.METER and pin.id in meters
        },
    }
    used: Counter[bytes] = Counter()
    for one in case.evidence.replacements:
        used[one.by] += 1
        if one.author not in names or not case.said_within(one.row):
            continue
        severity, words = _weigh(case, one, used[one.by])
        index = int(records.index[one.row])
        logged = case.evidence.time.clamp(index, int(records.logged_at_ms[one.row]))
        subject = names[one.author]
        yield Finding(
            id=finding_id(
                "replaced_keys", case.party.id, f"{subject} {records.ids[one.row].hex()}", logged
            ),
            check="replaced_keys",
            cls=CheckClass.EXACT,
            severity=severity,
            subject=subject,
            from_ms=logged,
            to_ms=logged,
            summary=words,
            evidence=cite(case.evidence, [one.row]),
        )


def _weigh(case: PartyCase, one: Replacement, times: int) -> tuple[Severity, str]:
    """Return what a replacement does to the verdict, and words; ``times`` is how often who said so has done so."""
    pins = case.agreement.pins
    pin = pins.by_key.get(one.author)
    how = "its party" if pin is None else "a ruling of the panel"
    if one.by in pins.by_recovery:
        how = "its recovery key"
    words = f"its key was replaced, as lost or stolen, by {how}"
    if pin is not None and pin.role is Role.METER:
        return Severity.DOUBT, f"{words}; what it read before may not be its own word"
    if one.by in pins.by_recovery and times > 1:
        return (
            Severity.DOUBT,
            f"{words}, for time {times}: somebody else may hold that key too, until the panel rules",
        )
    return Severity.NOTE, f"{words}; what the former key said before that stands"


CHECK = Check(
    id="replaced_keys",
    version=1,
    cls=CheckClass.EXACT,
    looks_for="keys that were replaced by somebody else's word: a recovery key's, a party's, a panel's",
    cites="the rotation",
    argument="the rotation is signed by both keys; it accuses nobody, and leaves doubt only where it cannot be told "
    "whose word decided the period",
    find=_find,
)
