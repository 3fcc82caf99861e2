"""From an agreement's bytes to the model: the only way in.

An agreement that this returns means something throughout: every name resolves, every value has its unit, every
quorum can be met, and every condition compiles.
"""

from collections.abc import Iterable

from statements.clock import REHEARSAL_PREFIX
from statements.errors import PinsError
from statements.pins import Pins, read_pins
from verifier.agreement import membership, schema
from verifier.agreement.conditions import compile_condition
from verifier.agreement.errors import AgreementError, UnitError
from verifier.agreement.model import (
    Agreement,
    Durations,
    Indicator,
    Measure,
    Meter,
    Obligation,
    Panel,
    Party,
    Scope,
    Stage,
    Trust,
)
from verifier.agreement.units import Dimension, parse_duration_ms, parse_quantity

_LIMITS = {Measure.TRAINING_FLOP: Dimension.COMPUTE, Measure.COVERAGE: Dimension.SHARE}


def parse_agreement(text: bytes) -> Agreement:
    """Return the agreement in a TOML file's bytes.

    Raises :class:`AgreementError` naming the place: a typo, a wrong unit, a name that nobody has, a quorum that cannot
    be met, a condition that does not compile, a rehearsal's log in a real agreement, witnesses whose cosignatures
    nobody here could check.
    """
    document = schema.read_document(text)
    try:
        pins = read_pins(text)
    except PinsError as error:
        raise AgreementError(error.reason, str(error)) from None
    _verify_names(document)
    _verify_witnesses(document, pins)
    parties = tuple(_party(row, f"parties.{row.id}") for row in document.parties)
    indicators = tuple(_indicator(row) for row in document.indicators)
    panel = _panel(document)
    for place, condition in (
        ("trigger.condition", document.trigger.condition),
        ("lift.condition", document.lift.condition),
    ):
        compile_condition(condition, [indicator.id for indicator in indicators], place)
    if not document.agreement.rehearsal:
        for ledger in document.ledgers:
            if ledger.origin.startswith(REHEARSAL_PREFIX):
                raise AgreementError(
                    "REHEARSAL_ORIGIN",
                    f"the log {ledger.origin!r} is a rehearsal's, on a scaled clock: name a real log, or set "
                    "agreement.rehearsal = true",
                )
    stages, membership_table = document.stages, document.membership
    return Agreement(
        id=document.agreement.id,
        version=document.agreement.version,
        title=document.agreement.title,
        digest=pins.digest,
        rehearsal=document.agreement.rehearsal,
        pins=pins,
        witness_fault_bound=document.witnesses.fault_bound,
        ledger_witnesses=tuple(document.witnesses.of_ledgers),
        parties=parties,
        evaluators=tuple(row.id for row in document.evaluators),
        adjudicators=tuple(row.id for row in document.adjudicators),
        verifiers=tuple(row.id for row in document.verifiers),
        meters=tuple(_meter(row) for row in document.meters),
        indicators=indicators,
        trigger=document.trigger.condition,
        lift=document.lift.condition,
        lift_requires_rulings=document.lift.requires_rulings,
        panel=panel,
        durations=Durations(
            notice_ms=_duration(stages.notice, "stages.notice"),
            winding_down_ms=_duration(stages.winding_down, "stages.winding_down"),
            in_force_ms=_duration(stages.min_dwell, "stages.min_dwell"),
            lifting_ms=_duration(stages.lifting, "stages.lifting"),
        ),
        withdrawal_notice_ms=_duration(
            membership_table.withdrawal_notice, "membership.withdrawal_notice"
        ),
        membership_cure_ms=_duration(membership_table.cure, "membership.cure"),
        obligations=tuple(_obligation(row) for row in document.obligations),
        false_alarms_per_party_year=document.budget.false_alarms_per_party_year,
        chip_table=(
            bytes.fromhex(document.agreement.chip_table.removeprefix("sha256:"))
            if document.agreement.chip_table
            else None
        ),
    )


def _verify_witnesses(document: schema.Document, pins: Pins) -> None:
    """Check that the witnesses said to be the ledgers' own are in the policy."""
    listed = {one.name for one in pins.policy.witnesses}
    for name in document.witnesses.of_ledgers:
        if name not in listed:
            raise AgreementError(
                "UNKNOWN_NAME",
                f"witnesses.of_ledgers: the policy has no witness {name!r}, only {', '.join(sorted(listed)) or 'none'}",
            )


def _verify_names(document: schema.Document) -> None:
    """Check that ids are unique in their table and that every reference finds one."""
    tables = {
        "parties": [row.id for row in document.parties],
        "evaluators": [row.id for row in document.evaluators],
        "adjudicators": [row.id for row in document.adjudicators],
        "verifiers": [row.id for row in document.verifiers],
        "meters": [row.id for row in document.meters],
        "ledgers": [row.origin for row in document.ledgers],
        "indicators": [row.id for row in document.indicators],
        "obligations": [row.id for row in document.obligations],
    }
    for table, ids in tables.items():
        _verify_unique(ids, table)
    for indicator in document.indicators:
        place = f"indicators.{indicator.id}.evaluators"
        _verify_unique(indicator.evaluators, place)
        _verify_known(indicator.evaluators, tables["evaluators"], place, "evaluators")
    _verify_unique(document.panel.members, "panel.members")
    _verify_known(document.panel.members, tables["adjudicators"], "panel.members", "adjudicators")
    for conflict in document.panel.conflicts:
        _verify_known(
            [conflict.adjudicator], document.panel.members, "panel.conflicts", "panel.members"
        )
        _verify_known(conflict.parties, tables["parties"], "panel.conflicts", "parties")
    lands = [row.jurisdiction for row in document.parties]
    for party in document.parties:
        place = f"parties.{party.id}.accedes_if"
        for node in _nodes(party.accedes_if):
            if node.party is not None:
                _verify_known([node.party], tables["parties"], place, "parties")
            if node.jurisdiction is not None:
                _verify_known([node.jurisdiction], lands, place, "parties' jurisdictions")
    for meter in document.meters:
        _verify_known([meter.party], tables["parties"], f"meters.{meter.id}.party", "parties")
        _verify_unique(meter.sites, f"meters.{meter.id}.sites")
    for duty in document.obligations:
        _verify_known(duty.parties or [], tables["parties"], f"obligations.{duty.id}", "parties")


def _verify_unique(ids: list[str], place: str) -> None:
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise AgreementError("DUPLICATE_ID", f"{place}: {', '.join(twice)} is there twice")


def _verify_known(ids: Iterable[str], known: list[str], place: str, table: str) -> None:
    for name in ids:
        if name not in known:
            listed = ", ".join(dict.fromkeys(known)) or "none"
            raise AgreementError("UNKNOWN_NAME", f"{place}: {name!r} is not in {table} ({listed})")


def _nodes(node: schema.TermsTable | None) -> Iterable[schema.TermsTable]:
    if node is None:
        return
    yield node
    for inner in [*(node.all_of or []), *(node.any_of or [])]:
        yield from _nodes(inner)
    if node.at_least is not None:
        for inner in node.at_least.of:
            yield from _nodes(inner)


def _party(row: schema.PartyTable, place: str) -> Party:
    return Party(
        id=row.id,
        name=row.name,
        key=bytes.fromhex(row.key.removeprefix("sha256:")),
        jurisdiction=row.jurisdiction,
        declared_h100e=_quantity(row.declared_h100e, Dimension.CHIPS, f"{place}.declared_h100e"),
        affiliates=tuple(row.affiliates),
        accedes_if=(
            membership.Always()
            if row.accedes_if is None
            else _terms(row.accedes_if, f"{place}.accedes_if")
        ),
    )


def _terms(  # noqa: PLR0911 - one return a kind of term
    node: schema.TermsTable, place: str
) -> membership.Terms:
    given = node.model_dump(exclude_none=True)
    if len(given) != 1:
        raise AgreementError(
            "BAD_TERMS", f"{place}: one key each, and this has {', '.join(given) or 'none'}"
        )
    match node:
        case schema.TermsTable(all_of=list(inner)):
            return membership.AtLeast(len(inner), _all_terms(inner, f"{place}.all_of"))
        case schema.TermsTable(any_of=list(inner)):
            return membership.AtLeast(1, _all_terms(inner, f"{place}.any_of"))
        case schema.TermsTable(at_least=schema.AtLeastTable(count=count, of=inner)):
            if count > len(inner):
                raise AgreementError(
                    "IMPOSSIBLE_TERMS",
                    f"{place}.at_least: {count} of {len(inner)} can never be met",
                )
            return membership.AtLeast(count, _all_terms(inner, f"{place}.at_least"))
        case schema.TermsTable(party=str(party)):
            return membership.WithParty(party)
        case schema.TermsTable(jurisdiction=str(land)):
            return membership.WithJurisdiction(land)
        case schema.TermsTable(parties=int(count)):
            return membership.ManyParties(count)
        case schema.TermsTable(jurisdictions=int(count)):
            return membership.ManyJurisdictions(count)
        case _:
            share = node.declared_share or ""
            return membership.DeclaredShare(
                _quantity(share, Dimension.SHARE, f"{place}.declared_share")
            )


def _all_terms(nodes: list[schema.TermsTable], place: str) -> tuple[membership.Terms, ...]:
    return tuple(_terms(node, f"{place}[{i}]") for i, node in enumerate(nodes))


def _indicator(row: schema.IndicatorTable) -> Indicator:
    if row.signers > len(row.evaluators):
        raise AgreementError(
            "IMPOSSIBLE_SIGNERS",
            f"indicators.{row.id}: {row.signers} signers required, and only {len(row.evaluators)} evaluators may sign",
        )
    return Indicator(
        id=row.id,
        title=row.title,
        unit=row.unit,
        source=row.source,
        evaluators=tuple(row.evaluators),
        signers=row.signers,
        report_every_ms=(
            _duration(row.report_every, f"indicators.{row.id}.report_every")
            if row.report_every
            else None
        ),
    )


def _meter(row: schema.MeterTable) -> Meter:
    place = f"meters.{row.id}.systematic_bound"
    bound = _quantity(row.systematic_bound, Dimension.SHARE, place)
    if bound >= 1:
        raise AgreementError("OUT_OF_RANGE", f"{place}: a meter that may be wrong by all it reads")
    return Meter(row.id, row.party, tuple(row.sites), bound)


def _panel(document: schema.Document) -> Panel:
    table = document.panel
    conflicts: dict[str, frozenset[str]] = {}
    for row in table.conflicts:
        conflicts[row.adjudicator] = conflicts.get(row.adjudicator, frozenset()) | set(row.parties)
    panel = Panel(
        members=tuple(table.members),
        quorum=table.quorum,
        ruling_deadline_ms=_duration(table.ruling_deadline, "panel.ruling_deadline"),
        conflicts=conflicts,
    )
    for party in document.parties:
        able = sum(panel.may_rule(member, party.id) for member in panel.members)
        if able < panel.quorum:
            raise AgreementError(
                "IMPOSSIBLE_QUORUM",
                f"panel: quorum {panel.quorum}, and only {able} of {len(panel.members)} members may rule on "
                f"{party.id!r}: add members or lower the quorum",
            )
    return panel


def _obligation(row: schema.ObligationTable) -> Obligation:
    measure = Measure(row.measure)
    place = f"obligations.{row.id}"
    return Obligation(
        id=row.id,
        stages=frozenset(Stage(stage) for stage in row.stages),
        measure=measure,
        scope=Scope(row.scope),
        limit=_quantity(row.limit, _LIMITS[measure], f"{place}.limit"),
        cure_ms=_duration(row.cure, f"{place}.cure", least=0) if row.cure else 0,
        trust=Trust(row.trust),
        aspirational=row.aspirational,
        parties=tuple(row.parties) if row.parties else None,
    )


def _quantity(text: str, dimension: Dimension, place: str) -> float:
    try:
        return parse_quantity(text, dimension)
    except UnitError as error:
        raise UnitError(error.reason, f"{place}: {error}") from None


def _duration(text: str, place: str, least: int = 1) -> int:
    try:
        value = parse_duration_ms(text)
    except UnitError as error:
        raise UnitError(error.reason, f"{place}: {error}") from None
    if value < least:
        raise UnitError("OUT_OF_RANGE", f"{place}: {text!r} must be at least {least} ms")
    return value
