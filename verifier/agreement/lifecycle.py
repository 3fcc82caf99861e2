"""An agreement's life, replayed: the same events always give the same stages.

Pure: the log's events and an instant go in. Time moves from one instant at which something can change to the next:
an event, the end of a stage, of a withdrawal's notice, of a cure period, or of the time for which a fact counts.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from verifier.agreement.conditions import (
    Aggregate,
    Assertion,
    Condition,
    Truth,
    aggregate,
    compile_condition,
)
from verifier.agreement.docket import Docket, Finding
from verifier.agreement.events import (
    Acceded,
    Event,
    FactPublished,
    Replied,
    Ruled,
    VerdictLogged,
    Withdrawn,
)
from verifier.agreement.membership import Standing, greatest_fixed_point
from verifier.agreement.model import Agreement, Stage
from verifier.agreement.transitions import TRANSITIONS, Evidence, View, next_row


@dataclass(frozen=True, slots=True)
class Fired:
    """A transition that happened: the row's name, from where, to where, when, and the statements that fired it."""

    row: str
    source: Stage
    target: Stage
    at_ms: int
    statement_ids: tuple[bytes, ...]


Period: TypeAlias = tuple[int, int]
"""From an instant (included) to another (excluded); Unix milliseconds."""


@dataclass(frozen=True, slots=True)
class AgreementState:
    """Where an agreement is at an instant, and how it came there.

    ``members`` are those bound, in the agreement's order; ``undetermined`` are the places of conditions that hang on a
    value nobody has; ``blocking`` are the findings that a lift waits for, among ``findings``.
    """

    stage: Stage
    since_ms: int
    began_ms: int
    now_ms: int
    members: tuple[str, ...]
    history: tuple[Fired, ...]
    indicators: Mapping[str, Aggregate]
    trigger: Truth
    lift: Truth
    undetermined: tuple[str, ...]
    findings: tuple[Finding, ...]
    blocking: tuple[Finding, ...]
    leaving: Mapping[str, int]
    """When each withdrawal that is under notice takes effect."""
    memberships: Mapping[str, tuple[Period, ...]]
    """When each party to the text was bound, oldest first, until the state's instant."""


@dataclass(frozen=True, slots=True)
class StageSpan:
    """The stage whose duties bind, from an instant (included) to another (excluded); Unix milliseconds.

    While suspended that is the stage that was suspended: a loss of members neither relaxes a duty nor adds one.
    """

    stage: Stage
    from_ms: int
    to_ms: int
    suspended: bool = False


def replay(agreement: Agreement, events: Sequence[Event], now_ms: int) -> AgreementState:
    """Return where an agreement is at ``now_ms``, given its log's events in log order.

    Events logged later than ``now_ms`` have not happened yet. An event whose time is before that of one already logged
    happened, for this purpose, when that one did: the log's order rules.
    """
    return _Replay(agreement, events, now_ms).run()


def stage_spans(state: AgreementState) -> tuple[StageSpan, ...]:
    """Return the stages that bound until the state's instant, oldest first, without empty ones."""
    edges = [(state.began_ms, Stage.PROPOSED, False)]
    for fired in state.history:
        suspended = fired.target is Stage.SUSPENDED
        edges.append((fired.at_ms, fired.source if suspended else fired.target, suspended))
    ends = [at for at, _, _ in edges[1:]] + [state.now_ms]
    return tuple(
        StageSpan(stage, start, end, suspended)
        for (start, stage, suspended), end in zip(edges, ends, strict=True)
        if end > start
    )


_CLOCK_RUNS_ON = frozenset({Stage.NOTICED, Stage.WINDING_DOWN})
"""Stages whose time runs on while they are suspended: nobody puts off the pause by leaving and coming back."""


class _Replay:
    """The moving parts of one replay."""

    def __init__(self, agreement: Agreement, events: Sequence[Event], now_ms: int) -> None:
        self.agreement = agreement
        self.end = now_ms
        self.events: list[tuple[int, Event]] = []
        at = 0
        for event in events:
            at = max(at, event.at_ms)
            if at <= now_ms:
                self.events.append((at, event))
        self.began = self.events[0][0] if self.events else now_ms
        self.stage, self.since = Stage.PROPOSED, self.began
        self.suspended_from: Stage | None = None
        self.suspended_since = self.began
        self.watching_since = self.began
        self.acceded: dict[str, bytes] = {}
        self.leaving: dict[str, tuple[int, bytes]] = {}
        self.gone: dict[str, bytes] = {}
        self.unsupported_since: dict[str, int] = {}
        self.members: frozenset[str] = frozenset()
        self.bound_since: dict[str, int] = {}
        self.memberships: dict[str, list[Period]] = {party.id: [] for party in agreement.parties}
        self.newest: dict[str, dict[str, Assertion]] = {i.id: {} for i in agreement.indicators}
        self.docket = Docket(agreement.panel)
        self.history: list[Fired] = []
        self.instants: list[int] = [now_ms, *(at for at, _ in self.events)]
        heapq.heapify(self.instants)
        names = [indicator.id for indicator in agreement.indicators]
        self.trigger = compile_condition(agreement.trigger, names, "trigger.condition")
        self.lift = compile_condition(agreement.lift, names, "lift.condition")
        self.terms = {party.id: party.accedes_if for party in agreement.parties}
        self.standings = {
            party.id: Standing(party.jurisdiction, party.declared_h100e)
            for party in agreement.parties
        }

    def run(self) -> AgreementState:
        position, last = 0, -1
        while self.instants:
            now = heapq.heappop(self.instants)
            if now > self.end:
                break
            if now == last:
                continue
            last = now
            while position < len(self.events) and self.events[position][0] <= now:
                self._hear(self.events[position][1], now)
                position += 1
            self._settle(now)
        view = self._view(self.end)
        truths = {"trigger.condition": view.trigger, "lift.condition": view.lift}
        return AgreementState(
            stage=self.stage,
            since_ms=self.since,
            began_ms=self.began,
            now_ms=self.end,
            members=tuple(p.id for p in self.agreement.parties if p.id in self.members),
            history=tuple(self.history),
            indicators=self._aggregates(self.end),
            trigger=view.trigger,
            lift=view.lift,
            undetermined=tuple(k for k, v in truths.items() if v is Truth.UNDETERMINED),
            findings=tuple(self.docket.findings.values()),
            blocking=view.blocking,
            leaving={party: at for party, (at, _) in self.leaving.items()},
            memberships={
                party: (*spans, (self.bound_since[party], self.end))
                if self.bound_since.get(party, self.end) < self.end
                else tuple(spans)
                for party, spans in self.memberships.items()
            },
        )

    def _hear(self, event: Event, now: int) -> None:
        match event:
            case Acceded(statement_id=ident, party=party):
                self.acceded[party] = ident
                self.leaving.pop(party, None)
                self.gone.pop(party, None)
            case Withdrawn(statement_id=ident, party=party):
                if party in self.acceded and party not in self.leaving:
                    # Nobody is bound before the agreement is armed: there is nothing to give notice of.
                    bound = self.stage is not Stage.PROPOSED
                    due = now + (self.agreement.withdrawal_notice_ms if bound else 0)
                    self.leaving[party] = (due, ident)
                    self._wake(due)
            case FactPublished(indicator=name, signer=signer, value=value, statement_id=ident):
                self.newest[name][signer] = Assertion(signer, value, now, ident)
                for indicator in self.agreement.indicators:
                    if indicator.id == name and indicator.report_every_ms is not None:
                        self._wake(now + indicator.report_every_ms + 1)
            case VerdictLogged():
                self.docket.hear_verdict(event, now)
            case Replied():
                self.docket.hear_reply(event)
            case Ruled():
                self.docket.hear_ruling(event, now)

    def _settle(self, now: int) -> None:
        """Take rows until none fires; each row at most once an instant."""
        taken: set[str] = set()
        self._count_members(now)
        while len(taken) < len(TRANSITIONS):
            found = next_row(self._view(now))
            if found is None or found[0].name in taken:
                return
            row, evidence = found
            taken.add(row.name)
            since = now
            if row.target is Stage.SUSPENDED:
                self.suspended_from, self.suspended_since = self.stage, self.since
            elif self.stage is Stage.SUSPENDED and row.target in _CLOCK_RUNS_ON:
                since = self.suspended_since
            if row.target is Stage.ARMED:
                self.watching_since = now
                for indicator in self.agreement.indicators:
                    if indicator.report_every_ms is not None:
                        self._wake(now + indicator.report_every_ms + 1)
            self.history.append(Fired(row.name, row.source, row.target, now, evidence))
            self.stage, self.since = row.target, since
            durations = self.agreement.durations
            ends = {
                Stage.NOTICED: durations.notice_ms,
                Stage.WINDING_DOWN: durations.winding_down_ms,
                Stage.IN_FORCE: durations.in_force_ms,
                Stage.LIFTING: durations.lifting_ms,
            }
            if self.stage in ends:
                self._wake(max(now, since + ends[self.stage]))

    def _count_members(self, now: int) -> None:
        for party, (due, ident) in list(self.leaving.items()):
            if due <= now:
                del self.leaving[party], self.acceded[party]
                self.gone[party] = ident
        supported = self._supported()
        bound = set(supported)
        for party in self.members - supported:
            if party not in self.acceded:
                continue  # left of its own accord, after its notice
            since = self.unsupported_since.setdefault(party, now)
            ends = since + self.agreement.membership_cure_ms
            if now < ends:
                bound.add(party)
                self._wake(ends)
        for party in self.members - bound:
            since = self.bound_since.pop(party)
            if since < now:
                self.memberships[party].append((since, now))
        for party in bound - self.members:
            self.bound_since[party] = now
        self.members = frozenset(bound)
        self.unsupported_since = {
            party: since
            for party, since in self.unsupported_since.items()
            if party in self.members and party not in supported
        }

    def _supported(self) -> frozenset[str]:
        return greatest_fixed_point(set(self.acceded), self.terms, self.standings)

    def _aggregates(self, now: int) -> dict[str, Aggregate]:
        return {
            indicator.id: aggregate(
                indicator, tuple(self.newest[indicator.id].values()), now, self.watching_since
            )
            for indicator in self.agreement.indicators
        }

    def _view(self, now: int) -> View:
        seen = self._aggregates(now)
        supported = self._supported()
        spoken = [self.acceded[p] for p in self.acceded if p in supported | self.members]
        return View(
            agreement=self.agreement,
            stage=self.stage,
            since_ms=self.since,
            now_ms=now,
            members=self.members,
            supported=supported,
            trigger=self.trigger.evaluate(seen),
            lift=self.lift.evaluate(seen),
            blocking=self.docket.blocking(self.members),
            suspended_from=self.suspended_from,
            evidence={
                "members": tuple(spoken) if supported else tuple(self.gone.values()),
                "trigger": _behind(self.trigger, seen),
                "lift": _behind(self.lift, seen),
            },
        )

    def _wake(self, at: int) -> None:
        heapq.heappush(self.instants, at)


def _behind(condition: Condition, seen: Mapping[str, Aggregate]) -> Evidence:
    found = [ident for name in condition.indicators for ident in seen[name].statement_ids]
    return tuple(dict.fromkeys(found))
