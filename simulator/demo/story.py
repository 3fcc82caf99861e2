"""The two stories, from first key to last check. A promise that is missed is told at once, and at the end."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulator.demo.auditing import (
    AUDITOR,
    Audit,
    audit_and_publish,
    audit_as_rival,
    audit_mirror,
    headline,
)
from simulator.demo.expectations import Expectation, Expectations
from simulator.demo.lab import Lab
from simulator.demo.lifting import Lifting
from simulator.demo.mlperf_run import TrainingRun
from simulator.demo.narration import Narration
from simulator.demo.opening import Opening
from simulator.demo.plot import Plot
from simulator.demo.processes import Processes, stillwatch
from simulator.demo.promises import (
    expect_forger,
    expect_recorded,
    expect_sealed,
    expect_simulated,
)
from simulator.demo.rehearsal import CLOCK_START_MS, Rehearsal
from simulator.demo.sealed import Sealed, look_into
from simulator.demo.timeline import Timeline
from simulator.demo.witnesses import threshold
from simulator.errors import StoryError
from statements.kinds import Kind
from statements.reading_keys import read_reading_key
from verifier.agreement.lifecycle import AgreementState
from verifier.checks.interface import Span

_A_BEAT_MS: Final = 30_000
"""How long after a tick it is certainly published, on the rehearsal's clock."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was verified of the log: records and bodies in it, what ``ledger fsck`` found wrong, and what is sealed."""

    origin: str
    records: int
    bodies: int
    flaws: int
    sealed: Sealed | None


@dataclass(frozen=True, slots=True)
class Told:
    """A story that was told: its labs, verdict, promises, and what was checked."""

    plot: Plot
    labs: tuple[Lab, ...]
    audit: Audit
    checked: Checked
    expectations: tuple[Expectation, ...]
    said: Mapping[str, int]

    @property
    def went_as_told(self) -> bool:
        """Whether every promise was met."""
        return all(one.met for one in self.expectations)


class Story:
    """One telling of a plot in ``folder``."""

    def __init__(
        self, folder: Path, plot: Plot, processes: Processes, narration: Narration
    ) -> None:
        self._folder = folder
        self._plot = plot
        self._processes = processes
        self._narration = narration
        self._expectations = Expectations(narration)
        self._since_ms = 0
        self._silences: dict[str, tuple[Lab, int]] = {}

    def tell(self, run: TrainingRun | None) -> Told:
        """Tell it to its end; ``run`` is the recorded training run, where the plot replays one."""
        narration = self._narration
        narration.say(self._plot.title)
        narration.say(self._plot.telemetry)
        narration.chapter("An agreement is declared")
        rehearsal = Rehearsal.prepare(self._folder, self._processes, self._plot)
        try:
            labs = self._plot.labs(self._folder / "labs", rehearsal.cast)
            self._label(labs)
            rehearsal.begin(self._plot.rate)
            narration.clock = rehearsal.clock
            timeline = Timeline(
                rehearsal.clock,
                self._processes,
                narration,
                CLOCK_START_MS,
                CLOCK_START_MS + round(self._plot.minutes * 60_000),
            )
            opening = Opening(rehearsal, timeline, narration, self._expectations)
            period = self._enter_into_force(rehearsal, opening, labs)
            audit = self._audit(rehearsal, timeline, labs, period)
            if run is None:
                expect_simulated(audit, self._expectations)
                expect_forger(audit, self._expectations)
                self._lift(rehearsal, opening, audit)
            else:
                narration.chapter("The audit against the truth of the recorded training run")
                expect_recorded(audit, run, narration, self._expectations)
            checked = self._close(rehearsal, labs, audit, period)
        finally:
            rehearsal.close()
        return Told(
            self._plot, labs, audit, checked, tuple(self._expectations.kept), rehearsal.said
        )

    def _label(self, labs: tuple[Lab, ...]) -> None:
        """Write down how each lab's telemetry was made."""
        labels = {
            lab.party: {
                "telemetry": lab.telemetry,
                "origin": lab.nodes[0].replay.origin,
                "does": lab.does,
            }
            for lab in labs
        }
        path = self._folder / "telemetry.json"
        path.write_text(json.dumps(labels, indent=2) + "\n", encoding="utf-8")

    def _enter_into_force(
        self, rehearsal: Rehearsal, opening: Opening, labs: tuple[Lab, ...]
    ) -> Span:
        """Bring the pause into force, with every agent running; return the period to audit."""
        agreement = rehearsal.agreement
        self._narration.say(
            f"{agreement.id}, sha256:{agreement.digest.hex()[:16]}…, is the first record of the log "
            f"{agreement.pins.ledgers[0].origin}"
        )
        names = [one.name for one in rehearsal.witnesses]
        self._narration.say(
            f"its checkpoints count once {threshold(len(names))} of {len(names)} witnesses cosigned them: "
            f"{', '.join(names)}"
        )
        for lab in labs:
            rehearsal.enrol(lab, CLOCK_START_MS)
            self._narration.say(
                f"{lab.party} enrols {len(lab.nodes)} nodes, {lab.chips} chips ({lab.telemetry} telemetry)"
            )
        opening.accede()
        self._narration.chapter("The trigger fires")
        state = opening.trigger()
        at_ms = _next_window(state, agreement.pins.window_ms)
        for lab in labs:
            rehearsal.start_agent(lab, at_ms)
        self._narration.say("agents start on every node")
        opening.enter_into_force()
        self._narration.chapter("The pause is in force")
        for lab in labs:
            self._narration.say(f"{lab.party} {lab.does} ({lab.telemetry})")
        self._silences = {
            lab.party: (lab, at_ms + lab.reports_until_s * 1000)
            for lab in labs
            if lab.reports_until_s is not None
        }
        self._since_ms = at_ms
        start = at_ms + self._plot.audited_from_s * 1000
        return start, start + self._plot.audited_ms

    def _audit(
        self, rehearsal: Rehearsal, timeline: Timeline, labs: tuple[Lab, ...], period: Span
    ) -> Audit:
        """Wait for the period to end and be assessable; audit it."""
        for lab, at_ms in self._silences.values():
            timeline.wait_until(at_ms, "labs attest")
            rehearsal.stop_agents(lab)
            self._narration.say(f"the agents of {lab.party} fall silent ({lab.telemetry})")
        pins = rehearsal.agreement.pins
        timeline.wait_until(period[1], "labs attest")
        still = ", ".join(lab.party for lab in labs if lab.party not in self._silences)
        self._narration.say(
            f"the agents of {still} have attested {self._plot.audited_ms / 60_000:.0f} minutes"
        )
        for lab in (lab for lab in labs if lab.metered_j):
            rehearsal.read_meter(f"grid-{lab.party}", lab, self._since_ms, period)
        if any(lab.metered_j for lab in labs):
            self._narration.say(
                "the grid's operator signs what each site drew, by its own meters (simulated)"
            )
        timeline.wait_until(
            period[1] + pins.late_grace_ms + pins.tick_ms + _A_BEAT_MS, "the grace for late windows"
        )
        self._narration.chapter("An auditor reads the log")
        audit = audit_and_publish(rehearsal, "in-force", period)
        for party in audit.document.parties:
            self._narration.say(headline(party))
        return audit

    def _lift(self, rehearsal: Rehearsal, opening: Opening, audit: Audit) -> None:
        self._narration.chapter("The panel rules, and the pause is lifted")
        lifting = Lifting(rehearsal, self._narration, self._expectations, opening)
        lifting.reply(audit, "borealis")
        lifting.meet_condition()
        lifting.rule(audit)
        lifting.lift()

    def _close(
        self, rehearsal: Rehearsal, labs: tuple[Lab, ...], audit: Audit, period: Span
    ) -> Checked:
        """Stop everybody; check the log from its files, and the verdict from the mirror."""
        self._narration.chapter("Everything is checked once more, offline")
        rehearsal.stop_agents(*(lab for lab in labs if lab.party not in self._silences))
        self._processes.stop("ledger")  # its last checkpoint is cosigned yet
        self._processes.stop(*(f"witness-{one.name}" for one in rehearsal.witnesses))
        again = audit_mirror(rehearsal, "again", period)
        self._expectations.expect(
            "a second audit, from the mirror alone, gives the same bytes",
            again.data == audit.data,
            f"{len(again.data)} and {len(audit.data)} bytes",
        )
        self._narration.say("a second audit, from the mirror alone: the same bytes")
        sealed = self._look_into_sealed(rehearsal, period)
        answer = self._processes.run(
            "fsck",
            stillwatch("ledger", "fsck", str(self._folder / "log"), "-o", "json"),
            accept=(0, 1),
        )
        flaws = answer.field("flaws")
        checked = Checked(
            origin=str(answer.field("origin")),
            records=_count(answer.field("size")),
            bodies=_count(answer.field("bodies_held")),
            flaws=len(flaws) if isinstance(flaws, list) else 1,
            sealed=sealed,
        )
        self._narration.say(
            f"the log rebuilt from its static files: {checked.records} records, {checked.bodies} bodies, "
            f"{checked.flaws or 'no'} flaws"
        )
        self._expectations.expect("the log is whole", checked.flaws == 0, f"{checked.flaws} flaws")
        return checked

    def _look_into_sealed(self, rehearsal: Rehearsal, period: Span) -> Sealed | None:
        """Look at what is sealed as its readers do, as the ledger does, and as a rival does who mirrors the log."""
        to = rehearsal.agreement.pins.disclosures.of_kind.get(Kind.SUMMARY)
        if to is None:
            return None
        key = read_reading_key(rehearsal.cast.reading_key(AUDITOR))
        with ThreadPoolExecutor(max_workers=1) as beside:
            auditing = beside.submit(audit_as_rival, rehearsal, "rival", period)
            sealed = look_into(self._folder / "log", rehearsal.agreement, to, key)
            rival = auditing.result()
        expect_sealed(sealed, rival, self._expectations)
        self._narration.say(
            f"{sealed.opened} summaries open for the auditor; the ledger's folder holds "
            f"{sealed.in_plain or 'none'} of them in plain"
        )
        self._narration.say(
            f"a rival audits the same mirror without a reader's key. {headline(rival.document.parties[0])}"
        )
        return sealed


def _count(value: object) -> int:
    if not isinstance(value, int):
        raise StoryError("NOT_A_COUNT", f"`ledger fsck` counted {value!r}")
    return value


def _next_window(state: AgreementState, window_ms: int) -> int:
    """Return the first boundary of windows after the trigger fired."""
    fired = next((one for one in state.history if one.row == "triggered"), None)
    if fired is None:
        raise StoryError("NOT_TRIGGERED", "the trigger has not fired")
    return -(-fired.at_ms // window_ms) * window_ms
