"""The one table of an agreement's life: every transition there is, each with its guard.

::

    proposed ──armed──> armed ──trigger──> noticed ──> winding_down ──> in_force ──lift──> lifting ──> lifted
       <──disarmed──┘                          │             │              │  <──relapse──┘ │
                                               └─────────────┴──suspended <─┴────────────────┘
                                                                    ├──restored──> where it was
                                                                    └──lapsed──> lapsed

``lifted`` and ``lapsed`` are final. No guard relaxes a duty on a condition that is undetermined, and none looks at
whether a party breached: a breach by one ends nobody else's duties. Notice and winding down run on while they are
suspended, so that leaving and coming back does not put off the pause; time in force and the ramp begin anew. Rows are
tried in order, and the first that fires is taken.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from verifier.agreement.conditions import Truth
from verifier.agreement.docket import Finding
from verifier.agreement.model import Agreement, Stage

Evidence = tuple[bytes, ...]
"""Ids of the statements by which a guard holds; empty when time alone does."""


@dataclass(frozen=True, slots=True)
class View:
    """What guards look at: one instant of one agreement.

    ``members`` are bound now; ``supported`` are those in the greatest fixed point now, which loses a party at once
    where ``members`` keeps it through its cure period. ``evidence`` maps ``members``, ``trigger`` and ``lift`` to the
    statements behind each.
    """

    agreement: Agreement
    stage: Stage
    since_ms: int
    now_ms: int
    members: frozenset[str]
    supported: frozenset[str]
    trigger: Truth
    lift: Truth
    blocking: tuple[Finding, ...]
    suspended_from: Stage | None
    evidence: Mapping[str, Evidence]


Guard = Callable[[View], Evidence | None]
"""Returns the evidence when the row fires, else ``None``."""


@dataclass(frozen=True, slots=True)
class Row:
    """A transition: its stable name, from where, to where, and when."""

    name: str
    source: Stage
    target: Stage
    guard: Guard


def _somebody_in(view: View) -> Evidence | None:
    return view.evidence["members"] if view.supported else None


def _nobody_in(view: View) -> Evidence | None:
    return None if view.members else view.evidence["members"]


def _support_lost(view: View) -> Evidence | None:
    return None if view.supported else view.evidence["members"]


def _triggered(view: View) -> Evidence | None:
    return view.evidence["trigger"] if view.supported and view.trigger is Truth.TRUE else None


def _notice_over(view: View) -> Evidence | None:
    return _after(view, view.agreement.durations.notice_ms)


def _wound_down(view: View) -> Evidence | None:
    return _after(view, view.agreement.durations.winding_down_ms)


def _may_lift(view: View) -> Evidence | None:
    if _after(view, view.agreement.durations.in_force_ms) is None:
        return None
    return _lift_stands(view)


def _lift_over(view: View) -> Evidence | None:
    if _after(view, view.agreement.durations.lifting_ms) is None:
        return None
    return _lift_stands(view)


def _relapsed(view: View) -> Evidence | None:
    return view.evidence["lift"] if view.lift is Truth.FALSE else None


def _lift_stands(view: View) -> Evidence | None:
    if view.lift is not Truth.TRUE:
        return None
    if view.agreement.lift_requires_rulings and view.blocking:
        return None
    return view.evidence["lift"]


def _after(view: View, duration_ms: int) -> Evidence | None:
    return () if view.now_ms - view.since_ms >= duration_ms else None


def _restored(stage: Stage) -> Guard:
    def guard(view: View) -> Evidence | None:
        return _somebody_in(view) if view.suspended_from is stage else None

    return guard


_BINDING = (Stage.NOTICED, Stage.WINDING_DOWN, Stage.IN_FORCE, Stage.LIFTING)

TRANSITIONS: tuple[Row, ...] = (
    Row("armed", Stage.PROPOSED, Stage.ARMED, _somebody_in),
    Row("disarmed", Stage.ARMED, Stage.PROPOSED, _nobody_in),
    *(Row(f"lapsed-{stage.value}", stage, Stage.LAPSED, _nobody_in) for stage in _BINDING),
    Row("lapsed-suspended", Stage.SUSPENDED, Stage.LAPSED, _nobody_in),
    *(Row(f"suspended-{stage.value}", stage, Stage.SUSPENDED, _support_lost) for stage in _BINDING),
    *(
        Row(f"restored-{stage.value}", Stage.SUSPENDED, stage, _restored(stage))
        for stage in _BINDING
    ),
    Row("triggered", Stage.ARMED, Stage.NOTICED, _triggered),
    Row("notice-over", Stage.NOTICED, Stage.WINDING_DOWN, _notice_over),
    Row("wound-down", Stage.WINDING_DOWN, Stage.IN_FORCE, _wound_down),
    Row("lift", Stage.IN_FORCE, Stage.LIFTING, _may_lift),
    Row("relapse", Stage.LIFTING, Stage.IN_FORCE, _relapsed),
    Row("lifted", Stage.LIFTING, Stage.LIFTED, _lift_over),
)
"""Every transition, in the order in which rows are tried."""


def next_row(view: View) -> tuple[Row, Evidence] | None:
    """Return the first row that fires, and why; ``None`` when the stage stays."""
    for row in TRANSITIONS:
        if row.source is view.stage:
            evidence = row.guard(view)
            if evidence is not None:
                return row, evidence
    return None
