"""An agreement as the verifier uses it: frozen, in one unit a dimension (milliseconds, FLOP, H100e, shares 0 to 1).

:mod:`verifier.agreement.schema` reads these from TOML; ``docs/agreements.md`` says what each means.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from statements.pins import Pins
from verifier.agreement.membership import Terms


class Stage(Enum):
    """Where an agreement is in its life."""

    PROPOSED = "proposed"
    ARMED = "armed"
    NOTICED = "noticed"
    WINDING_DOWN = "winding_down"
    IN_FORCE = "in_force"
    LIFTING = "lifting"
    LIFTED = "lifted"
    SUSPENDED = "suspended"
    LAPSED = "lapsed"


class Measure(Enum):
    """What an obligation is about."""

    TRAINING_FLOP = "training_flop"
    """A cap on training-capable operations executed over the stage, FLOP."""
    COVERAGE = "coverage"
    """A floor under the share of chip-time with evidence, 0 to 1."""


class Scope(Enum):
    """Over what an obligation is summed."""

    PARTY = "party"
    SITE = "site"
    NODE = "node"


class Trust(Enum):
    """Which evidence an obligation is judged by."""

    METERS = "meters"
    """Peak times time, and energy from meters whose keys the party does not hold."""
    COUNTERS = "counters"
    """Also the party's own activity, clocks and energy counters: "if its counters are true"."""


@dataclass(frozen=True, slots=True)
class Party:
    """One who accedes: ``key`` is SHA-256 of the SPKI; ``declared_h100e`` is its declared compute, H100e."""

    id: str
    name: str
    key: bytes
    jurisdiction: str
    declared_h100e: float
    affiliates: tuple[str, ...]
    accedes_if: Terms


@dataclass(frozen=True, slots=True)
class Meter:
    """An energy meter of a party's sites, whose key the party does not hold.

    ``systematic_bound`` is the most that it is wrong by, as a share: an error that no averaging takes away.
    """

    id: str
    party: str
    sites: tuple[str, ...]
    systematic_bound: float


@dataclass(frozen=True, slots=True)
class Indicator:
    """A number that facts assert, in ``unit``.

    It has a value once ``signers`` distinct evaluators have asserted one; with ``report_every_ms`` an assertion older
    than that no longer counts, and the indicator is overdue when too few are left.
    """

    id: str
    title: str
    unit: str
    source: str
    evaluators: tuple[str, ...]
    signers: int
    report_every_ms: int | None


@dataclass(frozen=True, slots=True)
class Panel:
    """Who rules on findings: ``quorum`` members who agree, each without a conflict with the party concerned."""

    members: tuple[str, ...]
    quorum: int
    ruling_deadline_ms: int
    conflicts: Mapping[str, frozenset[str]]

    def may_rule(self, adjudicator: str, party: str) -> bool:
        """Return whether a member's vote on a party counts."""
        return adjudicator in self.members and party not in self.conflicts.get(adjudicator, ())


@dataclass(frozen=True, slots=True)
class Durations:
    """How long stages last; ``in_force_ms`` is the least, the others are exact. Milliseconds."""

    notice_ms: int
    winding_down_ms: int
    in_force_ms: int
    lifting_ms: int


@dataclass(frozen=True, slots=True)
class Obligation:
    """A duty in some stages: a cap or a floor (by its measure) of ``limit``, FLOP or a share.

    ``cure_ms`` is how long a shortfall may last before it is a violation.
    """

    id: str
    stages: frozenset[Stage]
    measure: Measure
    scope: Scope
    limit: float
    cure_ms: int
    trust: Trust
    aspirational: bool
    parties: tuple[str, ...] | None
    """Whom it binds; ``None``: every member."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """An agreement. ``digest`` is the SHA-256 of its bytes, which names it; ``pins`` are the keys in it."""

    id: str
    version: int
    title: str
    digest: bytes
    rehearsal: bool
    pins: Pins
    witness_fault_bound: int
    """How many witnesses may lie."""
    ledger_witnesses: tuple[str, ...]
    """Witnesses that the logs' own operators run: they vouch for nothing."""
    parties: tuple[Party, ...]
    evaluators: tuple[str, ...]
    adjudicators: tuple[str, ...]
    verifiers: tuple[str, ...]
    meters: tuple[Meter, ...]
    indicators: tuple[Indicator, ...]
    trigger: str
    lift: str
    lift_requires_rulings: bool
    panel: Panel
    durations: Durations
    withdrawal_notice_ms: int
    membership_cure_ms: int
    obligations: tuple[Obligation, ...]
    false_alarms_per_party_year: float
    chip_table: bytes | None

    def party(self, party_id: str) -> Party | None:
        """Return a party by its id, or ``None``."""
        return next((party for party in self.parties if party.id == party_id), None)

    def duties(self, stage: Stage, party: str) -> tuple[Obligation, ...]:
        """Return the obligations that bind a member in a stage.

        In ``suspended`` the duties of the stage that was suspended go on, as
        :func:`verifier.agreement.lifecycle.stage_spans` tells; where that is not known, those of ``in_force``.
        """
        judged = Stage.IN_FORCE if stage is Stage.SUSPENDED else stage
        return tuple(
            duty
            for duty in self.obligations
            if judged in duty.stages and (duty.parties is None or party in duty.parties)
        )
