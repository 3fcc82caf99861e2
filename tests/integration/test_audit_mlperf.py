"""A published training run, said by 64 nodes and audited from the log: what power alone can and cannot tell."""

from pathlib import Path

import numpy as np
import pytest

from attestor.sources.mlperf import MlperfSource, read_run_start
from attestor.window import Carried, Rig, Span, summarise
from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2
from tests.mlperf.gpt3 import RUNS, TRUTH_FLOP
from tests.unit.verifier.logbook import CHIPS, H100, MINUTE, Logbook
from verifier.accounts.obligations import Evidence, Outcome
from verifier.ruleset import own_ruleset
from verifier.verdict import Conclusion, PartyVerdict, conclude

NODES = 64
MINUTES = 56


@pytest.fixture(scope="module")
def trainer(traces: Path) -> PartyVerdict:
    """Aurora replays GPT-3 from entry into force on; the others are not there."""
    path = traces / "mlperf" / "train" / f"{RUNS[0]}.csv.gz"
    book = Logbook.begin(
        {
            "parties.aurora.declared_h100e": '"512 H100e"',
            "parties.aurora.accedes_if": "{ parties = 1 }",
            "obligations.training-cap.limit": '"1e20 FLOP"',
            "windows.late_grace": '"2 h"',
        }
    )
    book.say("aurora", governance_pb2.Accession(agreement=book.pins.digest, party="aurora"))
    for indicator, value in (("task_horizon", 16.0), ("training_speedup", 52.0)):
        for who in ("meridian", "northlight"):
            fact = governance_pb2.Fact(indicator=indicator, value=value, source="published")
            fact.agreement = book.pins.digest
            book.say(who, fact)
    book.tick()
    start = book.now_ms + 4 * MINUTE
    run_start = read_run_start(path)
    for number in range(NODES):
        node = book.enrol("aurora", f"aurora/{number}", from_ms=start)
        book.join(node, telemetry=identity_pb2.TELEMETRY_RECORDED)
        source = MlperfSource(
            path,
            sensor=f"node_{number + 1}",
            chips=CHIPS,
            model=H100,
            at_ms=start,
            run_start_ms=run_start,
        )
        description = source.description
        sample_ms = description.sample_ms
        rig = Rig(node.inventory, CHIPS, description.boot_id, 1000 / sample_ms, sample_ms)
        readings = source.read(start + (MINUTES + 1) * MINUTE).readings
        carried = Carried()
        for at in range(MINUTES):
            span = Span(start + at * MINUTE, start + (at + 1) * MINUTE)
            inside = [one for one in readings if span.start_ms <= one.time_ms <= span.end_ms]
            summary, carried = summarise(span, rig, inside, carried)
            book.log(book.sign(node, summary, span.start_ms, span.end_ms))
    book.now_ms = start + MINUTES * MINUTE
    book.tick()
    book.now_ms += 130 * MINUTE
    book.tick()
    period = (start, start + MINUTES * MINUTE)
    verdict = conclude(book.text.encode(), book.evidence(), period, own_ruleset())
    return next(party for party in verdict.parties if party.party == "aurora")


def test_a_cap_on_flop_stays_unresolved_and_says_what_would_settle_it(
    trainer: PartyVerdict,
) -> None:
    cap = next(duty for duty in trainer.duties if duty.obligation.id == "training-cap")
    assert cap.outcome is Outcome.UNRESOLVED
    assert cap.assessment.measured_lower == 0
    assert cap.assessment.measured_upper > TRUTH_FLOP
    remedy = cap.assessment.would_resolve
    assert remedy is not None
    assert remedy.evidence in {Evidence.CHIP_ENERGY, Evidence.CHIP_COUNTERS}


def test_sixty_four_nodes_in_step_are_an_anomaly_and_no_violation(trainer: PartyVerdict) -> None:
    assert trainer.telemetry == ("recorded",)
    assert trainer.conclusion is Conclusion.ANOMALY
    checks = {ruled.finding.check for ruled in trainer.findings}
    assert "training_signature" in checks
    rhythm = trainer.rhythm
    assert rhythm is not None
    assert rhythm.line.period_s == pytest.approx(10.77, rel=0.03)
    assert rhythm.coherence.value is not None
    assert rhythm.coherence.value > 0.5
    assert np.isclose(trainer.account.coverage, 1.0, atol=0.01)
