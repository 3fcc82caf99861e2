"""What moves an agreement: who acceded, what was observed, found and ruled; each with its statement.

:func:`events_from` is the gate: a statement that names another agreement, or whose signer may not say such a thing, is
no event. A statement that changes nothing is not an error: anyone whom a ledger admits may log anything of their kind.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import governance_pb2
from statements.pins import Role
from verifier.agreement.conditions import usable
from verifier.agreement.model import Agreement


class Said(Protocol):
    """A verified statement: its id, whose it is, what it says, and when it was logged (Unix milliseconds)."""

    @property
    def statement_id(self) -> bytes:
        """SHA-256 that names it."""
        ...

    @property
    def role(self) -> Role:
        """In what capacity its key is pinned."""
        ...

    @property
    def name(self) -> str:
        """Id of its author in the agreement."""
        ...

    @property
    def message(self) -> Message:
        """Its decoded body."""
        ...

    @property
    def logged_ms(self) -> int:
        """When it was logged."""
        ...


class Conclusion(Enum):
    """What an audit concluded of a party."""

    COMPLIANT = "compliant"
    VIOLATION = "violation"
    ANOMALY = "anomaly"
    UNRESOLVED = "unresolved"
    NOT_ASSESSED = "not_assessed"


class Outcome(Enum):
    """An adjudicator's vote on a finding."""

    UPHELD = "upheld"
    DISMISSED = "dismissed"
    REMEDIED = "remedied"


@dataclass(frozen=True, slots=True)
class Acceded:
    """A party acceded, on its terms."""

    at_ms: int
    statement_id: bytes
    party: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A party gave notice that it leaves."""

    at_ms: int
    statement_id: bytes
    party: str


@dataclass(frozen=True, slots=True)
class FactPublished:
    """An evaluator asserted an indicator's value, in the indicator's unit."""

    at_ms: int
    statement_id: bytes
    indicator: str
    signer: str
    value: float


@dataclass(frozen=True, slots=True)
class PartyConclusion:
    """What a verdict concluded of one party, and the ids of its findings that await a ruling."""

    party: str
    conclusion: Conclusion
    open_findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerdictLogged:
    """A pinned verifier logged a verdict."""

    at_ms: int
    statement_id: bytes
    verifier: str
    parties: tuple[PartyConclusion, ...]


@dataclass(frozen=True, slots=True)
class Replied:
    """A party answered a finding."""

    at_ms: int
    statement_id: bytes
    party: str
    finding: str
    verdict: bytes


@dataclass(frozen=True, slots=True)
class Ruled:
    """A panel member without a conflict voted on a finding about a party."""

    at_ms: int
    statement_id: bytes
    adjudicator: str
    party: str
    finding: str
    verdict: bytes
    outcome: Outcome


Event: TypeAlias = Acceded | Withdrawn | FactPublished | VerdictLogged | Replied | Ruled
"""What moves an agreement."""

_CONCLUSIONS = {
    governance_pb2.PartyOutcome.CONCLUSION_COMPLIANT: Conclusion.COMPLIANT,
    governance_pb2.PartyOutcome.CONCLUSION_VIOLATION: Conclusion.VIOLATION,
    governance_pb2.PartyOutcome.CONCLUSION_ANOMALY: Conclusion.ANOMALY,
    governance_pb2.PartyOutcome.CONCLUSION_UNRESOLVED: Conclusion.UNRESOLVED,
    governance_pb2.PartyOutcome.CONCLUSION_NOT_ASSESSED: Conclusion.NOT_ASSESSED,
}
_OUTCOMES = {
    governance_pb2.Ruling.OUTCOME_UPHELD: Outcome.UPHELD,
    governance_pb2.Ruling.OUTCOME_DISMISSED: Outcome.DISMISSED,
    governance_pb2.Ruling.OUTCOME_REMEDIED: Outcome.REMEDIED,
}


def events_from(agreement: Agreement, said: Iterable[Said]) -> tuple[Event, ...]:
    """Return the events among verified statements, in the order given (the log's)."""
    found = (_event(agreement, statement) for statement in said)
    return tuple(event for event in found if event is not None)


def _event(agreement: Agreement, said: Said) -> Event | None:  # noqa: PLR0911 - one return a kind
    message = said.message
    at, ident = said.logged_ms, said.statement_id
    # A reply has no digest of its own: the verdict that it names binds it.
    named = getattr(message, "agreement", agreement.digest)
    if named != agreement.digest:
        return None
    match (said.role, message):
        case (Role.PARTY, governance_pb2.Accession(party=party)) if party == said.name:
            return Acceded(at, ident, party)
        case (Role.PARTY, governance_pb2.Withdrawal(party=party)) if party == said.name:
            return Withdrawn(at, ident, party)
        case (Role.PARTY, governance_pb2.Reply()):
            return Replied(at, ident, said.name, message.finding, message.verdict)
        case (Role.EVALUATOR, governance_pb2.Fact()):
            return _fact(agreement, said, message)
        case (Role.VERIFIER, governance_pb2.Verdict()):
            return VerdictLogged(at, ident, said.name, _conclusions(agreement, message))
        case (Role.ADJUDICATOR, governance_pb2.Ruling()):
            return _ruling(agreement, said, message)
        case _:
            return None


def _fact(agreement: Agreement, said: Said, fact: governance_pb2.Fact) -> FactPublished | None:
    for indicator in agreement.indicators:
        if indicator.id == fact.indicator:
            known = said.name in indicator.evaluators
            if known and fact.HasField("value") and usable(fact.value):
                return FactPublished(
                    said.logged_ms, said.statement_id, indicator.id, said.name, fact.value
                )
    return None


def _conclusions(
    agreement: Agreement, verdict: governance_pb2.Verdict
) -> tuple[PartyConclusion, ...]:
    return tuple(
        PartyConclusion(
            row.party,
            # A conclusion of a later version says nothing good: the evidence does not decide.
            _CONCLUSIONS.get(row.conclusion, Conclusion.UNRESOLVED),
            tuple(row.open_findings),
        )
        for row in verdict.parties
        if agreement.party(row.party) is not None
    )


def _ruling(agreement: Agreement, said: Said, ruling: governance_pb2.Ruling) -> Ruled | None:
    outcome = _OUTCOMES.get(ruling.outcome)
    if (
        outcome is None
        or not ruling.finding
        or agreement.party(ruling.party) is None
        or not agreement.panel.may_rule(said.name, ruling.party)
    ):
        return None
    return Ruled(
        said.logged_ms,
        said.statement_id,
        said.name,
        ruling.party,
        ruling.finding,
        ruling.verdict,
        outcome,
    )
