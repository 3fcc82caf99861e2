"""The end of the simulated story: reply, rulings, the lift's condition; and why neither alone lifts the pause."""

from typing import Final

from simulator.demo.auditing import Audit
from simulator.demo.expectations import Expectations
from simulator.demo.narration import Narrator
from simulator.demo.opening import FIRST_SIGNER, SECOND_SIGNER, Opening
from simulator.demo.rehearsal import Rehearsal
from verifier.agreement.conditions import Truth
from verifier.agreement.docket import Finding
from verifier.agreement.model import Stage

INDICATOR, VALUE, WORDS = "sabotage_caught", 99.2, "99.2 % of planted sabotage caught"
_SOURCE: Final = "the evaluators' own protocol: an example, no series is published"
JUDGES: Final = ("judge-adeyemi", "judge-tanaka")


class Lifting:
    """Takes a rehearsal from its verdict to the lift, and checks each step as it is told."""

    def __init__(
        self,
        rehearsal: Rehearsal,
        narrator: Narrator,
        expectations: Expectations,
        opening: Opening,
    ) -> None:
        self._rehearsal = rehearsal
        self._narrator = narrator
        self._expectations = expectations
        self._opening = opening

    def reply(self, audit: Audit, party: str) -> None:
        """Have a party answer the first finding about it that the panel must weigh."""
        finding = next(one for one in self._blocking() if one.party == party)
        self._rehearsal.reply(party, finding.id, audit.statement_id, "this run was begun before")
        self._narrator.say(f'{party} replies to finding {finding.id}: "this run was begun before"')

    def meet_condition(self) -> None:
        """Have the lift's condition met while findings are open: the pause stays in force."""
        for signer in (FIRST_SIGNER, SECOND_SIGNER):
            self._rehearsal.assert_fact(signer, INDICATOR, VALUE, _SOURCE)
        self._narrator.say(
            f"{FIRST_SIGNER} and {SECOND_SIGNER} sign: {WORDS}, which the lift asks for"
        )
        state = self._opening.seen(self._rehearsal.clock.now_ms())
        waiting = len(state.blocking)
        dwelt = state.now_ms - state.since_ms >= self._rehearsal.agreement.durations.in_force_ms
        self._narrator.say(
            f"the condition holds, and findings that await the panel: {waiting}. The pause stays in force"
        )
        self._expectations.expect(
            "the lift's condition alone does not lift the pause",
            state.lift is Truth.TRUE and dwelt and waiting > 0 and state.stage is Stage.IN_FORCE,
            f"{state.stage.value}; condition {state.lift.value}; {waiting} findings open",
        )

    def rule(self, audit: Audit) -> None:
        """Have the panel uphold every open finding, one judge after the other; the second makes the quorum."""
        findings = self._blocking()
        listed = " and ".join(finding.id for finding in findings)
        first, second = JUDGES
        self._vote(first, findings, audit)
        state = self._opening.seen(self._rehearsal.clock.now_ms())
        self._narrator.say(f"{first} upholds {listed}: one vote of the two needed")
        self._expectations.expect(
            "one judge's votes rule nothing",
            state.stage is Stage.IN_FORCE and len(state.blocking) == len(findings),
            f"{state.stage.value}; {len(state.blocking)} findings open",
        )
        self._vote(second, findings, audit)
        self._narrator.say(f"{second} upholds {listed}, too: the panel has ruled")

    def lift(self) -> None:
        """See the pause lifted, now that both the ruling and the condition are there."""
        state = self._opening.reached(Stage.LIFTING, Stage.LIFTED)
        self._narrator.say("ruling and condition are both there: the pause is lifting")
        state = self._opening.reached(Stage.LIFTED)
        self._narrator.say("the ramp is over: the pause is lifted")
        rows = [one.row for one in state.history]
        self._expectations.expect(
            "the pause is lifted after the ruling and its condition",
            rows[-2:] == ["lift", "lifted"],
            ", ".join(rows),
        )

    def _blocking(self) -> tuple[Finding, ...]:
        state = self._opening.seen(self._rehearsal.clock.now_ms())
        return state.blocking

    def _vote(self, judge: str, findings: tuple[Finding, ...], audit: Audit) -> None:
        for finding in findings:
            self._rehearsal.uphold(
                judge, finding.party, finding.id, audit.statement_id, "the evidence bears it out"
            )
