"""What either story promises of its audit, checked against the verdict; and the truth of the recorded run beside it."""

from typing import Final

from simulator.demo.auditing import Audit
from simulator.demo.expectations import Expectations
from simulator.demo.mlperf_run import TrainingRun
from simulator.demo.narration import Narrator
from simulator.demo.recorded import IDLER, SERVER, TRAINER
from simulator.demo.sealed import Sealed
from simulator.errors import StoryError
from verifier.report.document import ObligationPart, PartyPart

_CAP: Final = "training-cap"
_SEALED: Final = "sealed_bodies"
"""The check that tells of bodies that were sealed to others."""
_ENERGY_TOLERANCE: Final = 0.005
_PERIOD_TOLERANCE: Final = 0.03
_PUBLISHED_JOULES: Final = 1.495e9
"""Wall energy of the run's nodes over its run window, from the published log itself."""


def expect_simulated(audit: Audit, expectations: Expectations) -> None:
    """Check the audit of one lab that kept the pause, one that trained on, and one that went silent."""
    expect = expectations.expect
    for party, wanted in (
        ("aurora", {"compliant"}),
        ("borealis", {"violation"}),
        ("cygnus", {"not_assessed", "unresolved"}),
    ):
        found = audit.party(party).verdict
        expect(f"{party} is found {' or '.join(sorted(wanted))}", found in wanted, found)
    cap = _cap(audit.party("borealis"))
    expect("the open trainer's cap is violated", cap.outcome == "violated", cap.outcome)
    expect("the audit exits 1: a violation", audit.status == 1, audit.status)


def expect_forger(audit: Audit, expectations: Expectations) -> None:
    """Check the audit of a lab whose counters lie: believed by what trusts them, and by nothing else."""
    expect = expectations.expect
    forger = {duty.id: duty for duty in audit.party("dorado").obligations}
    expect(
        "the forger keeps the cap that trusts its counters, and the verdict says what it trusted",
        forger["training-cap"].outcome == "kept" and forger["training-cap"].trust == "counters",
        forger["training-cap"].outcome,
    )
    expect(
        "the forger does not keep the cap that trusts the grid's meter, and is not compliant",
        forger["metered-cap"].outcome == "unresolved"
        and audit.party("dorado").verdict != "compliant",
        f"{forger['metered-cap'].outcome}; {audit.party('dorado').verdict}",
    )


def expect_sealed(sealed: Sealed, rival: Audit, expectations: Expectations) -> None:
    """Check that what agents sealed opens for its readers, and for neither the ledger nor a rival who mirrors it."""
    expect = expectations.expect
    expect(
        "every summary is sealed, and opens for the auditor",
        0 < sealed.opened == sealed.sealed == sealed.summaries,
        f"{sealed.summaries} summaries, {sealed.sealed} sealed, {sealed.opened} opened",
    )
    expect(
        "the ledger cannot read what is sealed: no file of its folder holds a summary in plain",
        sealed.in_plain == 0,
        f"{sealed.in_plain} of {sealed.opened} in plain",
    )
    told = {party.party: party.coverage for party in rival.document.parties}
    blind = all(
        not party.coverage and any(one.check == _SEALED for one in party.findings)
        for party in rival.document.parties
    )
    expect(
        "a rival who mirrors the log learns of no lab what its chips did, and says so",
        blind and rival.status not in (0, 1),
        f"coverage {told}; exit status {rival.status}",
    )


def expect_recorded(
    audit: Audit, run: TrainingRun, narrator: Narrator, expectations: Expectations
) -> None:
    """Check the audit of a recorded training run against the run's own truth, and of those beside it."""
    trainer, server = audit.party(TRAINER), audit.party(SERVER)
    compute, energy = trainer.compute, trainer.energy
    upper = compute.upper_flop + compute.unaccounted_flop
    say, expect = narrator.say, expectations.expect
    say(
        f"truth, from the run's own events (recorded): {run.steps} steps, {run.tokens:,} tokens, "
        f"{run.true_flop:.4g} FLOP"
    )
    say(
        f"interval from wall power (recorded): [{compute.lower_flop:.3g}, {upper:.4g}] FLOP, upper/truth "
        f"{upper / run.true_flop:.2f}; bound by {compute.bound_by}"
    )
    expect(
        "the interval holds the truth",
        compute.lower_flop <= run.true_flop <= upper,
        f"[{compute.lower_flop:.3g}, {upper:.4g}] against {run.true_flop:.4g}",
    )
    say(f"energy at the wall of {TRAINER}'s nodes (recorded): {energy.wall_joules:.4g} J")
    expect(
        f"wall energy is the published {_PUBLISHED_JOULES:.4g} J within 0.5 %",
        abs(energy.wall_joules / _PUBLISHED_JOULES - 1) <= _ENERGY_TOLERANCE,
        f"{energy.wall_joules:.5g} J",
    )
    _expect_rhythm(trainer, server, run, narrator, expectations)
    for party in (trainer, server):
        cap = _cap(party)
        expect(
            f"{party.party}'s cap is unresolved from power alone, and the verdict says what would settle it",
            cap.outcome == "unresolved" and bool(cap.would_resolve),
            f"{cap.outcome}; {cap.would_resolve}",
        )
        expect(
            f"{party.party} is anomaly or unresolved",
            party.verdict in {"anomaly", "unresolved"},
            party.verdict,
        )
    idle = audit.party(IDLER).verdict
    expect(f"{IDLER}, which idles, is compliant", idle == "compliant", idle)
    expect("the audit exits 3: inconclusive", audit.status == 3, audit.status)


def _expect_rhythm(
    trainer: PartyPart,
    server: PartyPart,
    run: TrainingRun,
    narrator: Narrator,
    expectations: Expectations,
) -> None:
    rhythm = trainer.rhythm
    if rhythm is None or rhythm.coherence is None:
        expectations.expect("the training run shows a rhythm", met=False, found="none")
        return
    narrator.say(
        f"rhythm of {rhythm.nodes} nodes (recorded): a line of {rhythm.period_seconds:.2f} s, coherence "
        f"{rhythm.coherence:.2f}; the run's steps come every {run.step_s:.2f} s"
    )
    expectations.expect(
        "the line is within 3 % of the interval between steps, and nodes share its phase",
        abs(rhythm.period_seconds / run.step_s - 1) <= _PERIOD_TOLERANCE and rhythm.coherence > 0.5,
        f"{rhythm.period_seconds:.2f} s against {run.step_s:.2f} s; coherence {rhythm.coherence:.2f}",
    )
    if server.rhythm is not None:
        narrator.say(
            f"inference too shows a line (recorded): {server.rhythm.period_seconds:.2f} s, share "
            f"{server.rhythm.line_share:.2f}; on one node coherence is not defined, and a line alone is no sign"
        )


def _cap(party: PartyPart) -> ObligationPart:
    found = next((duty for duty in party.obligations if duty.id == _CAP), None)
    if found is None:
        raise StoryError("NO_CAP", f"the verdict on {party.party} does not mention {_CAP}")
    return found
