"""The verdict as a document: the JSON of ``docs/verdict.md``, with stable names.

FLOP are numbers, times RFC 3339 in UTC, digests ``sha256:`` and 64 hexadecimal digits; what has no value is null.
"""

import json
import math
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tlog.note import encode_base64
from verifier.accounts.obligations import Assessment
from verifier.accounts.party import PartyAccount
from verifier.checks.interface import Duty, Finding
from verifier.errors import VerifierError
from verifier.instants import rfc3339
from verifier.rhythm import Rhythm
from verifier.verdict import PartyVerdict, RuledFinding, Verdict, bound_by

FORMAT: Final = "stillwatch.verdict/1"


class ReportError(VerifierError):
    """A file is not a verdict."""


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False
    )


class AgreementPart(_Part):
    """The agreement judged by."""

    id: str
    digest: str
    rehearsal: bool


class LogPart(_Part):
    """A log that was read, and until when its ticks tell the time; null: it has none."""

    origin: str
    size: int
    root: str
    known_until: str | None


class PeriodPart(_Part):
    """[from, to)."""

    start: str = Field(validation_alias="from", serialization_alias="from")
    end: str = Field(validation_alias="to", serialization_alias="to")


class IntervalPart(_Part):
    """Operations, FLOP."""

    lower_flop: float
    estimate_flop: float
    upper_flop: float


class ComputePart(IntervalPart):
    """What the party's chips executed in the period."""

    unaccounted_flop: float
    bound_by: str | None
    training_capable: IntervalPart


class TiersPart(_Part):
    """Share of chip time with evidence, by the assurance of the key that signed it."""

    T0: float
    T1: float
    T2: float


class EnergyPart(_Part):
    """What was read at the nodes' walls: J, over how many node seconds, and the FLOP that it allows at most."""

    wall_joules: float
    wall_floor_flop: float
    wall_node_seconds: float


class RhythmPart(_Part):
    """The clearest line in the nodes' power, and how far they share its phase; null: fewer than two nodes."""

    at: str = Field(validation_alias="from", serialization_alias="from")
    period_seconds: float
    line_share: float
    nodes: int
    coherence: float | None


class MeasuredPart(_Part):
    """What was measured, in the obligation's unit; null: nothing had to be."""

    lower: float | None
    upper: float | None


class ObligationPart(_Part):
    """An obligation as it bound the party within the period."""

    id: str
    measure: str
    scope: str
    trust: str
    start: str = Field(validation_alias="from", serialization_alias="from")
    end: str = Field(validation_alias="to", serialization_alias="to")
    outcome: Literal["kept", "violated", "unresolved"]
    measured: MeasuredPart
    limit: float
    reason: str | None
    would_resolve: str | None


class CitationPart(_Part):
    """A statement in the log: its index, and its statement id."""

    log: str
    index: int
    digest: str


class FindingPart(_Part):
    """One thing that a check found."""

    id: str
    check: str
    cls: Literal["exact", "statistical", "outside"] = Field(
        validation_alias="class", serialization_alias="class"
    )
    severity: Literal["breach", "anomaly", "doubt", "note"]
    subject: str
    start: str = Field(validation_alias="from", serialization_alias="from")
    end: str = Field(validation_alias="to", serialization_alias="to")
    summary: str
    ruling: Literal["upheld", "dismissed", "remedied"] | None
    evidence: list[CitationPart]
    notes: list[str]


class PartyPart(_Part):
    """What is concluded of a party."""

    party: str
    verdict: Literal["violation", "not_assessed", "anomaly", "unresolved", "compliant"]
    why: list[str]
    member: bool
    telemetry: list[str]
    trust: str
    nodes: int
    chips: int
    coverage: float | None
    compute: ComputePart
    energy: EnergyPart
    rhythm: RhythmPart | None
    tiers: TiersPart
    detection_limit_flop: float
    false_alarm_per_year: float
    cannot_see: list[str]
    obligations: list[ObligationPart]
    findings: list[FindingPart]


class Document(_Part):
    """A verdict."""

    format: Literal["stillwatch.verdict/1"]
    agreement: AgreementPart
    logs: list[LogPart]
    time: str
    bodies_root: str
    ruleset: str
    period: PeriodPart
    stage: str
    stage_since: str
    parties: list[PartyPart]
    ledger_findings: list[FindingPart]


def to_document(verdict: Verdict) -> Document:
    """Return a verdict's document."""
    log = verdict.logs[0].origin
    return Document(
        format=FORMAT,
        agreement=AgreementPart(
            id=verdict.agreement_id,
            digest=_digest(verdict.agreement),
            rehearsal=verdict.rehearsal,
        ),
        logs=[
            LogPart(
                origin=one.origin,
                size=one.size,
                root=_digest(one.root),
                known_until=rfc3339(one.known_until_ms) if one.known_until_ms else None,
            )
            for one in verdict.logs
        ],
        time=verdict.time,
        bodies_root=_digest(verdict.bodies_root),
        ruleset=_digest(verdict.ruleset),
        period=PeriodPart(start=rfc3339(verdict.period[0]), end=rfc3339(verdict.period[1])),
        stage=verdict.stage.value,
        stage_since=rfc3339(verdict.stage_since_ms),
        parties=[_party(party, log) for party in verdict.parties],
        ledger_findings=[
            _finding(RuledFinding(finding, None), log) for finding in verdict.ledger_findings
        ],
    )


def encode_document(document: Document) -> bytes:
    """Return the canonical bytes: UTF-8, keys sorted, no spaces, a newline at the end."""
    tree = document.model_dump(by_alias=True, mode="json")
    text = json.dumps(
        tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode() + b"\n"


def decode_document(data: bytes) -> Document:
    """Return the document in a file's bytes; raises :class:`ReportError` for anything else."""
    try:
        return Document.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the file"
        raise ReportError("NOT_A_VERDICT", f"not a verdict: {place}: {first['msg']}") from None


def _digest(value: bytes) -> str:
    return f"sha256:{value.hex()}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _party(party: PartyVerdict, log: str) -> PartyPart:
    account = party.account
    coverage = _known(account.coverage)
    return PartyPart(
        party=party.party,
        verdict=party.conclusion.value,
        why=list(party.why),
        member=party.member,
        telemetry=list(party.telemetry),
        trust=party.trust.value,
        nodes=party.nodes,
        chips=account.chips,
        coverage=coverage,
        compute=_compute(account),
        energy=EnergyPart(
            wall_joules=account.wall_energy_j,
            wall_floor_flop=account.wall_floor_flop,
            wall_node_seconds=account.wall_s,
        ),
        rhythm=None if party.rhythm is None else _rhythm(party.rhythm),
        tiers=TiersPart(T0=coverage or 0.0, T1=0.0, T2=0.0),
        detection_limit_flop=party.detection_limit_flop,
        false_alarm_per_year=party.false_alarm_per_year,
        cannot_see=list(party.cannot_see),
        obligations=[_obligation(duty) for duty in party.duties],
        findings=[_finding(ruled, log) for ruled in party.findings],
    )


def _compute(account: PartyAccount) -> ComputePart:
    capable = account.training_capable
    return ComputePart(
        lower_flop=account.lower_flop,
        estimate_flop=account.estimate_flop,
        upper_flop=account.upper_flop,
        unaccounted_flop=account.unaccounted_flop,
        bound_by=None if account.binds is None else bound_by(account.binds),
        training_capable=IntervalPart(
            lower_flop=capable.lower_flop,
            estimate_flop=capable.estimate_flop,
            upper_flop=capable.upper_flop,
        ),
    )


def _rhythm(rhythm: Rhythm) -> RhythmPart:
    """Round to what the words show: the last digits of a fit are the machine's, not the party's."""
    value = rhythm.coherence.value
    return RhythmPart(
        at=rfc3339(rhythm.from_ms),
        period_seconds=round(rhythm.line.period_s, 2),
        line_share=round(rhythm.line.share, 2),
        nodes=rhythm.coherence.nodes,
        coherence=None if value is None else round(value, 2),
    )


def _obligation(duty: Duty) -> ObligationPart:
    assessment: Assessment = duty.assessment
    remedy = assessment.would_resolve
    return ObligationPart(
        id=duty.obligation.id,
        measure=duty.obligation.measure.value,
        scope=duty.obligation.scope.value,
        trust=duty.obligation.trust.value,
        start=rfc3339(duty.spans[0][0]),
        end=rfc3339(duty.spans[-1][1]),
        outcome=duty.outcome.value,
        measured=MeasuredPart(
            lower=_known(assessment.measured_lower), upper=_known(assessment.measured_upper)
        ),
        limit=assessment.limit,
        reason=duty.reason,
        would_resolve=None if remedy is None else remedy.words,
    )


def _finding(ruled: RuledFinding, log: str) -> FindingPart:
    finding: Finding = ruled.finding
    return FindingPart(
        id=finding.id,
        check=finding.check,
        cls=finding.cls.value,
        severity=finding.severity.value,
        subject=finding.subject,
        start=rfc3339(finding.from_ms),
        end=rfc3339(finding.to_ms),
        summary=finding.summary,
        ruling=None if ruled.ruling is None else ruled.ruling.value,
        evidence=[
            CitationPart(log=log, index=one.index, digest=_digest(one.statement_id))
            for one in finding.evidence
        ],
        notes=[encode_base64(note) for note in finding.notes],
    )
