import pytest
from cel_expr_python import cel
from hypothesis import given
from hypothesis import strategies as st

from verifier.agreement.conditions import (
    Aggregate,
    Assertion,
    Truth,
    aggregate,
    compile_condition,
)
from verifier.agreement.errors import ConditionError
from verifier.agreement.model import Indicator

SPEED = Indicator("speed", "Speed", "x", "a paper", ("e1", "e2", "e3"), 2, None)


def judged(text: str, **values: float | None) -> Truth:
    seen = {
        name: Aggregate(() if value is None else (value,), 2, False, ())
        for name, value in values.items()
    }
    return compile_condition(text, ["a", "b"], "trigger.condition").evaluate(seen)


def refusal(text: str) -> ConditionError:
    with pytest.raises(ConditionError) as refused:
        compile_condition(text, ["a", "b"], "trigger.condition")
    return refused.value


def test_the_runtime_has_the_traps_that_this_adapter_guards_against() -> None:
    env = cel.NewEnv(variables={"x": cel.Type.DOUBLE})
    missing = env.compile("x > 1.0").eval(data={})
    assert missing.plain_value()  # an error that reads as true
    assert missing.type() != cel.Type.BOOL
    assert env.compile("1.0 / 0.0 > 5.0").eval(data={}).plain_value() is True
    with pytest.raises(RuntimeError, match="no matching overload"):
        env.compile("x > 1")


def test_a_missing_value_is_undetermined_and_never_true() -> None:
    assert judged("indicator.a.value > 1.0") is Truth.UNDETERMINED
    assert judged("indicator.a.value > 1.0", a=None) is Truth.UNDETERMINED
    assert judged("!(indicator.a.value > 1.0)", a=None) is Truth.UNDETERMINED


def test_what_is_known_decides_where_it_can() -> None:
    assert judged("indicator.a.value > 1.0 || indicator.b.value > 1.0", a=2.0) is Truth.TRUE
    assert judged("indicator.a.value > 1.0 && indicator.b.value > 1.0", a=0.0) is Truth.FALSE
    assert judged("indicator.a.value > 1.0 && indicator.b.value > 1.0", a=2.0) is Truth.UNDETERMINED


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e16])
def test_a_value_that_is_no_measurement_is_no_value(value: float) -> None:
    assert judged("indicator.a.value > 1.0", a=value) is Truth.UNDETERMINED


@pytest.mark.parametrize(
    "text",
    [
        "1.0/0.0 > 5.0",
        "1e999 > 1.0",
        "indicator.a.value * 2.0 > 1.0",
        "size('x') == 1",
        "[1, 2].all(x, x > 0)",
        "'a'.matches('(a+)+')",
        "timestamp('2026-01-01T00:00:00Z').getHours('Europe/Paris') == 1",
        "has(indicator.a)",
        "indicator['a'].value > 1.0",
        "indicator.a.median > 1.0",
        "now > 1.0",
        "(" * 60 + "true" + ")" * 60,
        "!" * 60 + "true",
    ],
)
def test_what_could_loop_overflow_or_look_outside_is_refused(text: str) -> None:
    assert refusal(text).reason == "NOT_ALLOWED"


def test_an_integer_threshold_is_explained() -> None:
    error = refusal("indicator.a.value > 24")
    assert error.reason == "BAD_CONDITION"
    assert "write 24.0 and not 24" in str(error)
    assert str(error).startswith("trigger.condition")


def test_an_unknown_indicator_is_named_with_those_that_exist() -> None:
    error = refusal("indicator.c.value > 1.0")
    assert error.reason == "UNKNOWN_INDICATOR"
    assert "a, b" in str(error)


def test_a_number_is_no_condition() -> None:
    assert refusal("indicator.a.value").reason == "NOT_A_CONDITION"


@pytest.mark.parametrize("text", ["indicator.a.value > 1.0 &&", "", "indicator.a.value > true"])
def test_what_does_not_compile_is_refused(text: str) -> None:
    assert refusal(text).reason == "BAD_CONDITION"


def said(signer: str, value: float, at: int = 0) -> Assertion:
    return Assertion(signer, value, at, f"{signer}{at}".encode())


def test_a_value_needs_enough_independent_signers() -> None:
    one = aggregate(SPEED, [said("e1", 50.0), said("e1", 60.0)], 10, 0)
    assert (one.value, one.signers) == (None, 1)
    two = aggregate(SPEED, [said("e1", 50.0), said("e2", 60.0)], 10, 0)
    assert (two.middle, two.value, two.signers) == ((50.0, 60.0), 55.0, 2)


def test_someone_who_may_not_sign_does_not_count() -> None:
    assert aggregate(SPEED, [said("e1", 50.0), said("stranger", 50.0)], 10, 0).value is None


values = st.floats(-1e6, 1e6)


@given(values, values, st.lists(values, max_size=50), values)
def test_flooding_by_one_signer_changes_nothing_but_its_newest_vote(
    first: float, second: float, flood: list[float], last: float
) -> None:
    rest = [said("e1", first), said("e2", second)]
    flooded = [*rest, *(said("e3", value) for value in flood), said("e3", last)]
    assert aggregate(SPEED, flooded, 10, 0) == aggregate(SPEED, [*rest, said("e3", last)], 10, 0)


@given(values, values, st.floats(-1e15, 1e15))
def test_one_liar_among_two_can_neither_make_a_threshold_hold_nor_make_it_fail(
    honest: float, threshold: float, lie: float
) -> None:
    seen = {"a": aggregate(SPEED, [said("e1", honest), said("e2", lie)], 10, 0)}
    for sign in ("<", ">="):
        text = f"indicator.a.value {sign} {threshold:f}"
        condition = compile_condition(text, ["a"], "lift.condition")
        alone = {"a": Aggregate((honest,), 2, False, ())}
        assert condition.evaluate(seen) in {condition.evaluate(alone), Truth.UNDETERMINED}


def test_where_two_signers_disagree_a_condition_holds_only_if_it_holds_with_both() -> None:
    condition = compile_condition("indicator.a.value >= 99.0", ["a"], "lift.condition")

    def say(*middle: float) -> Truth:
        return condition.evaluate({"a": Aggregate(middle, 2, False, ())})

    assert say(99.0, 100.0) is Truth.TRUE
    assert say(10.0, 1e14) is Truth.UNDETERMINED
    assert say(10.0, 98.0) is Truth.FALSE


def test_a_condition_speaks_of_few_indicators() -> None:
    names = [f"i{n}" for n in range(9)]
    text = " && ".join(f"indicator.{name}.value > 1.0" for name in names)
    compile_condition(text.rsplit(" && ", 1)[0], names, "trigger.condition")
    with pytest.raises(ConditionError, match="8 are the most"):
        compile_condition(text, names, "trigger.condition")


@given(values, values, values)
def test_one_liar_among_three_cannot_move_the_median_past_the_honest(
    honest: float, other: float, lie: float
) -> None:
    seen = aggregate(SPEED, [said("e1", honest), said("e2", other), said("e3", lie)], 10, 0)
    assert seen.value is not None
    assert min(honest, other) <= seen.value <= max(honest, other)


def test_a_missed_reporting_deadline_is_a_fact_of_its_own() -> None:
    weekly = Indicator("speed", "Speed", "x", "a paper", ("e1", "e2"), 2, 7)
    fresh = aggregate(weekly, [said("e1", 1.0, 3), said("e2", 1.0, 4)], 10, 0)
    assert (fresh.value, fresh.overdue) == (1.0, False)
    stale = aggregate(weekly, [said("e1", 1.0, 3), said("e2", 1.0, 4)], 11, 0)
    assert (stale.value, stale.overdue) == (None, True)
    assert not aggregate(weekly, [], 7, 0).overdue
