"""What tests ask of an audit of a log in memory."""

from collections.abc import Mapping

from tests.unit.verifier.logbook import Logbook, Pause
from verifier.accounts.obligations import Outcome
from verifier.checks.interface import Finding
from verifier.ruleset import Ruleset
from verifier.verdict import PartyVerdict, Verdict, conclude


def audit(book: Logbook, period: tuple[int, int], ruleset: Ruleset) -> Verdict:
    return conclude(book.text.encode(), book.evidence(), period, ruleset)


def party_of(verdict: Verdict, name: str) -> PartyVerdict:
    return next(party for party in verdict.parties if party.party == name)


def verdict_on(pause: Pause, ruleset: Ruleset, name: str) -> PartyVerdict:
    return party_of(audit(pause.book, pause.in_force, ruleset), name)


def outcomes(party: PartyVerdict) -> Mapping[str, Outcome]:
    return {duty.obligation.id: duty.outcome for duty in party.duties}


def found(party: PartyVerdict, check: str) -> list[Finding]:
    """Return what a check found of a party."""
    return [ruled.finding for ruled in party.findings if ruled.finding.check == check]
