"""The verdict: what an audit concludes of each party, with its evidence and its limits.

A pure function of the agreement's bytes, the log's prefix, the bodies held, the period and the ruleset: no clock, no
network, no randomness, and sums that do not depend on order. Two auditors get the same bytes. ``docs/verdict.md`` says
what each field means.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import numpy as np

from statements.kinds import Kind
from tlog.merkle import root_hash
from verifier.accounts.interval import Term
from verifier.accounts.obligations import Outcome
from verifier.accounts.party import PartyAccount
from verifier.agreement import events as said
from verifier.agreement.events import events_from
from verifier.agreement.lifecycle import replay
from verifier.agreement.model import Agreement, Measure, Party, Scope, Stage, Trust
from verifier.agreement.parse import parse_agreement
from verifier.checks.folding import fold
from verifier.checks.interface import (
    Duty,
    Finding,
    LedgerCase,
    PartyCase,
    Severity,
    Span,
)
from verifier.checks.outside import NOT_DETECTABLE
from verifier.checks.registry import CHECKS, LEDGER_CHECKS
from verifier.duties import account_over, assess_duties, duty_spans, read_calendar
from verifier.errors import VerifierError
from verifier.evidence.claims import SharedChips, shared_chips
from verifier.evidence.gather import Evidence
from verifier.evidence.windows import PartyWindows, party_windows
from verifier.instants import rfc3339
from verifier.metering import meter_records, most_metered
from verifier.mirror.prefix import build_levels
from verifier.rhythm import Rhythm, find_rhythm
from verifier.rows.digests import Digests
from verifier.ruleset import Ruleset
from verifier.workers import ALONE


class AuditError(VerifierError):
    """An audit could not be run: nothing is concluded."""


class Conclusion(Enum):
    """What is concluded of a party; the first that applies, in this order."""

    VIOLATION = "violation"
    NOT_ASSESSED = "not_assessed"
    ANOMALY = "anomaly"
    UNRESOLVED = "unresolved"
    COMPLIANT = "compliant"


@dataclass(frozen=True, slots=True)
class RuledFinding:
    """A finding, and what a panel's quorum has ruled on it; ``None`` while it is open."""

    finding: Finding
    ruling: said.Outcome | None

    @property
    def open(self) -> bool:
        """Whether it still weighs: nobody has ruled, or the ruling upholds it."""
        return self.ruling in {None, said.Outcome.UPHELD}

    @property
    def awaits_ruling(self) -> bool:
        """Whether a panel has to rule on it."""
        return self.ruling is None and self.finding.severity in {Severity.BREACH, Severity.ANOMALY}


@dataclass(frozen=True, slots=True)
class PartyVerdict:
    """What an audit concludes of one party.

    ``account`` is of the whole period; ``telemetry`` the labels under which its windows were made; ``why`` are the
    reasons for the conclusion, in words.
    """

    party: str
    conclusion: Conclusion
    why: tuple[str, ...]
    member: bool
    telemetry: tuple[str, ...]
    trust: Trust
    nodes: int
    account: PartyAccount
    metered_flop: float | None
    """The most that meters which others hold allow; ``None`` where they are not trusted, or say nothing."""
    duties: tuple[Duty, ...]
    rhythm: Rhythm | None
    false_alarm_per_year: float
    cannot_see: tuple[str, ...]
    findings: tuple[RuledFinding, ...]

    @property
    def detection_limit_flop(self) -> float:
        """The most that could be hidden from the evidence: what can have run, less what is proved."""
        hidden = self.account.detection_limit_flop
        if self.metered_flop is None:
            return hidden
        return max(0.0, min(hidden, self.metered_flop - self.account.lower_flop))

    @property
    def open_findings(self) -> tuple[str, ...]:
        """Ids of the findings on which a panel has to rule."""
        return tuple(ruled.finding.id for ruled in self.findings if ruled.awaits_ruling)


@dataclass(frozen=True, slots=True)
class Log:
    """The log that was read: origin, size, root; and until when its ticks tell the time."""

    origin: str
    size: int
    root: bytes
    known_until_ms: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit concludes. Digests are 32 bytes, times Unix milliseconds.

    ``time`` says on whose word the log's time rests.
    """

    agreement_id: str
    agreement: bytes
    rehearsal: bool
    logs: tuple[Log, ...]
    time: str
    bodies_root: bytes
    ruleset: bytes
    period: Span
    stage: Stage
    stage_since_ms: int
    parties: tuple[PartyVerdict, ...]
    ledger_findings: tuple[Finding, ...]


def conclude(
    agreement_bytes: bytes,
    evidence: Evidence,
    period: Span,
    ruleset: Ruleset,
    executor: Executor = ALONE,
) -> Verdict:
    """Return the verdict on every party to an agreement over ``period``, Unix ms, end excluded.

    Work is shared out over ``executor``, on which the verdict does not depend.

    Raises :class:`AuditError` when the period is none, or the agreement names another chip table than the ruleset's,
    :class:`AgreementError` when the bytes are no agreement, and what :func:`verifier.workers.share_out` does.
    """
    agreement = parse_agreement(agreement_bytes)
    if period[0] >= period[1]:
        raise AuditError("BAD_PERIOD", "the period ends before it starts: give FROM/TO")
    if agreement.chip_table not in {None, ruleset.table.digest}:
        raise AuditError(
            "OTHER_CHIP_TABLE",
            f"the agreement names the chip table sha256:{(agreement.chip_table or b'').hex()}, and this ruleset has "
            f"sha256:{ruleset.table.digest.hex()}",
        )
    return _Audit(agreement, evidence, period, ruleset, executor).conclude()


class _Audit:
    """What the audit of every party shares."""

    def __init__(
        self,
        agreement: Agreement,
        evidence: Evidence,
        period: Span,
        ruleset: Ruleset,
        executor: Executor,
    ) -> None:
        self.executor = executor
        self.agreement = agreement
        self.evidence = evidence
        self.period = period
        self.ruleset = ruleset
        self.heard = events_from(agreement, evidence.said)
        self.calendar = read_calendar(agreement, self.heard, evidence.as_of_ms)
        ledger = LedgerCase(agreement, evidence, period)
        self.ledger_findings = fold(
            found for check in LEDGER_CHECKS for found in check.find(ledger)
        )

    def conclude(self) -> Verdict:
        agreement, evidence = self.agreement, self.evidence
        known = evidence.as_of_ms
        at_end = replay(agreement, self.heard, min(self.period[1], known))
        windows = [
            party_windows(agreement, evidence, party, self.period, self.ruleset.table)
            for party in agreement.parties
        ]
        shared = shared_chips(windows)
        prefix = evidence.prefix
        return Verdict(
            agreement_id=agreement.id,
            agreement=agreement.digest,
            rehearsal=agreement.rehearsal,
            logs=(Log(prefix.origin, prefix.size, prefix.root, known),),
            time=_time(agreement),
            bodies_root=bodies_root(evidence, windows),
            ruleset=self.ruleset.digest,
            period=self.period,
            stage=at_end.stage,
            stage_since_ms=at_end.since_ms,
            parties=tuple(
                self.conclude_party(party, read, shared)
                for party, read in zip(agreement.parties, windows, strict=True)
            ),
            ledger_findings=self.ledger_findings,
        )

    def conclude_party(
        self, party: Party, windows: PartyWindows, shared: tuple[SharedChips, ...]
    ) -> PartyVerdict:
        period, table = self.period, self.ruleset.table
        meters = meter_records(self.agreement, self.evidence.said, windows)
        duties = assess_duties(
            self.agreement,
            self.calendar,
            windows,
            period,
            table,
            meters=meters,
            executor=self.executor,
        )
        trust = _trust(duties)
        account = account_over(
            windows.windows, windows.expected, [period], table, trust, executor=self.executor
        )
        metered = most_metered(meters, windows, [period], table) if trust is Trust.METERS else None
        rhythm = find_rhythm(windows.windows.nodes, _capped(duties) or [period], self.executor)
        case = PartyCase(
            self.agreement,
            self.evidence,
            party,
            period,
            table,
            windows,
            account,
            duties,
            rhythm,
            shared,
        )
        rulings = {
            finding.id: finding.ruling
            for finding in self.calendar.state.findings
            if finding.party == party.id
        }
        findings = tuple(
            RuledFinding(found, rulings.get(found.id))
            for found in fold(one for check in CHECKS for one in check.find(case))
        )
        member = any(
            start < period[1] and period[0] < end for start, end in self.calendar.members[party.id]
        )
        breaches = _breaches(duties, findings)
        conclusion, why = Conclusion.VIOLATION, breaches
        if not breaches:
            conclusion, why = _unless_breached(member, duties, findings, self.ledger_findings)
        if conclusion is Conclusion.NOT_ASSESSED and member:
            why = [*why, *_unread(windows)]
        verdict = PartyVerdict(
            party=party.id,
            conclusion=conclusion,
            why=tuple(why),
            member=member,
            telemetry=windows.telemetry,
            trust=trust,
            nodes=len(windows.nodes),
            account=account,
            metered_flop=metered,
            duties=duties,
            rhythm=rhythm,
            false_alarm_per_year=self.agreement.false_alarms_per_party_year,
            cannot_see=(),
            findings=findings,
        )
        trusts = {duty.obligation.trust for duty in duties} or {trust}
        hidden = verdict.detection_limit_flop
        return replace(
            verdict,
            cannot_see=(
                *self._unseen_before(duties, party.id),
                *_cannot_see(self.agreement, windows, trusts, hidden),
            ),
        )

    def _unseen_before(self, duties: Sequence[Duty], party: str) -> Iterator[str]:
        """Yield what a cap counts and the audited period leaves out: a cap is over the whole of its stage."""
        for duty in duties:
            if duty.obligation.measure is Measure.TRAINING_FLOP:
                until = (0, self.period[1])
                bound = duty_spans(self.agreement, self.calendar, duty.obligation, party, until)
                if bound[0][0] < self.period[0]:
                    yield (
                        f"what ran from {rfc3339(bound[0][0])} on until the period begins, which {duty.obligation.id} "
                        "counts too"
                    )


def bodies_root(evidence: Evidence, windows: Iterable[PartyWindows]) -> bytes:
    """Return the RFC 6962 root over the body digests that a verdict rests on, in log order."""
    records = evidence.records
    row_of = {int(index): row for row, index in enumerate(records.index.tolist())}
    rows = {row_of[statement.index] for statement in evidence.said}
    rows |= {opening.row for opening in evidence.openings}
    rows |= {inventory.row for inventory in evidence.inventories}
    for read in windows:
        rows |= set(read.admitting_rows.tolist())
    used = np.array(sorted(rows), dtype=np.int64)
    used = used[records.kind[used] != int(Kind.TICK)]
    levels = build_levels(Digests(records.table["body_digest"][used].tobytes()).rows())
    return root_hash(len(used), lambda level, index: levels[level][index])


def _breaches(duties: Sequence[Duty], findings: Sequence[RuledFinding]) -> list[str]:
    """Return why a party is in violation, if it is.

    A violated obligation whose finding a panel has dismissed, or found put right, weighs no more. What a panel upheld
    weighs as a breach whatever it was before.
    """
    told = {ruled.finding.obligation for ruled in findings}
    breaches = [
        f"{ruled.finding.summary} [{ruled.finding.id}]"
        for ruled in findings
        if ruled.open
        and (ruled.finding.severity is Severity.BREACH or ruled.ruling is said.Outcome.UPHELD)
    ]
    return breaches + [
        f"obligation {duty.obligation.id} is violated"
        for duty in duties
        if duty.outcome is Outcome.VIOLATED and duty.obligation.id not in told
    ]


def _unless_breached(
    member: bool,
    duties: Sequence[Duty],
    findings: Sequence[RuledFinding],
    ledger_findings: Sequence[Finding],
) -> tuple[Conclusion, list[str]]:
    """Return what is concluded of a party that is not in violation, and why: the first that applies."""
    unjudged = _unjudged(member, duties)
    if unjudged is not None:
        return Conclusion.NOT_ASSESSED, [unjudged]
    open_findings = [ruled.finding for ruled in findings if ruled.open]
    anomalies = [
        f"{found.summary} [{found.id}]"
        for found in open_findings
        if found.severity is Severity.ANOMALY
    ]
    if anomalies:
        return Conclusion.ANOMALY, anomalies
    doubts = [
        f"obligation {duty.obligation.id}: {duty.reason}"
        for duty in duties
        if duty.outcome is Outcome.UNRESOLVED
    ]
    doubts += [
        f"{found.summary} [{found.id}]"
        for found in (*open_findings, *ledger_findings)
        if found.severity is Severity.DOUBT and found.obligation is None
    ]
    if not any(duty.obligation.measure is Measure.COVERAGE for duty in duties) and not all(
        duty.account.coverage >= 1 for duty in duties
    ):
        doubts.append("there is time without evidence, and the agreement allows none")
    if doubts:
        return Conclusion.UNRESOLVED, doubts
    return Conclusion.COMPLIANT, _kept(duties, findings)


def _kept(duties: Sequence[Duty], findings: Sequence[RuledFinding]) -> list[str]:
    """Return why a party is compliant: what it kept, and what a panel excused."""
    excused = [
        f"{_what(ruled.finding)}: the panel ruled {ruled.finding.id} {ruled.ruling.value}"
        for ruled in findings
        if ruled.ruling in {said.Outcome.DISMISSED, said.Outcome.REMEDIED}
    ]
    if all(duty.outcome is Outcome.KEPT for duty in duties):
        return ["every obligation was kept", *excused]
    return ["every obligation was kept, but for what a panel excused", *excused]


def _what(finding: Finding) -> str:
    return finding.check if finding.obligation is None else f"obligation {finding.obligation}"


def _unjudged(member: bool, duties: Sequence[Duty]) -> str | None:
    """Return why nothing can be said of a party; ``None`` when something can."""
    if not member:
        return "the party was no member in this period: it owed nothing"
    if not duties:
        return "no obligation bound the party in this period"
    if not any(_has_evidence(duty.account) for duty in duties):
        return "there is no evidence of the party's chips"
    return None


def _has_evidence(account: PartyAccount) -> bool:
    return not math.isnan(account.coverage) and account.coverage > 0


def _trust(duties: Sequence[Duty]) -> Trust:
    """Return what the party's account rests on: the least that any of its caps trusts."""
    caps = [d.obligation.trust for d in duties if d.obligation.measure is Measure.TRAINING_FLOP]
    return Trust.METERS if Trust.METERS in caps else Trust.COUNTERS


def _capped(duties: Sequence[Duty]) -> list[Span]:
    """Return when training was capped; empty when it was not."""
    caps = [duty for duty in duties if duty.obligation.measure is Measure.TRAINING_FLOP]
    return list(caps[0].spans) if caps else []


def _time(agreement: Agreement) -> str:
    if _witnessed(agreement):
        return "the log's time is the median of its witnesses'"
    return "the log's time, and that all see one log, are its operator's own word: no witness has to cosign it"


def _witnessed(agreement: Agreement) -> bool:
    return agreement.pins.policy.quorum is not None


_BOUND_BY: Final[Mapping[Term, str]] = {
    Term.PEAK_TIME: "peak times time",
    Term.PIPES_CLOCK: "the activity of the pipes at the logged clock",
    Term.ENERGY_FLOOR: "energy at the least energy of an operation",
}


def bound_by(term: Term) -> str:
    """Return a term of the upper bound in words."""
    return _BOUND_BY[term]


def _unread(windows: PartyWindows) -> Iterator[str]:
    """Yield what could not be read for want of a key."""
    for name, count in sorted(windows.unread.items()):
        yield f"what {count} windows say: they are sealed to {name}, and this audit holds no key of a reader"


def _cannot_see(
    agreement: Agreement, windows: PartyWindows, trusts: Collection[Trust], hidden_flop: float
) -> Iterable[str]:
    if Trust.COUNTERS in trusts:
        yield "a driver or agent that lies: outcomes hold if the party's own counters are true"
    if Trust.METERS in trusts:
        metered = any(meter.party == windows.party for meter in agreement.meters)
        yield (
            "what chips did: peak times time and metered energy are all that meters tell; and a meter that lies"
            if metered
            else "what chips did: only peak times time is known, as the agreement names no meter that others hold"
        )
    yield from _unread(windows)
    if hidden_flop > 0:
        yield f"up to {hidden_flop:.3g} FLOP beyond what is proved"
    if not _witnessed(agreement):
        yield "a log that shows two auditors two histories, or is wrong about time: no witness has to cosign it"
    else:
        yield "a log that shows two histories, or is wrong about time, with a whole quorum of witnesses in league"
    for label in windows.telemetry:
        if label != "live":
            yield f"what chips did while this was made: the telemetry is {label}"
    if any(duty.scope is not Scope.PARTY for duty in agreement.obligations):
        yield "chips that moved between nodes or sites without a word"
    yield from NOT_DETECTABLE
