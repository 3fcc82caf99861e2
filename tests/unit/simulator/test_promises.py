"""What the story promises of its audit can be missed, and is then told and makes the demo fail."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.demo import ending
from simulator.demo.auditing import Audit, describe, headline
from simulator.demo.expectations import Expectations
from simulator.demo.mlperf_run import TrainingRun
from simulator.demo.narration import Narration
from simulator.demo.promises import (
    expect_forger,
    expect_recorded,
    expect_sealed,
    expect_simulated,
)
from simulator.demo.sealed import Sealed
from simulator.demo.simulated import simulated_plot
from simulator.demo.story import Checked, Told
from statements.disclosure import DisclosureClass, Reader
from statements.sealing import ReadingKey
from tests.unit.verifier.logbook import TRAINING, Pause, play
from verifier.report.document import Document, to_document
from verifier.ruleset import own_ruleset
from verifier.verdict import conclude


@pytest.fixture(scope="module")
def pause() -> Pause:
    return play({"borealis": TRAINING, "cygnus": None})


@pytest.fixture(scope="module")
def document(pause: Pause) -> Document:
    evidence = pause.book.evidence()
    return to_document(conclude(pause.book.text.encode(), evidence, pause.in_force, own_ruleset()))


def expectations() -> Expectations:
    return Expectations(Narration(io.StringIO()))


def audit(document: Document, status: int = 1) -> Audit:
    return Audit(document, b"", b"", status)


def with_verdict(document: Document, party: str, verdict: str) -> Document:
    rows = [
        one.model_copy(update={"verdict": verdict}) if one.party == party else one
        for one in document.parties
    ]
    return document.model_copy(update={"parties": rows})


def test_an_audit_as_promised_meets_every_promise(document: Document) -> None:
    found = expectations()
    expect_simulated(audit(document), found)
    assert found.missed == ()
    assert len(found.kept) == 5


@pytest.mark.parametrize(
    ("party", "verdict"),
    [("aurora", "unresolved"), ("borealis", "compliant"), ("cygnus", "compliant")],
)
def test_another_verdict_is_a_promise_missed(document: Document, party: str, verdict: str) -> None:
    found = expectations()
    expect_simulated(audit(with_verdict(document, party, verdict)), found)
    assert [one.found for one in found.missed] == [verdict]


def forger(document: Document, metered: str, verdict: str) -> Document:
    """Return a verdict on a lab that keeps the cap that trusts its counters, beside one that trusts meters."""
    aurora = next(party for party in document.parties if party.party == "aurora")
    cap = next(duty for duty in aurora.obligations if duty.id == "training-cap")
    duties = [cap, cap.model_copy(update={"id": "metered-cap", "outcome": metered})]
    lab = aurora.model_copy(update={"party": "dorado", "obligations": duties, "verdict": verdict})
    return document.model_copy(update={"parties": [*document.parties, lab]})


@pytest.mark.parametrize(
    ("metered", "verdict", "missed"),
    [("unresolved", "unresolved", 0), ("kept", "compliant", 1), ("unresolved", "compliant", 1)],
)
def test_a_forger_that_the_meter_lets_pass_is_a_promise_missed(
    document: Document, metered: str, verdict: str, missed: int
) -> None:
    found = expectations()
    expect_forger(audit(forger(document, metered, verdict)), found)
    assert len(found.missed) == missed


def test_another_exit_status_is_a_promise_missed(document: Document) -> None:
    found = expectations()
    expect_simulated(audit(document, status=0), found)
    assert [one.promise for one in found.missed] == ["the audit exits 1: a violation"]


def test_truth_outside_the_interval_is_a_promise_missed(document: Document) -> None:
    run = TrainingRun(0, 600_000, 1, 10**14, 10.0)
    found = expectations()
    expect_recorded(audit(document), run, Narration(io.StringIO()), found)
    assert "the interval holds the truth" in {one.promise for one in found.missed}


SEALED = Sealed(
    to=DisclosureClass("inspectors", 2, (Reader("auditor", ReadingKey.generate().public),)),
    summaries=7,
    sealed=7,
    opened=7,
    in_plain=0,
    stored=2_146,
)


def blind(document: Document) -> Document:
    """Return a verdict of somebody to whom nothing is sealed."""
    finding = document.parties[1].findings[0].model_copy(update={"check": "sealed_bodies"})
    parties = [
        one.model_copy(update={"coverage": 0.0, "findings": [finding]}) for one in document.parties
    ]
    return document.model_copy(update={"parties": parties})


def test_what_opens_for_its_readers_alone_meets_every_promise(document: Document) -> None:
    found = expectations()
    expect_sealed(SEALED, audit(blind(document), status=3), found)
    assert len(found.kept) == 3
    assert found.missed == ()


@pytest.mark.parametrize(
    "sealed",
    [
        replace(SEALED, opened=6),
        replace(SEALED, sealed=6),
        replace(SEALED, summaries=8),
        replace(SEALED, in_plain=1),
    ],
)
def test_a_summary_that_is_public_or_closed_or_lies_about_in_plain_is_a_promise_missed(
    document: Document, sealed: Sealed
) -> None:
    found = expectations()
    expect_sealed(sealed, audit(blind(document), status=3), found)
    assert len(found.missed) == 1


def test_a_rival_who_reads_what_is_sealed_is_a_promise_missed(document: Document) -> None:
    for seen, status in ((document, 3), (blind(document), 0), (blind(document), 1)):
        found = expectations()
        expect_sealed(SEALED, audit(seen, status=status), found)
        assert len(found.missed) == 1


def told(document: Document, found: Expectations, sealed: Sealed | None = None) -> Told:
    checked = Checked("rehearsal.example/x", 12, 11, 0, sealed)
    return Told(
        simulated_plot(), (), audit(document), checked, tuple(found.kept), {"Fact": 2, "Reply": 1}
    )


def test_the_end_lists_what_was_missed_and_does_not_go_as_told(document: Document) -> None:
    found = expectations()
    found.expect("the moon is full", met=False, found="new moon")
    story = told(document, found)
    assert not story.went_as_told
    assert "NOT MET: the moon is full; found: new moon" in ending.as_text(story, None)
    assert json.loads(ending.as_json(story, None))["promises"] == [
        {"promise": "the moon is full", "found": "new moon", "met": False}
    ]


def test_the_end_says_what_was_verified_concluded_and_not_known(
    document: Document, tmp_path: Path
) -> None:
    found = expectations()
    found.expect("all is well", met=True, found="well")
    text = ending.as_text(told(document, found), tmp_path)
    for words in (
        "12 records and 11 bodies of rehearsal.example/x",
        "2 Fact, 1 Reply",
        "1 of 1 promises",
        "COMPLIANT",
        "VIOLATION",
        "no witness has to cosign it",
        "not detectable here",
        f"stillwatch ledger fsck {tmp_path}/log",
    ):
        assert words in text
    assert "--keep DIR" in ending.as_text(told(document, found), None)


def test_the_end_says_what_is_sealed_and_who_opened_it(document: Document) -> None:
    story = told(document, expectations(), SEALED)
    assert (
        "7 summaries are sealed to auditor, and each opens for the auditor; the ledger's folder holds none of them in "
        "plain; whoever mirrors it sees which node spoke when, and up to 2,146 sealed bytes a window"
    ) in ending.as_text(story, None)
    shown = json.loads(ending.as_json(story, None))["sealed"]
    assert shown == {"summaries": 7, "readers": ["auditor"], "opened": 7, "in_plain": 0}
    assert "sealed" not in ending.as_text(told(document, expectations()), None)


def test_every_verdict_says_how_its_telemetry_was_made(document: Document) -> None:
    for party in document.parties:
        label = "(simulated)" if party.telemetry else "(no telemetry)"
        assert label in headline(party)
        assert label in describe(party)[0]
