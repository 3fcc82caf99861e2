import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2, log_pb2
from statements.header import decode_header
from statements.kinds import Kind
from statements.record import decode_record
from tests.unit.verifier.auditing import audit, outcomes, party_of, verdict_on
from tests.unit.verifier.logbook import (
    IDLE,
    MINUTE,
    POWER_ONLY,
    ROOT,
    T0,
    TRAINING,
    Logbook,
    Pause,
    Work,
    play,
)
from tlog.checkpoint import Checkpoint, sign_checkpoint
from tlog.merkle import leaf_hash, subtree_root
from verifier.accounts.obligations import Outcome
from verifier.agreement.model import Stage
from verifier.agreement.parse import parse_agreement
from verifier.checks.interface import Severity
from verifier.cli import verdict_message
from verifier.evidence.windows import party_windows
from verifier.report.document import encode_document, to_document
from verifier.ruleset import Ruleset, read_ruleset
from verifier.verdict import AuditError, Conclusion, bodies_root

C = Conclusion


# ------------------------------------------------------------------------------------------ the story


def test_the_idle_comply_the_trainer_violates_and_the_silent_is_not_assessed(
    pause: Pause, ruleset: Ruleset
) -> None:
    verdict = audit(pause.book, pause.in_force, ruleset)
    assert {party.party: party.conclusion for party in verdict.parties} == {
        "aurora": C.COMPLIANT,
        "borealis": C.VIOLATION,
        "cygnus": C.NOT_ASSESSED,
    }
    assert verdict.stage is Stage.IN_FORCE
    assert verdict.stage_since_ms == pause.in_force[0]


def test_the_trainers_lower_bound_is_what_its_activity_proves(
    pause: Pause, ruleset: Ruleset
) -> None:
    """0.375 (TF32 not excluded) x 0.45 x K16 x 1.755 GHz, 16 chips, 600 s."""
    account = verdict_on(pause, ruleset, "borealis").account
    assert account.lower_flop == pytest.approx(
        0.375 * 0.45 * 540_672 * 1.755e9 * 16 * 600, rel=1e-6
    )


def test_a_silence_is_a_violation_once_its_cure_period_is_over(ruleset: Ruleset) -> None:
    cured = {"obligations.coverage-floor.cure": '"1 min"'}
    pause = play({"cygnus": None}, terms=cured)
    party = verdict_on(pause, ruleset, "cygnus")
    assert party.conclusion is C.VIOLATION
    assert outcomes(party) == {
        "training-cap": Outcome.UNRESOLVED,
        "coverage-floor": Outcome.VIOLATED,
    }


def test_power_alone_never_violates_a_cap_on_flop(ruleset: Ruleset) -> None:
    pause = play({"borealis": POWER_ONLY}, terms={"obligations.training-cap.limit": '"1 FLOP"'})
    party = verdict_on(pause, ruleset, "borealis")
    assert party.account.lower_flop == 0
    assert party.account.upper_flop > 1
    assert outcomes(party)["training-cap"] is Outcome.UNRESOLVED
    assert party.conclusion in {C.UNRESOLVED, C.ANOMALY}
    assert next(d for d in party.duties).assessment.would_resolve is not None


def test_the_same_inputs_give_the_same_bytes(pause: Pause, ruleset: Ruleset) -> None:
    first, second = (
        encode_document(to_document(audit(pause.book, pause.in_force, ruleset))) for _ in range(2)
    )
    assert first == second


# --------------------------------------------------------------------------- missing evidence never helps


def _windows_in(pause: Pause) -> list[int]:
    found = []
    for index, entry in enumerate(pause.book.records):
        header = decode_header(decode_record(entry).header)
        inside = pause.in_force[0] <= header.start_ms < pause.in_force[1]
        if header.kind == Kind.SUMMARY and inside:
            found.append(index)
    return found


@pytest.fixture(scope="module")
def doubtful() -> Pause:
    """Aurora hides half an hour of chips' activity, borealis trains on, cygnus falls silent for a while."""
    return play({"aurora": POWER_ONLY, "borealis": TRAINING, "cygnus": None})


@settings(max_examples=40)
@given(data=st.data())
def test_no_missing_body_makes_anybody_compliant(
    doubtful: Pause, ruleset: Ruleset, data: st.DataObject
) -> None:
    gone = data.draw(st.sets(st.sampled_from(_windows_in(doubtful)), min_size=1))
    bodies = [None if at in gone else body for at, body in enumerate(doubtful.book.bodies)]
    verdict = audit(replace(doubtful.book, bodies=bodies), doubtful.in_force, ruleset)
    assert C.COMPLIANT not in {party.conclusion for party in verdict.parties}


@settings(max_examples=40)
@given(data=st.data())
def test_no_missing_window_makes_anybody_compliant(
    doubtful: Pause, ruleset: Ruleset, data: st.DataObject
) -> None:
    """The ledger itself drops windows, and signs ticks over what is left."""
    gone = data.draw(st.sets(st.sampled_from(_windows_in(doubtful)), min_size=1))
    verdict = audit(_reticked(doubtful.book, gone), doubtful.in_force, ruleset)
    assert C.COMPLIANT not in {party.conclusion for party in verdict.parties}


def _reticked(book: Logbook, gone: set[int]) -> Logbook:
    """Return a log without some records whose ticks the ledger made anew."""
    fresh = replace(
        book, records=[], bodies=[], ids=[], people={k: replace(v) for k, v in book.people.items()}
    )
    ledger = fresh.people["ledger"]
    ledger.newest = book.ids[1]  # all that is left of what it said
    for index, entry in enumerate(book.records):
        record = decode_record(entry)
        header = decode_header(record.header)
        fresh.now_ms = record.logged_at_ms
        if header.kind == Kind.TICK:
            if not any(
                decode_header(decode_record(e).header).kind == Kind.TICK for e in fresh.records
            ):
                fresh.open(ledger)
            fresh.tick()
        elif index not in gone:
            fresh.records.append(entry)
            fresh.bodies.append(book.bodies[index])
            fresh.ids.append(book.ids[index])
    return fresh


def test_an_honest_party_is_compliant_only_while_its_coverage_is_at_the_floor(
    ruleset: Ruleset,
) -> None:
    honest = play({}, terms={"obligations.coverage-floor.limit": '"90 %"'})
    mine = [
        at for at in _windows_in(honest) if author_at(honest.book, at) in _authors(honest, "aurora")
    ]
    for count, expected in ((2, C.COMPLIANT), (3, C.UNRESOLVED), (20, C.NOT_ASSESSED)):
        gone = set(mine[:count])
        bodies = [None if at in gone else body for at, body in enumerate(honest.book.bodies)]
        verdict = audit(replace(honest.book, bodies=bodies), honest.in_force, ruleset)
        assert party_of(verdict, "aurora").conclusion is expected


def author_at(book: Logbook, index: int) -> bytes:
    return decode_header(decode_record(book.records[index]).header).author


def _authors(pause: Pause, party: str) -> set[bytes]:
    return {node.key.key_id for node in pause.book.nodes.values() if node.party == party}


def test_a_hole_in_a_chain_leaves_doubt_even_when_coverage_is_at_its_floor(
    honest: Pause, ruleset: Ruleset
) -> None:
    gone = {
        next(
            at
            for at in _windows_in(honest)
            if author_at(honest.book, at) in _authors(honest, "aurora")
        )
    }
    verdict = audit(_reticked(honest.book, gone), honest.in_force, ruleset)
    party = party_of(verdict, "aurora")
    assert party.conclusion is C.UNRESOLVED
    assert "chain_gap" in {ruled.finding.check for ruled in party.findings}


def test_a_body_that_is_not_its_headers_counts_as_missing(honest: Pause, ruleset: Ruleset) -> None:
    mine = [
        at for at in _windows_in(honest) if author_at(honest.book, at) in _authors(honest, "aurora")
    ]
    bodies = [b"forged" if at in mine[:2] else body for at, body in enumerate(honest.book.bodies)]
    party = party_of(audit(replace(honest.book, bodies=bodies), honest.in_force, ruleset), "aurora")
    assert party.conclusion is C.UNRESOLVED
    assert party.account.coverage == pytest.approx(0.9)


# ------------------------------------------------------------------------------------------------ time


def test_nothing_is_kept_before_a_tick_past_the_grace(honest: Pause, ruleset: Ruleset) -> None:
    last = max(
        at
        for at, entry in enumerate(honest.book.records)
        if decode_record(entry).logged_at_ms < honest.in_force[1] + MINUTE
    )
    book = replace(
        honest.book, records=honest.book.records[: last + 1], bodies=honest.book.bodies[: last + 1]
    )
    verdict = audit(book, honest.in_force, ruleset)
    assert {party.conclusion for party in verdict.parties} == {C.UNRESOLVED}
    assert "tick is wanted" in (verdict.parties[0].duties[0].reason or "")


def test_a_violation_needs_no_tick_past_the_grace(pause: Pause, ruleset: Ruleset) -> None:
    """What is proved stays proved, however far the log is known."""
    end = pause.in_force[1] + 60 * MINUTE
    party = party_of(audit(pause.book, (pause.in_force[0], end), ruleset), "borealis")
    assert party.conclusion is C.VIOLATION


def _late(conduct: Work) -> Pause:
    """Borealis logs each window of the pause five minutes after its grace, in order."""
    pause = play({"borealis": None}, minutes=10, after=0)
    book, (start, end) = pause.book, pause.in_force
    for _ in range(5):
        book.minute({"borealis": None})
    for begin in range(start, end, MINUTE):
        for node in book.nodes.values():
            if node.party == "borealis":
                book.log(book.window(node, begin, conduct))
    book.now_ms += MINUTE
    book.tick()
    return pause


def test_late_windows_convict(ruleset: Ruleset) -> None:
    party = verdict_on(_late(TRAINING), ruleset, "borealis")
    assert party.conclusion is C.VIOLATION
    assert outcomes(party)["training-cap"] is Outcome.VIOLATED


def test_late_windows_do_not_acquit(ruleset: Ruleset) -> None:
    party = verdict_on(_late(IDLE), ruleset, "borealis")
    assert party.account.coverage == 0
    assert party.conclusion is C.VIOLATION  # of the floor under coverage: the cure period is over
    assert outcomes(party)["training-cap"] is Outcome.UNRESOLVED
    assert "late" in {ruled.finding.check for ruled in party.findings}


def test_lateness_for_want_of_ticks_is_unresolved(ruleset: Ruleset) -> None:
    """The ledger's clock stalls from entry into force until after the cure period."""
    pause = play({}, minutes=10, after=0)
    book = replace(pause.book, records=[], bodies=[], ids=[])
    for index, entry in enumerate(pause.book.records):
        record = decode_record(entry)
        tick = decode_header(record.header).kind == Kind.TICK
        if not (tick and record.logged_at_ms > pause.in_force[0] + MINUTE):
            book.records.append(entry)
            book.bodies.append(pause.book.bodies[index])
            book.ids.append(pause.book.ids[index])
    book.now_ms = pause.in_force[1] + 60 * MINUTE
    book.people["ledger"] = replace(book.people["ledger"], author=None)
    book.tick()
    verdict = audit(book, pause.in_force, ruleset)
    assert {party.conclusion for party in verdict.parties} <= {C.UNRESOLVED, C.NOT_ASSESSED}
    for party in verdict.parties:
        assert outcomes(party)["coverage-floor"] is Outcome.UNRESOLVED
    assert "ticks_missing" in {finding.check for finding in verdict.ledger_findings}


def test_a_log_without_ticks_shows_nothing(honest: Pause, ruleset: Ruleset) -> None:
    ticks = [
        at
        for at, entry in enumerate(honest.book.records)
        if decode_header(decode_record(entry).header).kind == Kind.TICK
    ]
    verdict = audit(honest.book.without(*ticks), honest.in_force, ruleset)
    assert {party.conclusion for party in verdict.parties} == {C.NOT_ASSESSED}


def test_no_party_is_compliant_by_a_log_that_contradicts_itself(
    honest: Pause, ruleset: Ruleset
) -> None:
    book = honest.book.copy()
    note = sign_checkpoint(Checkpoint(book.origin, 9, bytes(32)), book.signer)
    book.say("ledger", log_pb2.Tick(checkpoint=note, time=book.now_ms))
    verdict = audit(book, honest.in_force, ruleset)
    assert {party.conclusion for party in verdict.parties} == {C.UNRESOLVED}
    (finding,) = verdict.ledger_findings
    assert finding.notes == (note, book.prefix().note) or finding.notes[0] == note


# ----------------------------------------------------------------------------------------- who owes what


def test_chips_that_were_declared_and_not_enrolled_are_missing(ruleset: Ruleset) -> None:
    pause = play({}, terms={"parties.aurora.declared_h100e": '"32 H100e"'})
    party = verdict_on(pause, ruleset, "aurora")
    assert party.account.coverage == pytest.approx(0.5)
    assert party.conclusion is C.UNRESOLVED


def test_a_party_that_enrolled_nothing_is_never_compliant(ruleset: Ruleset) -> None:
    pause = play({})
    book = pause.book
    nodes = {name for name, node in book.nodes.items() if node.party == "cygnus"}
    keys = {book.nodes[name].key.key_id for name in nodes}
    gone = {
        at for at, entry in enumerate(book.records)
        if author_at(book, at) in keys
        or (
            decode_header(decode_record(entry).header).kind == Kind.ENROLMENT
            and author_at(book, at) == book.people["cygnus"].key.key_id
        )
    }  # fmt: skip
    party = party_of(audit(_reticked(book, gone), pause.in_force, ruleset), "cygnus")
    assert party.nodes == 0
    assert party.conclusion in {C.NOT_ASSESSED, C.UNRESOLVED}


def test_nothing_is_owed_outside_the_stages_of_an_obligation(
    pause: Pause, ruleset: Ruleset
) -> None:
    """Borealis trained through the wind-down, when only coverage was owed."""
    before = (T0, pause.in_force[0])
    party = party_of(audit(pause.book, before, ruleset), "borealis")
    assert [duty.obligation.id for duty in party.duties] == ["coverage-floor"]
    (duty,) = party.duties
    assert duty.spans == ((pause.in_force[0] - 2 * MINUTE, pause.in_force[0]),)
    assert party.conclusion is C.COMPLIANT


def test_who_did_not_accede_owes_nothing_and_is_not_assessed(ruleset: Ruleset) -> None:
    pause = play(
        {"cygnus": TRAINING},
        terms={
            "parties.aurora.accedes_if": '{ party = "borealis" }',
            "parties.borealis.accedes_if": '{ party = "aurora" }',
        },
    )
    book = pause.book
    cygnus = book.people["cygnus"].key.key_id
    gone = {
        at for at, entry in enumerate(book.records)
        if author_at(book, at) == cygnus
        and decode_header(decode_record(entry).header).kind == Kind.ACCESSION
    }  # fmt: skip
    verdict = audit(_reticked(book, gone), pause.in_force, ruleset)
    assert party_of(verdict, "aurora").conclusion is C.COMPLIANT
    assert party_of(verdict, "cygnus").conclusion is C.NOT_ASSESSED
    assert not party_of(verdict, "cygnus").duties


def test_recorded_telemetry_is_no_evidence_outside_a_rehearsal(ruleset: Ruleset) -> None:
    book = Logbook.begin(rehearsal=False)
    for party in ("aurora", "borealis", "cygnus"):
        book.say(party, governance_pb2.Accession(agreement=book.pins.digest, party=party))
    node = book.enrol("aurora", "aurora/0")
    book.open(node, identity_pb2.TELEMETRY_LIVE)
    book.tick()
    for indicator, value in (("task_horizon", 16.0), ("training_speedup", 52.0)):
        for who in ("meridian", "northlight"):
            fact = governance_pb2.Fact(indicator=indicator, value=value, source="published")
            fact.agreement = book.pins.digest
            book.say(who, fact)
    for _ in range(4):
        book.minute({})
    start = book.now_ms
    book.join(node, telemetry=identity_pb2.TELEMETRY_SIMULATED)
    for _ in range(8):
        book.minute({})
    found = party_of(audit(book, (start, start + 4 * MINUTE), ruleset), "aurora")
    assert found.account.coverage == 0
    assert found.telemetry == ("live", "simulated")
    refused = [r.finding for r in found.findings if r.finding.check == "windows_refused"]
    assert [finding.severity for finding in refused] == [Severity.DOUBT]


# ----------------------------------------------------------------------------------------- what it prints


def test_a_verdict_says_what_it_rests_on(pause: Pause, ruleset: Ruleset) -> None:
    verdict = audit(pause.book, pause.in_force, ruleset)
    assert verdict.ruleset == ruleset.digest
    assert verdict.agreement == hashlib.sha256(pause.book.text.encode()).digest()
    assert "operator's own word" in verdict.time
    for party in verdict.parties:
        assert party.telemetry == ("simulated",)
        assert [line for line in party.cannot_see if line.endswith("not detectable here")]
        assert any("counters are true" in line for line in party.cannot_see)


def test_the_bodies_root_is_the_tree_over_the_digests_of_all_that_was_used(
    pause: Pause, ruleset: Ruleset
) -> None:
    evidence = pause.book.evidence()
    agreement = parse_agreement(pause.book.text.encode())
    read = party_windows(agreement, evidence, agreement.parties[1], pause.in_force, ruleset.table)
    records = evidence.records
    rows = {one.index for one in evidence.said} | set(read.admitting_rows.tolist())
    rows |= {one.row for one in evidence.openings} | {one.row for one in evidence.inventories}
    used = [row for row in sorted(rows) if records.kind[row] != int(Kind.TICK)]
    wanted = subtree_root([leaf_hash(records.text("body_digest", row)) for row in used])
    assert bodies_root(evidence, [read]) == wanted


def test_the_bodies_root_changes_with_any_body_that_was_used(
    pause: Pause, ruleset: Ruleset
) -> None:
    verdict = audit(pause.book, pause.in_force, ruleset)
    bodies = list(pause.book.bodies)
    bodies[_windows_in(pause)[0]] = None
    other = audit(replace(pause.book, bodies=bodies), pause.in_force, ruleset)
    assert verdict.bodies_root != other.bodies_root


def test_the_ruleset_changes_with_the_chip_table(ruleset: Ruleset) -> None:
    table = (ROOT / "policies/reference/chips.toml").read_bytes()
    assert read_ruleset(table).digest == ruleset.digest
    assert read_ruleset(table + b"\n# another\n").digest != ruleset.digest


def test_an_agreement_that_names_another_chip_table_is_not_judged(
    honest: Pause, ruleset: Ruleset
) -> None:
    pause = play({}, minutes=4, after=3, terms={"agreement.chip_table": f'"sha256:{"0" * 64}"'})
    with pytest.raises(AuditError) as caught:
        audit(pause.book, pause.in_force, ruleset)
    assert caught.value.reason == "OTHER_CHIP_TABLE"


def test_a_period_that_ends_before_it_starts_is_refused(honest: Pause, ruleset: Ruleset) -> None:
    with pytest.raises(AuditError) as caught:
        audit(honest.book, (T0, T0), ruleset)
    assert caught.value.reason == "BAD_PERIOD"


def test_the_logged_verdict_lists_only_findings_that_a_panel_rules_on(
    pause: Pause, ruleset: Ruleset
) -> None:
    message = verdict_message(audit(pause.book, pause.in_force, ruleset), b"{}")
    rows = {row.party: (row.conclusion, len(row.open_findings)) for row in message.parties}
    outcome = governance_pb2.PartyOutcome
    assert rows == {
        "aurora": (outcome.CONCLUSION_COMPLIANT, 0),
        "borealis": (outcome.CONCLUSION_VIOLATION, 1),
        "cygnus": (outcome.CONCLUSION_NOT_ASSESSED, 0),
    }
