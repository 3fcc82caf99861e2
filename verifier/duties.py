"""What a party owed within the audited period, and whether the evidence shows that it kept it. Pure.

An obligation is judged over the intersection of the audited period, the time for which its stage was in force, and the
time for which the party was a member. Nothing is *kept* on a log that is not known past the period's end and grace.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

from verifier.accounts.chips import ChipTable
from verifier.accounts.columns import Windows
from verifier.accounts.expected import ExpectedNode
from verifier.accounts.metered import MeterRecord
from verifier.accounts.node import NodeAccount
from verifier.accounts.obligations import (
    Assessment,
    Outcome,
    assess_coverage_floor,
    assess_training_cap,
)
from verifier.accounts.party import PartyAccount, account_nodes, sum_up
from verifier.agreement.events import Event
from verifier.agreement.lifecycle import AgreementState, StageSpan, replay, stage_spans
from verifier.agreement.model import Agreement, Measure, Obligation, Scope, Trust
from verifier.checks.interface import Duty, Span
from verifier.evidence.windows import PartyWindows
from verifier.metering import most_metered
from verifier.workers import ALONE

_HAND_OVER: Final = "whoever holds the bodies can hand them over (audit run --bodies)"


@dataclass(frozen=True, slots=True)
class Calendar:
    """An agreement's life as the log tells it: its stages, and when each party was a member.

    ``known_until_ms`` is the newest tick: a period can be assessed when that is past its end and grace.
    """

    state: AgreementState
    stages: tuple[StageSpan, ...]
    members: Mapping[str, tuple[Span, ...]]
    known_until_ms: int
    grace_ms: int

    def assessable(self, period: Span) -> bool:
        """Return whether the log is known far enough for windows of a period to be late."""
        return self.known_until_ms >= period[1] + self.grace_ms


def read_calendar(agreement: Agreement, events: Sequence[Event], as_of_ms: int) -> Calendar:
    """Return an agreement's life until ``as_of_ms``."""
    state = replay(agreement, events, as_of_ms)
    return Calendar(
        state=state,
        stages=stage_spans(state),
        members=state.memberships,
        known_until_ms=as_of_ms,
        grace_ms=agreement.pins.late_grace_ms,
    )


def duty_spans(
    agreement: Agreement, calendar: Calendar, duty: Obligation, party: str, period: Span
) -> tuple[Span, ...]:
    """Return when a duty bound a party within a period."""
    spans = [
        (max(span.from_ms, member[0], period[0]), min(span.to_ms, member[1], period[1]))
        for span in calendar.stages
        if duty in agreement.duties(span.stage, party)
        for member in calendar.members[party]
    ]
    return tuple(_joined(span for span in spans if span[0] < span[1]))


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Return spans with those that touch made one, in order."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def account_over(
    windows: Windows,
    expected: Sequence[ExpectedNode],
    spans: Sequence[Span],
    table: ChipTable,
    trust: Trust,
    *,
    executor: Executor = ALONE,
) -> PartyAccount:
    """Return the account of nodes over the time of all ``spans`` together; at least one."""
    parts = [
        account_nodes(windows, expected, span, table, trust, executor=executor) for span in spans
    ]
    return _sum([node for part in parts for node in part], spans, trust)


def _sum(nodes: Sequence[NodeAccount], spans: Sequence[Span], trust: Trust) -> PartyAccount:
    whole = sum_up(nodes, (spans[0][0], spans[-1][1]), trust)
    chips = {node.index: node.chips for node in nodes}
    return replace(whole, chips=sum(chips.values()))


def assess_duties(
    agreement: Agreement,
    calendar: Calendar,
    windows: PartyWindows,
    period: Span,
    table: ChipTable,
    *,
    meters: Sequence[MeterRecord],
    executor: Executor = ALONE,
) -> tuple[Duty, ...]:
    """Return every duty that bound a party within a period, and how it stands.

    ``meters`` are the records of meters that others hold and that measure all of its chips; empty where none do.
    """
    assessor = _Assessor(calendar, windows, period, table, meters, executor=executor)
    found = [
        (obligation, duty_spans(agreement, calendar, obligation, windows.party, period))
        for obligation in agreement.obligations
    ]
    return tuple(assessor.assess(obligation, spans) for obligation, spans in found if spans)


class _Assessor:
    """Judges one party's duties; accounts of nodes are worked out once for each time and trust."""

    def __init__(
        self,
        calendar: Calendar,
        windows: PartyWindows,
        period: Span,
        table: ChipTable,
        meters: Sequence[MeterRecord],
        *,
        executor: Executor,
    ) -> None:
        self.executor = executor
        self.meters = meters
        self.calendar = calendar
        self.windows = windows
        self.period = period
        self.table = table
        self._known: dict[tuple[tuple[Span, ...], Trust, int], list[NodeAccount]] = {}

    def assess(self, obligation: Obligation, spans: tuple[Span, ...]) -> Duty:
        whole = self._account(obligation, spans, None)
        judge = self._judge_floor if obligation.measure is Measure.COVERAGE else self._judge_cap
        worst = max(
            (judge(obligation, spans, group) for group in self._groups(obligation.scope)),
            key=lambda one: _badness(one, obligation.measure),
        )
        outcome, reason = worst.outcome, None
        # What is proved needs no more of the log; that something is missing does, since it may still come in time.
        proved = outcome is Outcome.VIOLATED and obligation.measure is not Measure.COVERAGE
        if not proved and not self.calendar.assessable(self.period):
            outcome = Outcome.UNRESOLVED
            reason = (
                "the log is not known far enough: a tick is wanted past the period's end and the grace of "
                f"{self.calendar.grace_ms / 1000:.0f} s"
            )
        elif outcome is Outcome.UNRESOLVED:
            reason = self._reason(obligation, worst, whole)
        return Duty(obligation, spans, whole, worst, outcome, reason)

    def _account(
        self,
        obligation: Obligation,
        spans: tuple[Span, ...],
        group: frozenset[int] | None,
        windows: Windows | None = None,
    ) -> PartyAccount:
        """Return the account of a group of nodes, by index; of all for ``None``."""
        trust = obligation.trust
        windows = windows or self.windows.windows
        key = (spans, trust, id(windows))
        if key not in self._known:
            expected = self.windows.expected
            self._known[key] = [
                node
                for span in spans
                for node in account_nodes(
                    windows, expected, span, self.table, trust, executor=self.executor
                )
            ]
        nodes = [node for node in self._known[key] if group is None or node.index in group]
        return _sum(nodes, spans, trust)

    def _judge_cap(
        self, obligation: Obligation, spans: tuple[Span, ...], group: frozenset[int]
    ) -> Assessment:
        """Judge a cap. What was logged late is held against the party, and never for it."""
        account = self._account(obligation, spans, group)
        metered = self._metered(obligation, spans)
        assessment = assess_training_cap(account, obligation.limit, metered)
        if self.windows.admitting is not self.windows.windows:
            admitted = self._account(obligation, spans, group, self.windows.admitting)
            against = assess_training_cap(admitted, obligation.limit, metered)
            lower = max(assessment.measured_lower, against.measured_lower)
            upper = max(assessment.measured_upper, lower)
            if against.outcome is Outcome.VIOLATED:
                return replace(against, measured_lower=lower, measured_upper=upper)
            assessment = replace(assessment, measured_lower=lower, measured_upper=upper)
        if not account.expected_chip_s:
            return replace(assessment, outcome=Outcome.UNRESOLVED)
        return assessment

    def _metered(self, obligation: Obligation, spans: tuple[Span, ...]) -> float | None:
        """Return the most FLOP that meters allow the party as a whole; ``None`` where they say nothing of its cap."""
        if obligation.trust is not Trust.METERS or obligation.scope is not Scope.PARTY:
            return None
        return most_metered(self.meters, self.windows, spans, self.table)

    def _judge_floor(
        self, obligation: Obligation, spans: tuple[Span, ...], group: frozenset[int]
    ) -> Assessment:
        """Judge a floor under coverage; a shortfall for which others may be to blame is not yet violated.

        These are ticks that are wanting, keys that this audit lacks, and what the log does not serve or hold.
        """
        account = self._account(obligation, spans, group)
        known = self.calendar.known_until_ms
        assessment = assess_coverage_floor(account, obligation.limit, obligation.cure_ms, known)
        if assessment.outcome is not Outcome.VIOLATED:
            return assessment
        excused = account
        if self.windows.untimed:
            excused = self._account(obligation, spans, group, self.windows.excused)
        closed = self._closed_chip_s(spans, group) / account.expected_chip_s
        if self.windows.speechless or excused.coverage + closed >= obligation.limit:
            return replace(assessment, outcome=Outcome.UNRESOLVED)
        return assessment

    def _closed_chip_s(self, spans: tuple[Span, ...], group: frozenset[int]) -> float:
        """Return the chip time of windows that were said in time, and not read: silence is none of it."""
        expected = {node.index: node for node in self.windows.expected if node.index in group}
        return math.fsum(
            max(0, min(end, due[1]) - max(start, due[0])) / 1000 * len(expected[node].models)
            for node, start, end in self.windows.closed
            if node in expected
            for due in map(expected[node].span, spans)
        )

    def _groups(self, scope: Scope) -> list[frozenset[int]]:
        """Return the nodes over which an obligation is summed, each group by itself; at least one group."""
        expected = self.windows.expected
        if scope is Scope.PARTY or not expected:
            return [frozenset(node.index for node in expected)]
        groups: dict[str, set[int]] = {}
        for node in expected:
            name = node.node_id
            if scope is Scope.SITE and node.index < len(self.windows.nodes):
                name = f"site {self.windows.nodes[node.index].site}"
            groups.setdefault(name, set()).add(node.index)
        return [frozenset(group) for group in groups.values()]

    @property
    def _kept_back(self) -> str:
        """What the log keeps back of the party, in words; empty when that is nothing."""
        windows = self.windows
        unserved = [
            f"{count} {what}"
            for count, what in (
                (windows.speechless, "public statements of the party and its nodes"),
                (windows.withheld, "windows"),
            )
            if count
        ]
        if unserved:
            return f"the log does not serve what {' and '.join(unserved)} say: {_HAND_OVER}"
        if windows.dropped:
            return (
                f"{windows.dropped} statements of its nodes are not in the log, which no honest one leaves out: they "
                "may be what is missing"
            )
        return ""

    def _reason(self, obligation: Obligation, worst: Assessment, account: PartyAccount) -> str:
        if not account.expected_chip_s:
            return "no chip of the party had to be accounted for: none is enrolled"
        if obligation.measure is not Measure.COVERAGE:
            return (
                f"between {worst.measured_lower:.3g} and {worst.measured_upper:.3g} FLOP were executed, as far as the "
                "evidence tells, and the cap lies between"
            )
        if self._kept_back:
            return self._kept_back
        if self.windows.unread:
            classes = ", ".join(sorted(self.windows.unread))
            return f"windows are sealed to {classes}, and this audit holds no key of a reader"
        if self.windows.untimed:
            return "ticks are wanting that would tell whether windows were logged in time"
        return "the floor is missed, and may still be cured"


def _badness(assessment: Assessment, measure: Measure) -> tuple[int, float]:
    """Order assessments, worst last: violated, unresolved, kept; then by the most of a cap, the least of a floor."""
    rank = {Outcome.KEPT: 0, Outcome.UNRESOLVED: 1, Outcome.VIOLATED: 2}[assessment.outcome]
    measured = assessment.measured_upper
    if math.isnan(measured):
        return rank, -math.inf
    return rank, -measured if measure is Measure.COVERAGE else measured
