"""The first half of either story: parties accede, facts arrive, the trigger fires, the pause enters into force."""

from typing import Final

from simulator.demo.expectations import Expectations
from simulator.demo.narration import Narrator, clock_text
from simulator.demo.rehearsal import CLOCK_START_MS, Rehearsal
from simulator.demo.timeline import Timeline
from verifier.agreement.conditions import Truth
from verifier.agreement.lifecycle import AgreementState
from verifier.agreement.model import Stage

SOURCE: Final = "When AI builds itself, The Anthropic Institute, 2026"
FACTS: Final = (
    ("task_horizon", 16.0, "tasks of at least 16 h done with 50 % reliability"),
    ("training_speedup", 52.0, "a training script made about 52x faster"),
    ("ai_merged_code", 80.0, "over 80 % of merged code written by AI"),
)
"""Published indicators: id, value in its unit, and what it says; all from SOURCE."""
FIRST_SIGNER, SECOND_SIGNER = "meridian", "northlight"
_PATIENCE_MS: Final = 30 * 60_000


class Opening:
    """Takes a rehearsal from accession to entry into force, and checks each step as it is told."""

    def __init__(
        self,
        rehearsal: Rehearsal,
        timeline: Timeline,
        narrator: Narrator,
        expectations: Expectations,
    ) -> None:
        self._rehearsal = rehearsal
        self._timeline = timeline
        self._narrator = narrator
        self._expectations = expectations

    def seen(self, after_ms: int) -> AgreementState:
        """Return the agreement's state once the log has told the time past ``after_ms``."""

        def look() -> AgreementState | None:
            state = self._rehearsal.state()
            return state if state is not None and state.now_ms > after_ms else None

        return self._timeline.wait_for(look, "the log's next tick", by_ms=after_ms + _PATIENCE_MS)

    def reached(self, *stages: Stage) -> AgreementState:
        """Return the agreement's state once it is in one of ``stages``."""

        def look() -> AgreementState | None:
            state = self._rehearsal.state()
            return state if state is not None and state.stage in stages else None

        now = self._rehearsal.clock.now_ms()
        return self._timeline.wait_for(
            look, f"the agreement is {stages[0].value}", by_ms=now + _PATIENCE_MS
        )

    def accede(self) -> None:
        """Have the parties accede; none is in until all have."""
        *first, last = [party.id for party in self._rehearsal.agreement.parties]
        for party in first:
            self._rehearsal.accede(party)
        state = self.seen(self._rehearsal.clock.now_ms())
        waiting = ", ".join(first)
        self._narrator.say(f"{waiting} accede, each only if others do; in: {_names(state)}")
        self._expectations.expect(
            f"nobody is in while {last} has not acceded", not state.members, _names(state)
        )
        self._rehearsal.accede(last)
        state = self.seen(self._rehearsal.clock.now_ms())
        self._narrator.say(
            f"{last} accedes; in: {_names(state)}. Nobody went first. The agreement is "
            f"{state.stage.value}"
        )
        self._expectations.expect(
            "all are in once all have acceded",
            len(state.members) == len(first) + 1 and state.stage is Stage.ARMED,
            f"{_names(state)}; {state.stage.value}",
        )

    def trigger(self) -> AgreementState:
        """Have two evaluators sign the published indicators; return the state once the trigger has fired."""
        for indicator, value, words in FACTS:
            self._rehearsal.assert_fact(FIRST_SIGNER, indicator, value, SOURCE)
            self._narrator.say(f"{FIRST_SIGNER} signs: {words}")
        state = self.seen(self._rehearsal.clock.now_ms())
        self._narrator.say(f"one signer is not enough: the trigger is {state.trigger.value}")
        self._expectations.expect(
            "one signer does not fire the trigger",
            state.stage is Stage.ARMED and state.trigger is Truth.UNDETERMINED,
            f"{state.stage.value}; trigger {state.trigger.value}",
        )
        for indicator, value, _ in FACTS:
            self._rehearsal.assert_fact(SECOND_SIGNER, indicator, value, SOURCE)
        self._narrator.say(f"{SECOND_SIGNER} signs the same three, independently")
        state = self.reached(Stage.NOTICED, Stage.WINDING_DOWN)
        self._narrator.say(f"the trigger fires: notice since {clock_text(state.since_ms)}")
        self._expectations.expect(
            "the trigger fires with the second signer",
            any(fired.row == "triggered" for fired in state.history),
            state.stage.value,
        )
        return state

    def in_force_ms(self, state: AgreementState) -> int:
        """Return when the pause enters into force, once the trigger has fired."""
        fired = next(one for one in state.history if one.row == "triggered")
        durations = self._rehearsal.agreement.durations
        return fired.at_ms + durations.notice_ms + durations.winding_down_ms

    def enter_into_force(self) -> AgreementState:
        """Return the state once the pause binds."""
        state = self.reached(Stage.WINDING_DOWN, Stage.IN_FORCE)
        self._narrator.say("notice is over: the labs wind down")
        state = self.reached(Stage.IN_FORCE)
        self._narrator.say(f"the pause is in force, since {clock_text(state.since_ms)}")
        self._expectations.expect(
            "the pause enters into force after notice and wind-down",
            [one.row for one in state.history]
            == ["armed", "triggered", "notice-over", "wound-down"],
            ", ".join(one.row for one in state.history),
        )
        return state


def minutes(after_start: float) -> int:
    """Return the instant so many minutes after the rehearsal's clock began, Unix milliseconds."""
    return CLOCK_START_MS + round(after_start * 60_000)


def _names(state: AgreementState) -> str:
    return ", ".join(state.members) or "nobody yet"
