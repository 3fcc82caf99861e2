"""Whether an agreement that parses also makes sense: what it could never show, and what its parties should know."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from statements.pins import Role
from tlog.errors import NoteError, PolicyError
from tlog.note import Verifier
from tlog.policy import verify_intersection, verify_time
from verifier.accounts.chips import Chip, ChipTable
from verifier.agreement.conditions import compile_condition
from verifier.agreement.membership import Standing, greatest_fixed_point
from verifier.agreement.model import Agreement, Measure, Obligation, Stage
from verifier.agreement.verifiability import REFERENCE_CHIP, SmallestCap, smallest_cap


class Level(Enum):
    """How bad a remark is: an error refuses the agreement."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to know about an agreement: a stable code, the place in the text, and words for people."""

    level: Level
    reason: str
    place: str
    message: str


def check_agreement(agreement: Agreement, chips: ChipTable) -> tuple[Remark, ...]:
    """Return what there is to say about an agreement, errors first; ``chips`` is the table it is judged with."""
    remarks = [
        *_reachable(agreement),
        *_chip_table(agreement, chips),
        *_verifiable(agreement, chips.lookup(REFERENCE_CHIP)),
        *_singled_out(agreement),
        *_witnessed(agreement),
        *_keyed(agreement),
        *_rulable(agreement),
        *_recoverable(agreement),
        *_independent(agreement),
        *_affiliated(agreement),
        *_sealed(agreement),
    ]
    return tuple(sorted(remarks, key=lambda remark: list(Level).index(remark.level)))


def _reachable(agreement: Agreement) -> Iterator[Remark]:
    """Even with everybody in, are everybody's terms met?"""
    everyone = {p.id: Standing(p.jurisdiction, p.declared_h100e) for p in agreement.parties}
    terms = {party.id: party.accedes_if for party in agreement.parties}
    members = greatest_fixed_point(frozenset(everyone), terms, everyone)
    for party in everyone:
        if party not in members:
            yield Remark(
                Level.ERROR,
                "UNREACHABLE_TERMS",
                f"parties.{party}.accedes_if",
                f"{party} can never be in: its terms are not met even when everybody accedes",
            )


def _chip_table(agreement: Agreement, chips: ChipTable) -> Iterator[Remark]:
    if agreement.chip_table is None:
        yield Remark(
            Level.NOTE,
            "NO_CHIP_TABLE",
            "agreement.chip_table",
            "no chip table is named: audits use the one that comes with their software, and say which",
        )
    elif agreement.chip_table != chips.digest:
        yield Remark(
            Level.ERROR,
            "OTHER_CHIP_TABLE",
            "agreement.chip_table",
            f"names sha256:{agreement.chip_table.hex()}, and the table here is sha256:{chips.digest.hex()}",
        )


def _verifiable(agreement: Agreement, chip: Chip) -> Iterator[Remark]:
    for duty in agreement.obligations:
        if duty.measure is not Measure.TRAINING_FLOP:
            continue
        place = f"obligations.{duty.id}.limit"
        if Stage.ARMED in duty.stages:
            yield Remark(
                Level.WARNING,
                "UNBOUNDED_CAP",
                place,
                "an armed agreement has no length, so no smallest verifiable value of this cap can be given",
            )
        least = _worst(agreement, duty, chip)
        if least is None or least.span_ms == 0:
            continue
        days = least.span_ms / 86_400_000
        told = (
            f"over {days:.3g} d at {least.coverage:.4g} coverage, {least.party} could not be shown to have kept less "
            f"than {least.flop:.2g} FLOP"
        )
        if duty.limit < least.flop and not duty.aspirational:
            yield Remark(
                Level.ERROR,
                "CAP_NOT_VERIFIABLE",
                place,
                f"{duty.limit:.2g} FLOP is below what the evidence could verify: {told}; raise it, add evidence, or "
                "set aspirational = true",
            )
            continue
        if duty.limit < least.flop:
            told = f"{told}; the cap is aspirational: it can be found violated, hardly ever kept"
        yield Remark(Level.NOTE, "SMALLEST_CAP", place, told)
        if least.flop <= duty.limit < least.energy_only_flop:
            yield Remark(
                Level.WARNING,
                "NEEDS_ACTIVITY",
                place,
                f"where nodes report energy but no activity, even idle chips leave {least.energy_only_flop:.2g} FLOP "
                "open: the cap then stays unresolved",
            )


def _worst(agreement: Agreement, duty: Obligation, chip: Chip) -> SmallestCap | None:
    """Return the smallest verifiable cap of the bound party for which it is largest."""
    bound = [p for p in agreement.parties if duty.parties is None or p.id in duty.parties]
    caps = [smallest_cap(agreement, duty, party, chip) for party in bound]
    return max(caps, key=lambda cap: cap.flop, default=None)


def _singled_out(agreement: Agreement) -> Iterator[Remark]:
    for duty in agreement.obligations:
        if duty.parties is not None and set(duty.parties) != {p.id for p in agreement.parties}:
            yield Remark(
                Level.WARNING,
                "SINGLED_OUT",
                f"obligations.{duty.id}.parties",
                f"binds only {', '.join(duty.parties)}: terms are meant to be the same for all",
            )


def _witnessed(agreement: Agreement) -> Iterator[Remark]:
    policy = agreement.pins.policy
    if policy.quorum is None:
        yield Remark(
            Level.WARNING,
            "QUORUM_NONE",
            "witnesses.policy",
            "QUORUM NONE: no witness has to cosign the log. Its operator alone vouches that everyone sees the same "
            "log, and for the time at which things were said; it could show two histories, or backdate, and no "
            "audit would know",
        )
        return
    try:
        verify_intersection(policy, agreement.ledger_witnesses, agreement.witness_fault_bound)
    except PolicyError as error:
        yield Remark(Level.ERROR, error.reason, "witnesses.policy", str(error))
    try:
        verify_time(policy, agreement.ledger_witnesses, agreement.witness_fault_bound)
    except PolicyError as error:
        yield Remark(Level.WARNING, error.reason, "witnesses.policy", str(error))
    for witness in policy.witnesses:
        if witness.url is None:
            yield Remark(
                Level.WARNING,
                "WITNESS_WITHOUT_ADDRESS",
                "witnesses.policy",
                f"{witness.name} has no address: the log cannot ask it to cosign",
            )


def _keyed(agreement: Agreement) -> Iterator[Remark]:
    """Could the log's checkpoints be verified with the keys given?"""
    for ledger in agreement.pins.ledgers:
        try:
            named = Verifier.from_vkey(ledger.vkey).name
            problem = f"is the key of {named!r}: it must bear the origin" * (named != ledger.origin)
        except NoteError as error:
            problem = str(error)
        if problem:
            yield Remark(Level.ERROR, "BAD_VKEY", f"ledgers.{ledger.origin}.vkey", problem)


def _rulable(agreement: Agreement) -> Iterator[Remark]:
    if not agreement.verifiers:
        yield Remark(
            Level.WARNING,
            "NO_VERIFIER",
            "verifiers",
            "nobody may log verdicts, so no finding can ever block the lift or be ruled on",
        )
    if agreement.panel.quorum * 2 <= len(agreement.panel.members):
        yield Remark(
            Level.WARNING,
            "MINORITY_QUORUM",
            "panel.quorum",
            f"{agreement.panel.quorum} of {len(agreement.panel.members)} is no majority: two halves of the panel can "
            "rule against each other, and the newer ruling stands; and so few can give anybody's key away",
        )
    if not agreement.lift_requires_rulings:
        yield Remark(
            Level.WARNING,
            "LIFT_OVER_FINDINGS",
            "lift.requires_rulings",
            "the pause may lift while findings are open",
        )


def _recoverable(agreement: Agreement) -> Iterator[Remark]:
    """Who loses more than a key with its key?"""
    panel = agreement.pins.panel
    bare = [
        pin
        for pin in agreement.pins.by_key.values()
        if pin.role is not Role.LEDGER and pin.recovery is None
    ]
    ruled: list[str] = []
    for pin in bare:
        if panel is not None and len(panel.able[pin.key_id]) >= panel.quorum:
            ruled.append(pin.id)
            continue
        yield Remark(
            Level.WARNING,
            "IRREPLACEABLE_KEY",
            f"{pin.role.value}.{pin.id}.recovery",
            f"if {pin.id} loses its key, nobody can replace it: name a recovery key",
        )
    if ruled:
        yield Remark(
            Level.NOTE,
            "NO_RECOVERY_KEY",
            "recovery",
            f"a lost key of {', '.join(ruled)} is replaced by a ruling alone: name recovery keys, and keep them apart",
        )


def _independent(agreement: Agreement) -> Iterator[Remark]:
    names = [indicator.id for indicator in agreement.indicators]
    used = {
        name
        for place, text in (("trigger", agreement.trigger), ("lift", agreement.lift))
        for name in compile_condition(text, names, f"{place}.condition").indicators
    }
    for indicator in agreement.indicators:
        if indicator.signers == 1:
            yield Remark(
                Level.WARNING,
                "ONE_SIGNER",
                f"indicators.{indicator.id}.signers",
                f"one evaluator alone decides {indicator.id}",
            )
        if indicator.id not in used:
            yield Remark(
                Level.WARNING,
                "UNUSED_INDICATOR",
                f"indicators.{indicator.id}",
                "no condition looks at it",
            )


def _affiliated(agreement: Agreement) -> Iterator[Remark]:
    """Does somebody judge, measure or audit a party that it is tied to?"""
    for party in agreement.parties:
        for name in party.affiliates:
            if agreement.panel.may_rule(name, party.id):
                yield Remark(
                    Level.ERROR,
                    "AFFILIATED_JUDGE",
                    "panel.conflicts",
                    f"{name} is an affiliate of {party.id} and may rule on it: declare the conflict, or name another",
                )
            if name in agreement.evaluators or name in agreement.verifiers:
                yield Remark(
                    Level.WARNING,
                    "AFFILIATED_SIGNER",
                    f"parties.{party.id}.affiliates",
                    f"{name} signs facts or verdicts, and is an affiliate of {party.id}",
                )


def _sealed(agreement: Agreement) -> Iterator[Remark]:
    """Who can read what is not public, and is there somebody else, should one lose its key?"""
    disclosures = agreement.pins.disclosures
    for kind, to in disclosures.of_kind.items():
        names = ", ".join(reader.id for reader in to.readers)
        yield Remark(
            Level.NOTE,
            "SEALED",
            f"disclosure.classes.{to.id}",
            f"bodies of {kind.name} statements are read by {names} alone: by other audits nobody can be compliant",
        )
        if len(to.readers) == 1:
            yield Remark(
                Level.WARNING,
                "ONE_READER",
                f"disclosure.classes.{to.id}.readers",
                f"if {names} loses its key, nobody can ever assess what was sealed to it: name another reader",
            )
