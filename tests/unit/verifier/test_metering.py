"""A lab that forges its counters: compliant if its counters are true, and not before a meter that others hold."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from protos.stillwatch.statement.v1 import summary_pb2
from statements.rotation import recovery
from statements.signing import SigningKey
from tests.unit.verifier.auditing import audit, found, outcomes, party_of, verdict_on
from tests.unit.verifier.logbook import CHIPS, MINUTE, NODES, Pause, Speaker, play
from verifier.accounts.obligations import Outcome
from verifier.agreement.check import Level, check_agreement
from verifier.agreement.parse import parse_agreement
from verifier.checks.interface import Severity
from verifier.ruleset import Ruleset
from verifier.verdict import Conclusion

LABS = ("aurora", "borealis", "cygnus")
HOST_W = 2100
IDLE_W, TRAINING_W = 70, 620
MINUTES = 10
PEAK_FLOP = 2 * 540_672 * 1.98e9 * CHIPS * NODES * MINUTES * 60
CAP_FLOP = 0.9 * PEAK_FLOP


@dataclass
class Metered:
    """A pause of three labs that all report idle chips, each before a meter of its own."""

    trust: str
    watts_a_chip: Mapping[str, int]
    bound: str = "1 %"
    unmetered: frozenset[str] = frozenset()
    keys: dict[str, SigningKey] = field(
        default_factory=lambda: {lab: SigningKey.generate() for lab in LABS}
    )

    def terms(self) -> dict[str, str]:
        meters = ", ".join(
            f'{{ id = "grid-{lab}", key = "sha256:{self.keys[lab].key_id.hex()}", party = "{lab}", '
            f'sites = ["hall"], systematic_bound = {json.dumps(self.bound)} }}'
            for lab in LABS
            if lab not in self.unmetered
        )
        return {
            "meters": f"[{meters}]",
            "stages.min_dwell": f'"{MINUTES} min"',
            "obligations.training-cap.trust": self.trust,
            "obligations.training-cap.limit": f"{CAP_FLOP:.6e} FLOP",
        }

    def play(self) -> Pause:
        pause = play({}, terms=self.terms())
        book, (start, end) = pause.book, pause.in_force
        for lab in LABS:
            if lab in self.unmetered:
                continue
            meter = book.people[f"grid-{lab}"] = Speaker(self.keys[lab])
            watts = NODES * (HOST_W + CHIPS * self.watts_a_chip[lab])
            for at in (start, start + 5 * MINUTE):
                reading = summary_pb2.MeterReading(
                    subject="hall",
                    energy_start_mj=watts * (at - start),
                    energy_end_mj=watts * (at + 5 * MINUTE - start),
                )
                book.log(book.sign(meter, reading, at, at + 5 * MINUTE))
        assert end == start + MINUTES * MINUTE
        book.now_ms += MINUTE
        book.tick()
        return pause


HONEST = dict.fromkeys(LABS, IDLE_W)
FORGED = {**HONEST, "borealis": TRAINING_W}


def test_the_forger_is_compliant_if_its_counters_are_true_and_the_verdict_says_so(
    ruleset: Ruleset,
) -> None:
    forger = verdict_on(Metered("counters", FORGED).play(), ruleset, "borealis")
    assert forger.conclusion is Conclusion.COMPLIANT
    assert any("if the party's own counters are true" in line for line in forger.cannot_see)


def test_before_a_meter_that_others_hold_the_forger_is_not_compliant_and_the_honest_are(
    ruleset: Ruleset,
) -> None:
    pause = Metered("meters", FORGED).play()
    forger = verdict_on(pause, ruleset, "borealis")
    assert forger.conclusion is Conclusion.UNRESOLVED
    assert outcomes(forger)["training-cap"] is Outcome.UNRESOLVED
    for lab in ("aurora", "cygnus"):
        honest = verdict_on(pause, ruleset, lab)
        assert honest.conclusion is Conclusion.COMPLIANT
        cap = next(duty for duty in honest.duties if duty.obligation.id == "training-cap")
        energy = NODES * (HOST_W + CHIPS * IDLE_W) * MINUTES * 60
        assert cap.assessment.measured_upper == pytest.approx(energy / 0.99 / 0.20e-12)


def test_the_cap_that_the_honest_keep_is_one_that_the_check_accepts(ruleset: Ruleset) -> None:
    pause = Metered("meters", HONEST).play()
    remarks = check_agreement(parse_agreement(pause.book.text.encode()), ruleset.table)
    assert "CAP_NOT_VERIFIABLE" not in {r.reason for r in remarks if r.level is Level.ERROR}
    bare = Metered("meters", HONEST, unmetered=frozenset(LABS)).play()
    refused = check_agreement(parse_agreement(bare.book.text.encode()), ruleset.table)
    assert "CAP_NOT_VERIFIABLE" in {r.reason for r in refused if r.level is Level.ERROR}


def test_without_a_meter_only_time_is_known(ruleset: Ruleset) -> None:
    pause = Metered("meters", HONEST, unmetered=frozenset({"aurora"})).play()
    assert verdict_on(pause, ruleset, "aurora").conclusion is Conclusion.UNRESOLVED
    assert verdict_on(pause, ruleset, "cygnus").conclusion is Conclusion.COMPLIANT


def test_a_party_is_not_its_own_meter(ruleset: Ruleset) -> None:
    """Readings that the party signs itself are no meter's."""
    pause = Metered("meters", HONEST, unmetered=frozenset({"aurora"})).play()
    start, end = pause.in_force
    reading = summary_pb2.MeterReading(subject="hall", energy_start_mj=0, energy_end_mj=1)
    pause.book.log(pause.book.sign(pause.book.people["aurora"], reading, start, end))
    pause.book.now_ms += MINUTE
    pause.book.tick()
    assert verdict_on(pause, ruleset, "aurora").conclusion is Conclusion.UNRESOLVED


def test_a_meter_that_contradicts_itself_says_nothing(ruleset: Ruleset) -> None:
    pause = Metered("meters", HONEST).play()
    start, end = pause.in_force
    meter = pause.book.people["grid-aurora"]
    reading = summary_pb2.MeterReading(subject="hall", energy_start_mj=0, energy_end_mj=1)
    pause.book.log(pause.book.sign(meter, reading, start, end))
    pause.book.now_ms += MINUTE
    pause.book.tick()
    assert verdict_on(pause, ruleset, "aurora").conclusion is Conclusion.UNRESOLVED


@pytest.mark.parametrize("stated", [float("nan"), 1.0, -0.5, float("inf")])
def test_a_bound_that_is_none_lets_a_meter_say_nothing(ruleset: Ruleset, stated: float) -> None:
    pause = Metered("meters", HONEST).play()
    start, end = pause.in_force
    meter = pause.book.people["grid-aurora"]
    reading = summary_pb2.MeterReading(subject="hall", systematic_bound=stated)
    pause.book.log(pause.book.sign(meter, reading, start, end))
    pause.book.now_ms += MINUTE
    pause.book.tick()
    assert verdict_on(pause, ruleset, "aurora").conclusion is Conclusion.UNRESOLVED


def test_a_meter_whose_lost_key_was_replaced_leaves_doubt_over_its_party_alone(
    ruleset: Ruleset,
) -> None:
    """What the former key read may have been a thief's word, and the thief the party itself."""
    pause = Metered("meters", HONEST).play()
    book, at, new = pause.book, pause.book.now_ms, SigningKey.generate()
    for judge in ("judge-adeyemi", "judge-tanaka"):
        book.say(judge, recovery(new, book.people["grid-aurora"].key.key_id, book.pins.digest))
    for _ in range(6):
        book.minute({})
    verdict = audit(book, (at - MINUTE, at + MINUTE), ruleset)
    (told,) = found(party_of(verdict, "aurora"), "replaced_keys")
    assert (told.subject, told.severity) == ("meter grid-aurora", Severity.DOUBT)
    assert found(party_of(verdict, "borealis"), "replaced_keys") == []
