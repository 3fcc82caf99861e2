from dataclasses import dataclass

import pytest
from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import governance_pb2 as pb
from statements.pins import Role
from verifier.agreement.events import (
    Acceded,
    Conclusion,
    FactPublished,
    Outcome,
    Replied,
    Ruled,
    VerdictLogged,
    Withdrawn,
    events_from,
)
from verifier.agreement.model import Agreement
from verifier.agreement.parse import parse_agreement

ID = b"\1" * 32
OTHER = b"\2" * 32


@dataclass(frozen=True)
class Statement:
    role: Role
    name: str
    message: Message
    statement_id: bytes = ID
    logged_ms: int = 7


@pytest.fixture(scope="module")
def agreement(text: str) -> Agreement:
    return parse_agreement(text.encode())


def test_each_kind_becomes_its_event(agreement: Agreement) -> None:
    mine = agreement.digest
    fact = pb.Fact(agreement=mine, indicator="task_horizon", value=16.0, source="METR")
    row = pb.PartyOutcome(
        party="borealis", conclusion=pb.PartyOutcome.CONCLUSION_ANOMALY, open_findings=["f"]
    )
    ruling = pb.Ruling(
        agreement=mine,
        finding="f",
        verdict=OTHER,
        party="borealis",
        outcome=pb.Ruling.OUTCOME_UPHELD,
    )
    said = [
        Statement(Role.PARTY, "aurora", pb.Accession(agreement=mine, party="aurora")),
        Statement(Role.PARTY, "aurora", pb.Withdrawal(agreement=mine, party="aurora")),
        Statement(Role.EVALUATOR, "meridian", fact),
        Statement(Role.VERIFIER, "auditor", pb.Verdict(agreement=mine, parties=[row])),
        Statement(Role.PARTY, "borealis", pb.Reply(finding="f", verdict=OTHER, text="no")),
        Statement(Role.ADJUDICATOR, "judge-tanaka", ruling),
    ]
    found = events_from(agreement, said)
    kinds = [Acceded, Withdrawn, FactPublished, VerdictLogged, Replied, Ruled]
    assert [type(event) for event in found] == kinds
    assert all((event.at_ms, event.statement_id) == (7, ID) for event in found)
    verdict, ruled = found[3], found[5]
    assert isinstance(verdict, VerdictLogged)
    assert verdict.parties[0].conclusion is Conclusion.ANOMALY
    assert isinstance(ruled, Ruled)
    assert ruled.outcome is Outcome.UPHELD


def ruling(agreement: Agreement, **changes: str | int | bytes) -> pb.Ruling:
    message = pb.Ruling(
        agreement=agreement.digest,
        finding="f",
        verdict=OTHER,
        party="borealis",
        outcome=pb.Ruling.OUTCOME_UPHELD,
    )
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def fact(agreement: Agreement, **changes: str | float | bytes) -> pb.Fact:
    message = pb.Fact(agreement=agreement.digest, indicator="task_horizon", value=16.0)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def test_what_someone_may_not_say_is_no_event(agreement: Agreement) -> None:
    mine = agreement.digest
    said = [
        Statement(Role.PARTY, "aurora", pb.Accession(agreement=mine, party="cygnus")),
        Statement(Role.PARTY, "aurora", pb.Accession(agreement=OTHER, party="aurora")),
        Statement(Role.EVALUATOR, "meridian", pb.Accession(agreement=mine, party="meridian")),
        Statement(Role.PARTY, "aurora", pb.Withdrawal(agreement=mine, party="cygnus")),
        Statement(Role.PARTY, "aurora", fact(agreement)),
        Statement(Role.EVALUATOR, "stranger", fact(agreement)),
        Statement(Role.EVALUATOR, "meridian", fact(agreement, indicator="horizon")),
        Statement(Role.EVALUATOR, "meridian", fact(agreement, value=float("nan"))),
        Statement(Role.EVALUATOR, "meridian", fact(agreement, value=1e300)),
        Statement(
            Role.EVALUATOR,
            "meridian",
            pb.Fact(agreement=OTHER, indicator="task_horizon", value=16.0),
        ),
        Statement(Role.EVALUATOR, "meridian", pb.Fact(agreement=mine, indicator="task_horizon")),
        Statement(Role.PARTY, "aurora", pb.Verdict(agreement=mine)),
        Statement(Role.PARTY, "aurora", ruling(agreement)),
        Statement(Role.ADJUDICATOR, "judge-nobody", ruling(agreement)),
        Statement(Role.ADJUDICATOR, "judge-tanaka", ruling(agreement, outcome=0)),
        Statement(Role.ADJUDICATOR, "judge-tanaka", ruling(agreement, outcome=99)),
        Statement(Role.ADJUDICATOR, "judge-tanaka", ruling(agreement, party="nobody")),
        Statement(Role.ADJUDICATOR, "judge-tanaka", ruling(agreement, finding="")),
    ]
    for statement in said:
        assert events_from(agreement, [statement]) == (), statement


def test_a_conclusion_that_is_not_known_is_not_compliance(agreement: Agreement) -> None:
    row = pb.PartyOutcome(party="borealis")
    verdict = pb.Verdict(agreement=agreement.digest, parties=[row])
    (event,) = events_from(agreement, [Statement(Role.VERIFIER, "auditor", verdict)])
    assert isinstance(event, VerdictLogged)
    assert event.parties[0].conclusion is Conclusion.UNRESOLVED
