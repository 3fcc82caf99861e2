from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.agreement.conditions import Truth
from verifier.agreement.docket import Finding
from verifier.agreement.events import (
    Acceded,
    Conclusion,
    Event,
    FactPublished,
    Outcome,
    PartyConclusion,
    Replied,
    Ruled,
    VerdictLogged,
    Withdrawn,
)
from verifier.agreement.lifecycle import AgreementState, replay, stage_spans
from verifier.agreement.model import Agreement, Stage
from verifier.agreement.parse import parse_agreement
from verifier.agreement.transitions import TRANSITIONS, View, next_row

DAY = 86_400_000
ALL = ("aurora", "borealis", "cygnus")
WINDING, FORCE = 7 * DAY, 21 * DAY
DWELT = FORCE + 30 * DAY
AUDIT = FORCE + DAY


@pytest.fixture(scope="module")
def agreement(text: str) -> Agreement:
    return parse_agreement(text.encode())


def ident(name: str) -> bytes:
    return name.encode().ljust(32, b"\0")


def accede(at: int, *parties: str) -> list[Event]:
    return [Acceded(at, ident(f"accede-{p}"), p) for p in parties]


def fact(at: int, indicator: str, value: float, *signers: str) -> list[Event]:
    who = signers or ("meridian", "northlight")
    return [FactPublished(at, ident(f"{indicator}-{s}-{at}"), indicator, s, value) for s in who]


def trigger(at: int) -> list[Event]:
    return fact(at, "task_horizon", 16.0) + fact(at, "training_speedup", 52.0)


def verdict(at: int, party: str, conclusion: Conclusion, *findings: str) -> list[Event]:
    rows = (PartyConclusion(party, conclusion, findings),)
    return [VerdictLogged(at, ident(f"verdict-{at}"), "auditor", rows)]


def vote(at: int, judge: str, finding: str, outcome: Outcome, party: str = "borealis") -> Event:
    name = ident(f"verdict-{AUDIT}")
    return Ruled(at, ident(f"vote-{judge}-{at}"), judge, party, finding, name, outcome)


START = [*accede(0, *ALL), *trigger(0)]
READY = fact(DWELT, "sabotage_caught", 99.5)


def at(agreement: Agreement, events: list[Event], now: int) -> AgreementState:
    return replay(agreement, sorted(events, key=lambda e: e.at_ms), now)


def test_nothing_happens_until_everyone_whom_the_others_wait_for_is_in(
    agreement: Agreement,
) -> None:
    partly = [*accede(0, "aurora", "cygnus"), *trigger(0)]
    assert at(agreement, partly, DAY).stage is Stage.PROPOSED
    assert at(agreement, partly, DAY).members == ()
    state = at(agreement, [*partly, *accede(DAY, "borealis")], DAY)
    assert state.stage is Stage.NOTICED
    assert state.members == ALL


def test_the_whole_life_in_order(agreement: Agreement) -> None:
    state = at(agreement, START + READY, DWELT + 14 * DAY)
    assert state.stage is Stage.LIFTED
    assert [(span.stage, span.from_ms, span.to_ms) for span in stage_spans(state)] == [
        (Stage.NOTICED, 0, WINDING),
        (Stage.WINDING_DOWN, WINDING, FORCE),
        (Stage.IN_FORCE, FORCE, DWELT),
        (Stage.LIFTING, DWELT, DWELT + 14 * DAY),
    ]


def test_history_names_the_row_and_the_statements_that_fired_it(agreement: Agreement) -> None:
    history = at(agreement, START, 0).history
    assert [fired.row for fired in history] == ["armed", "triggered"]
    assert set(history[0].statement_ids) == {ident(f"accede-{p}") for p in ALL}
    assert ident("training_speedup-northlight-0") in history[1].statement_ids


def test_one_indicator_or_one_signer_does_not_trigger(agreement: Agreement) -> None:
    one = [*accede(0, *ALL), *fact(0, "task_horizon", 99.0)]
    assert at(agreement, one, DAY).stage is Stage.ARMED
    alone = [*one, *fact(1, "training_speedup", 99.0, "meridian")]
    state = at(agreement, alone, DAY)
    assert state.stage is Stage.ARMED
    assert "trigger.condition" in state.undetermined


def test_the_pause_lasts_its_least_time_even_if_the_lift_condition_holds(
    agreement: Agreement,
) -> None:
    early = START + fact(FORCE, "sabotage_caught", 100.0)
    assert at(agreement, early, DWELT - 1).stage is Stage.IN_FORCE
    assert at(agreement, early, DWELT).stage is Stage.LIFTING


def test_an_undetermined_condition_never_lifts(agreement: Agreement) -> None:
    one_signer = START + fact(FORCE, "sabotage_caught", 100.0, "meridian")
    state = at(agreement, one_signer, DWELT + 1000 * DAY)
    assert state.stage is Stage.IN_FORCE
    assert state.lift is Truth.UNDETERMINED
    assert state.undetermined == ("lift.condition",)


def test_a_lift_condition_that_fails_during_the_ramp_puts_the_pause_back_in_force(
    agreement: Agreement,
) -> None:
    events = START + READY + fact(DWELT + DAY, "sabotage_caught", 50.0)
    state = at(agreement, events, DWELT + 20 * DAY)
    assert state.stage is Stage.IN_FORCE
    assert state.history[-1].row == "relapse"


@pytest.mark.parametrize(
    "conclusion", [Conclusion.VIOLATION, Conclusion.ANOMALY, Conclusion.NOT_ASSESSED]
)
def test_an_open_finding_blocks_the_lift_until_a_quorum_rules(
    agreement: Agreement, conclusion: Conclusion
) -> None:
    events = START + READY + verdict(AUDIT, "borealis", conclusion, "f1")
    blocked = at(agreement, events, DWELT + DAY)
    assert blocked.stage is Stage.IN_FORCE
    assert [f.id for f in blocked.blocking] == ["f1"]
    events.append(vote(DWELT + 2 * DAY, "judge-tanaka", "f1", Outcome.UPHELD))
    assert at(agreement, events, DWELT + 3 * DAY).stage is Stage.IN_FORCE
    events.append(vote(DWELT + 4 * DAY, "judge-adeyemi", "f1", Outcome.UPHELD))
    state = at(agreement, events, DWELT + 4 * DAY)
    assert state.stage is Stage.LIFTING
    assert state.findings[0].ruling is Outcome.UPHELD


def test_a_quorum_must_agree_and_nobody_votes_twice(agreement: Agreement) -> None:
    events = START + verdict(AUDIT, "borealis", Conclusion.VIOLATION, "f1")
    events += [vote(AUDIT + n, "judge-tanaka", "f1", Outcome.DISMISSED) for n in (1, 2, 3)]
    events.append(vote(AUDIT + 4, "judge-adeyemi", "f1", Outcome.UPHELD))
    assert at(agreement, events, DWELT).findings[0].ruling is None
    events.append(vote(AUDIT + 5, "judge-tanaka", "f1", Outcome.UPHELD))
    assert at(agreement, events, DWELT).findings[0].ruling is Outcome.UPHELD


def test_a_member_with_a_conflict_does_not_count(agreement: Agreement) -> None:
    panel = replace(agreement.panel, conflicts={"judge-tanaka": frozenset({"borealis"})})
    conflicted = replace(agreement, panel=panel)
    events = START + verdict(AUDIT, "borealis", Conclusion.VIOLATION, "f1")
    events += [
        vote(AUDIT + 1, judge, "f1", Outcome.DISMISSED)
        for judge in ("judge-tanaka", "judge-adeyemi")
    ]
    assert at(conflicted, events, DWELT).findings[0].ruling is None


def test_a_ruling_before_its_finding_or_on_another_verdict_is_no_ruling(
    agreement: Agreement,
) -> None:
    judges = ("judge-tanaka", "judge-adeyemi")
    early = [vote(AUDIT - 1, judge, "f1", Outcome.DISMISSED) for judge in judges]
    events = START + early + verdict(AUDIT, "borealis", Conclusion.VIOLATION, "f1")
    assert at(agreement, events, DWELT).findings[0].ruling is None


def test_a_later_verdict_that_is_silent_does_not_close_a_finding(agreement: Agreement) -> None:
    events = START + READY + verdict(AUDIT, "borealis", Conclusion.VIOLATION, "f1")
    events += verdict(AUDIT + DAY, "borealis", Conclusion.COMPLIANT)
    assert at(agreement, events, DWELT + DAY).stage is Stage.IN_FORCE


def test_a_reply_is_kept_with_its_finding(agreement: Agreement) -> None:
    events = START + verdict(AUDIT, "borealis", Conclusion.ANOMALY, "f1")
    name = ident(f"verdict-{AUDIT}")
    events.append(Replied(AUDIT + 1, ident("reply"), "borealis", "f1", name))
    events.append(Replied(AUDIT + 2, ident("other"), "cygnus", "f1", name))
    assert at(agreement, events, DWELT).findings[0].replies == (ident("reply"),)


def test_a_breach_ends_nobodys_duties(agreement: Agreement) -> None:
    kept = at(agreement, START, DWELT)
    events = START + verdict(AUDIT, "borealis", Conclusion.VIOLATION, "f1")
    events += [
        vote(AUDIT + 1, judge, "f1", Outcome.UPHELD) for judge in ("judge-tanaka", "judge-adeyemi")
    ]
    broken = at(agreement, events, DWELT)
    assert (broken.stage, broken.members) == (kept.stage, kept.members)
    assert broken.stage is Stage.IN_FORCE


def test_withdrawal_binds_through_its_notice_then_suspends_then_lapses(
    agreement: Agreement,
) -> None:
    events = [*START, Withdrawn(FORCE, ident("leave"), "cygnus")]
    left = FORCE + 90 * DAY
    assert at(agreement, events, left - 1).members == ALL
    assert at(agreement, events, left - 1).leaving == {"cygnus": left}
    suspended = at(agreement, events, left)
    assert suspended.stage is Stage.SUSPENDED
    assert suspended.members == ("aurora", "borealis")
    assert agreement.duties(Stage.SUSPENDED, "aurora") == agreement.duties(Stage.IN_FORCE, "aurora")
    last = stage_spans(at(agreement, events, left + DAY))[-1]
    assert (last.stage, last.suspended) == (Stage.IN_FORCE, True)
    lapsed = at(agreement, events, left + 14 * DAY)
    assert lapsed.stage is Stage.LAPSED
    assert lapsed.history[-1].statement_ids == (ident("leave"),)


def test_coming_back_in_time_restores_the_stage(agreement: Agreement) -> None:
    left = FORCE + 90 * DAY
    events = [*START, Withdrawn(FORCE, ident("leave"), "cygnus"), *accede(left + DAY, "cygnus")]
    state = at(agreement, events, left + 100 * DAY)
    assert state.stage is Stage.IN_FORCE
    assert state.history[-1].row == "restored-in_force"


@pytest.fixture(scope="module")
def hasty(agreement: Agreement) -> Agreement:
    """A text whose withdrawals take effect within a day."""
    return replace(agreement, withdrawal_notice_ms=DAY)


def test_a_suspended_notice_binds_nobody_to_more_than_notice_did(hasty: Agreement) -> None:
    events = [*START, Withdrawn(DAY, ident("leave"), "cygnus")]
    state = at(hasty, events, 3 * DAY)
    assert state.stage is Stage.SUSPENDED
    assert {span.stage for span in stage_spans(state)} == {Stage.NOTICED}


def test_leaving_and_coming_back_does_not_put_off_the_pause(hasty: Agreement) -> None:
    events = list(START)
    for day in range(1, 21, 3):
        events += [Withdrawn(day * DAY, ident(f"w{day}"), "cygnus")]
        events += accede((day + 2) * DAY, "cygnus")
    state = at(hasty, events, 22 * DAY)
    assert sum(fired.target is Stage.SUSPENDED for fired in state.history) == 7
    assert state.stage is Stage.IN_FORCE
    assert state.since_ms == FORCE


def test_a_pause_that_was_suspended_dwells_anew(hasty: Agreement) -> None:
    events = [*START, *READY, Withdrawn(DWELT - 3 * DAY, ident("leave"), "cygnus")]
    events += accede(DWELT - DAY, "cygnus")
    assert at(hasty, events, DWELT + 28 * DAY).stage is Stage.IN_FORCE
    assert at(hasty, events, DWELT + 29 * DAY).stage is Stage.LIFTING


def test_a_party_cannot_shed_a_finding_by_falling_silent(agreement: Agreement) -> None:
    events = START + READY + verdict(AUDIT, "borealis", Conclusion.NOT_ASSESSED, "f1")
    assert [f.id for f in at(agreement, events, DWELT + 99 * DAY).blocking] == ["f1"]


def test_a_panel_that_misses_its_deadline_unblocks_nothing(agreement: Agreement) -> None:
    events = START + READY + verdict(AUDIT, "borealis", Conclusion.ANOMALY, "f1")
    state = at(agreement, events, DWELT + 1000 * DAY)
    assert state.stage is Stage.IN_FORCE
    assert state.findings[0].due_ms == AUDIT + 14 * DAY < state.now_ms


def test_nobody_is_held_to_a_proposal(agreement: Agreement) -> None:
    events: list[Event] = [*accede(0, "aurora"), Withdrawn(1, ident("leave"), "aurora")]
    events += accede(2, "borealis", "cygnus")
    assert at(agreement, events, 3).stage is Stage.PROPOSED


def test_a_value_that_is_not_renewed_in_time_no_longer_counts(text: str) -> None:
    renewed = text.replace(
        'id = "sabotage_caught"', 'id = "sabotage_caught"\nreport_every = "10 d"'
    )
    agreement = parse_agreement(renewed.encode())
    events = START + READY
    state = at(agreement, events, DWELT + 14 * DAY)
    assert state.stage is Stage.LIFTING
    assert state.lift is Truth.UNDETERMINED
    assert state.indicators["sabotage_caught"].overdue


def test_every_stage_can_be_reached_and_only_two_are_final() -> None:
    assert {row.target for row in TRANSITIONS} == set(Stage)
    assert set(Stage) - {row.source for row in TRANSITIONS} == {Stage.LIFTED, Stage.LAPSED}
    assert len({row.name for row in TRANSITIONS}) == len(TRANSITIONS)


moments = st.integers(0, 120).map(lambda day: day * DAY)
some_events = st.lists(
    st.one_of(
        st.builds(lambda t, p: accede(t, p)[0], moments, st.sampled_from(ALL)),
        st.builds(lambda t, p: Withdrawn(t, ident("w"), p), moments, st.sampled_from(ALL)),
        st.builds(
            lambda t, i, s, v: fact(t, i, v, s)[0],
            moments,
            st.sampled_from(["task_horizon", "training_speedup", "sabotage_caught"]),
            st.sampled_from(["meridian", "northlight", "openbench"]),
            st.sampled_from([0.0, 16.0, 52.0, 99.0, 100.0]),
        ),
        st.builds(lambda t: verdict(t, "borealis", Conclusion.ANOMALY, "f1")[0], moments),
        st.builds(
            lambda t, j: vote(t, j, "f1", Outcome.UPHELD),
            moments,
            st.sampled_from(["judge-tanaka", "judge-adeyemi"]),
        ),
    ),
    max_size=30,
)


@given(some_events, moments, moments)
def test_looking_earlier_shows_a_prefix_of_the_same_history(
    agreement: Agreement, events: list[Event], one: int, other: int
) -> None:
    early, late = sorted((one, other))
    before, after = at(agreement, START + events, early), at(agreement, START + events, late)
    assert after.history[: len(before.history)] == before.history
    assert all(fired.at_ms > early for fired in after.history[len(before.history) :])


@given(some_events, moments)
def test_what_is_undetermined_or_unruled_never_relaxes(
    agreement: Agreement, events: list[Event], now: int
) -> None:
    said = START + READY + events
    for fired in at(agreement, said, now).history:
        if fired.row in {"lift", "lifted"}:
            then = at(agreement, said, fired.at_ms)
            assert then.lift is Truth.TRUE
            assert not then.blocking
        if fired.row == "relapse":
            assert at(agreement, said, fired.at_ms).lift is Truth.FALSE


@given(
    st.sampled_from([Stage.NOTICED, Stage.WINDING_DOWN, Stage.IN_FORCE, Stage.LIFTING]),
    st.sampled_from([Truth.UNDETERMINED, Truth.FALSE]),
    st.integers(0, 10_000),
    st.booleans(),
)
def test_no_row_leads_from_a_binding_stage_to_a_laxer_one_without_a_lift_that_holds(
    agreement: Agreement, stage: Stage, lift: Truth, day: int, blocked: bool
) -> None:
    open_finding = Finding("f1", "borealis", 0, 0, ())
    members = frozenset(ALL)
    view = View(
        agreement=agreement,
        stage=stage,
        since_ms=0,
        now_ms=day * DAY,
        members=members,
        supported=members,
        trigger=Truth.UNDETERMINED,
        lift=lift,
        blocking=(open_finding,) if blocked else (),
        suspended_from=None,
        evidence={"members": (), "trigger": (), "lift": ()},
    )
    found = next_row(view)
    assert found is None or found[0].name in {"notice-over", "wound-down", "relapse"}


@given(some_events, moments, st.lists(moments, min_size=1, max_size=5))
def test_memberships_say_who_was_bound_when(
    agreement: Agreement, events: list[Event], now: int, looks: list[int]
) -> None:
    hasty = replace(agreement, withdrawal_notice_ms=DAY)
    said = START + events
    memberships = at(hasty, said, now).memberships
    for look in (look for look in looks if look < now):
        bound = {p for p, spans in memberships.items() if any(a <= look < b for a, b in spans)}
        assert bound == set(at(hasty, said, look).members)


@given(some_events, moments)
def test_spans_cover_the_life_without_gap_or_overlap(
    agreement: Agreement, events: list[Event], now: int
) -> None:
    state = at(agreement, START + events, now)
    spans = stage_spans(state)
    assert sum(span.to_ms - span.from_ms for span in spans) == now - state.began_ms
    assert all(a.to_ms == b.from_ms for a, b in pairwise(spans))
