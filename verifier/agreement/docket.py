"""The panel's docket: findings that await a ruling, and what a quorum ruled.

A finding stays open until a quorum agrees: a later verdict that no longer mentions it does not close it, since an
audit of another period has nothing to say about this one. A vote counts when it names a verdict that holds the
finding; each member has one vote, its newest. What a quorum once ruled stands until a quorum rules otherwise.

A verdict lists the findings that await a ruling, and each of them blocks the lift, whatever the verdict concluded: a
party that then goes silent is "not assessed", and must not get rid of its anomaly that way. A panel that misses its
deadline does not unblock: silence relaxes nothing.
"""

from dataclasses import dataclass, field, replace

from verifier.agreement.events import Outcome, Replied, Ruled, VerdictLogged
from verifier.agreement.model import Panel


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about a party, as verdicts list it.

    ``due_ms`` is when the ruling is due; ``ruling`` is what a quorum ruled, with the votes in ``statement_ids``.
    """

    id: str
    party: str
    since_ms: int
    due_ms: int
    verdicts: tuple[bytes, ...]
    replies: tuple[bytes, ...] = ()
    ruling: Outcome | None = None
    ruled_ms: int | None = None
    statement_ids: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Docket:
    """Findings and votes so far, fed in log order."""

    panel: Panel
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)
    _votes: dict[tuple[str, str], dict[str, Ruled]] = field(default_factory=dict)

    def hear_verdict(self, verdict: VerdictLogged, at_ms: int) -> None:
        """Open the findings that a verdict lists, or note that it lists them too."""
        for row in verdict.parties:
            for name in row.open_findings:
                key = (row.party, name)
                known = self.findings.get(key) or Finding(
                    name, row.party, at_ms, at_ms + self.panel.ruling_deadline_ms, ()
                )
                self.findings[key] = replace(
                    known, verdicts=(*known.verdicts, verdict.statement_id)
                )

    def hear_reply(self, reply: Replied) -> None:
        """Note that the party answered."""
        key = (reply.party, reply.finding)
        known = self.findings.get(key)
        if known is not None and reply.verdict in known.verdicts:
            self.findings[key] = replace(known, replies=(*known.replies, reply.statement_id))

    def hear_ruling(self, vote: Ruled, at_ms: int) -> None:
        """Count a vote; rule when a quorum agrees."""
        key = (vote.party, vote.finding)
        known = self.findings.get(key)
        if known is None or vote.verdict not in known.verdicts:
            return
        if not self.panel.may_rule(vote.adjudicator, vote.party):
            return
        votes = self._votes.setdefault(key, {})
        votes[vote.adjudicator] = vote
        agreeing = [v.statement_id for v in votes.values() if v.outcome is vote.outcome]
        if len(agreeing) >= self.panel.quorum and known.ruling is not vote.outcome:
            self.findings[key] = replace(
                known, ruling=vote.outcome, ruled_ms=at_ms, statement_ids=tuple(agreeing)
            )

    def blocking(self, members: frozenset[str]) -> tuple[Finding, ...]:
        """Return the findings against members that a lift must wait for."""
        return tuple(
            finding
            for finding in self.findings.values()
            if finding.ruling is None and finding.party in members
        )
