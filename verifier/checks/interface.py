"""What a check is, what it is given, and what it finds."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import numpy as np

from verifier.accounts.chips import ChipTable
from verifier.accounts.obligations import Assessment, Outcome
from verifier.accounts.party import PartyAccount
from verifier.agreement.model import Agreement, Obligation, Party
from verifier.evidence.claims import SharedChips
from verifier.evidence.gather import Evidence
from verifier.evidence.records import Bools
from verifier.evidence.windows import PartyWindows
from verifier.rhythm import Rhythm

MOST_CITED: Final = 8
"""Statements that one finding cites; its summary says how many there are."""

Span = tuple[int, int]
"""Time [start, end), Unix milliseconds."""


class CheckClass(Enum):
    """On what a finding rests."""

    EXACT = "exact"
    """Signatures, hashes or logic: the check's file argues why an honest author cannot make it fire."""
    STATISTICAL = "statistical"
    """A measure beyond a threshold, with a stated rate of false alarms."""
    OUTSIDE = "outside"
    """Not detectable here: said, never found."""


class Severity(Enum):
    """What a finding does to a verdict while no panel has ruled on it."""

    BREACH = "breach"
    """The party is in violation."""
    ANOMALY = "anomaly"
    """The party's verdict is an anomaly until a panel rules."""
    DOUBT = "doubt"
    """The party cannot be compliant: the evidence does not decide."""
    NOTE = "note"
    """Nothing: for people to know."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A statement that a finding rests on: its place in the log, and its statement id."""

    index: int
    statement_id: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    ``subject`` names whom or what it is about within the party (a node, an obligation), or within the log;
    [``from_ms``, ``to_ms``) is when. ``evidence`` is at most :data:`MOST_CITED` statements. ``notes`` are signed
    checkpoints, where those are the proof. ``obligation`` is set where the finding is that one is violated.
    """

    id: str
    check: str
    cls: CheckClass
    severity: Severity
    subject: str
    from_ms: int
    to_ms: int
    summary: str
    evidence: tuple[Citation, ...]
    notes: tuple[bytes, ...] = ()
    obligation: str | None = None


@dataclass(frozen=True, slots=True)
class Duty:
    """An obligation as it bound a party within the audited period, and how it stands.

    ``spans`` is when it bound: its stage was in force and the party a member. ``account`` is of that time.
    ``reason`` says why it is unresolved.
    """

    obligation: Obligation
    spans: tuple[Span, ...]
    account: PartyAccount
    assessment: Assessment
    outcome: Outcome
    reason: str | None


@dataclass(frozen=True, slots=True)
class PartyCase:
    """What a check of a party is given.

    ``account`` is of the whole period, ``duties`` of when each bound, ``rhythm`` of when training was capped.
    ``shared`` are the chips that were shown twice, in which a number of a party is its place in the agreement.
    ``names`` are how people call those who speak for the party, by their keys' digests.
    """

    agreement: Agreement
    evidence: Evidence = field(repr=False)
    party: Party
    period: Span
    table: ChipTable = field(repr=False)
    windows: PartyWindows = field(repr=False)
    account: PartyAccount = field(repr=False)
    duties: tuple[Duty, ...] = field(repr=False)
    rhythm: Rhythm | None
    shared: tuple[SharedChips, ...] = field(repr=False)
    names: Mapping[bytes, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Name those who speak for the party once: checks ask for every statement."""
        nodes = {
            node.node_id: f"node {node.name} ({node.node_id.hex()[:12]})"
            for node in self.windows.nodes
        }
        names = {self.party.key: f"party {self.party.id}", **nodes}
        recovery = self.agreement.pins.by_key[self.party.key].recovery
        if recovery is not None:
            names[recovery] = f"recovery key of party {self.party.id}"
        object.__setattr__(self, "names", names)

    def authors(self) -> AbstractSet[bytes]:
        """Return those who speak for the party: its own key, the recovery key behind it, and its nodes."""
        return self.names.keys()

    def name(self, author: bytes) -> str:
        """Return how people call one of the party's authors."""
        return self.names[author]

    def logged_within(self) -> Bools:
        """Return which records were logged in the period, its grace included."""
        records, time = self.evidence.records, self.evidence.time
        logged = np.clip(
            records.logged_at_ms,
            time.not_before_ms[records.index],
            time.not_after_ms[records.index],
        )
        end = self.period[1] + self.agreement.pins.late_grace_ms
        within: Bools = (self.period[0] <= logged) & (logged < end)
        return within

    def said_within(self, row: int) -> bool:
        """Return whether a record was logged in the period, its grace included."""
        records = self.evidence.records
        logged = self.evidence.time.clamp(int(records.index[row]), int(records.logged_at_ms[row]))
        return self.period[0] <= logged < self.period[1] + self.agreement.pins.late_grace_ms


@dataclass(frozen=True, slots=True)
class LedgerCase:
    """What a check of the ledger is given."""

    agreement: Agreement
    evidence: Evidence = field(repr=False)
    period: Span


@dataclass(frozen=True, slots=True)
class Check:
    """A check. ``looks_for``, ``cites`` and ``argument`` are for people.

    ``argument`` says, of an exact check, why it cannot fire on the honest; of a statistical one, at what rate it does.
    ``version`` goes up when what it finds may change: it is part of the ruleset's digest.
    """

    id: str
    version: int
    cls: CheckClass
    looks_for: str
    cites: str
    argument: str
    find: Callable[[PartyCase], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """A check of the log itself; see :class:`Check`."""

    id: str
    version: int
    cls: CheckClass
    looks_for: str
    cites: str
    argument: str
    find: Callable[[LedgerCase], Iterable[Finding]]


def finding_id(check: str, whose: str, subject: str, from_ms: int) -> str:
    """Return a finding's id: the same for the same thing in every audit that sees as much of it.

    A ruling speaks of an id. So ``subject`` must name how much was found wherever that may grow: what was ruled on
    must not excuse what came after it.
    """
    named = "\n".join((check, whose, subject, str(from_ms)))
    return f"{check}-{hashlib.sha256(named.encode()).hexdigest()[:12]}"


def cite(evidence: Evidence, rows: Sequence[int]) -> tuple[Citation, ...]:
    """Return citations of rows of the records, the first few in log order."""
    records = evidence.records
    return tuple(
        Citation(int(records.index[row]), records.ids[row])
        for row in sorted(set(rows))[:MOST_CITED]
    )
