"""Conditions: a small, terminating part of CEL over bounded aggregates of the indicators.

CEL is the Common Expression Language (https://github.com/google/cel-spec). This file is the only one that knows the
runtime, and it guards what the runtime does not:

- a missing value evaluates to an ERROR whose plain value is a text, hence truthy: only a BOOL counts;
- ``1.0/0.0`` is an infinity that exceeds every threshold: ``/``, ``%`` and ``*`` are not in the list, and values and
  numbers beyond 1e15 do not count, so that no sum overflows;
- an average lets one signer drag a value anywhere: where two middle values differ, a condition is evaluated with
  each, and holds only when it holds with both;
- calls, texts, lists and time zones are not in the list either: no condition can loop, read a clock or match a
  pattern;
- ``x > 24`` is a type error, since indicators are doubles: the message says to write ``24.0``.
"""

import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from cel_expr_python import cel

from verifier.agreement.errors import ConditionError
from verifier.agreement.model import Indicator

_TOKEN = re.compile(
    r"\s+"
    r"|(?P<name>[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)"
    r"|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|&&|\|\||[<>=!]=|[<>!()+?:-]"
)
_FIELDS = {"value": cel.Type.DOUBLE, "signers": cel.Type.DOUBLE, "overdue": cel.Type.BOOL}
_MOST_NESTING = 50
_MOST_INDICATORS = 8
GREATEST = 1e15
"""The largest magnitude that a fact or a threshold may have."""


class Truth(Enum):
    """What became of a condition."""

    TRUE = "true"
    FALSE = "false"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True)
class Assertion:
    """A value that a signer asserted for an indicator, logged at ``at_ms``."""

    signer: str
    value: float
    at_ms: int
    statement_id: bytes


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What conditions see of an indicator.

    ``middle`` are the middle values among independent signers' newest, in the indicator's unit: one where their number
    is odd or both agree, else the lower and the higher; empty until enough have one that still counts.
    ``statement_ids`` are those behind it.
    """

    middle: tuple[float, ...]
    signers: int
    overdue: bool
    statement_ids: tuple[bytes, ...]

    @property
    def value(self) -> float | None:
        """The median, for people; conditions look at ``middle``."""
        return sum(self.middle) / len(self.middle) if self.middle else None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that compiled; ``indicators`` are those that it speaks of, in order."""

    text: str
    indicators: tuple[str, ...]
    expression: cel.Expression

    def evaluate(self, aggregates: Mapping[str, Aggregate]) -> Truth:
        """Return what the condition says; UNDETERMINED when that hangs on a value that nobody has.

        ``a || b`` is true when ``a`` is, whether or not ``b`` is known. Where an indicator has two middle values, each
        is tried, in every combination; unless all say the same, that is UNDETERMINED too.
        """
        known: dict[str, float | bool] = {}
        tried: list[list[tuple[str, float]]] = []
        for name in self.indicators:
            seen = aggregates.get(name)
            if seen is None:
                continue
            known[f"indicator.{name}.signers"] = float(seen.signers)
            known[f"indicator.{name}.overdue"] = seen.overdue
            if seen.middle and all(usable(value) for value in seen.middle):
                tried.append([(f"indicator.{name}.value", value) for value in seen.middle])
        found = {self._once({**known, **dict(values)}) for values in itertools.product(*tried)}
        return found.pop() if len(found) == 1 else Truth.UNDETERMINED

    def _once(self, data: Mapping[str, float | bool]) -> Truth:
        try:
            result = self.expression.eval(data=data)
        except RuntimeError:
            return Truth.UNDETERMINED
        if result.type() != cel.Type.BOOL:
            return Truth.UNDETERMINED
        return Truth.TRUE if result.plain_value() is True else Truth.FALSE


def compile_condition(text: str, indicators: Collection[str], place: str) -> Condition:
    """Return a condition ready to evaluate.

    Raises :class:`ConditionError` naming ``place`` when it uses something outside the list, an indicator that the
    agreement does not have, or does not come out as true or false.
    """
    used = _verify_allowed(text, indicators, place)
    variables = {
        f"indicator.{name}.{field}": kind for name in indicators for field, kind in _FIELDS.items()
    }
    try:
        expression = cel.NewEnv(variables=variables).compile(text)
    except RuntimeError as error:
        raise ConditionError("BAD_CONDITION", f"{place}: {_translate(str(error))}") from None
    if expression.return_type() != cel.Type.BOOL:
        raise ConditionError(
            "NOT_A_CONDITION",
            f"{place}: comes out as {expression.return_type().name()}, not true or false",
        )
    return Condition(text, used, expression)


def aggregate(
    indicator: Indicator, assertions: Sequence[Assertion], now_ms: int, since_ms: int
) -> Aggregate:
    """Return what conditions see of an indicator at ``now_ms``.

    ``assertions`` are in log order and none later than now; only the newest of each evaluator that the indicator lists
    counts, so that one signer who floods changes nothing but its own vote. ``since_ms`` is when reporting was first
    due from.
    """
    newest = {a.signer: a for a in assertions if a.signer in indicator.evaluators}
    every = indicator.report_every_ms
    counted = [
        newest[signer]
        for signer in indicator.evaluators
        if signer in newest and (every is None or now_ms - newest[signer].at_ms <= every)
    ]
    enough = len(counted) >= indicator.signers
    return Aggregate(
        middle=_middle([a.value for a in counted]) if enough else (),
        signers=len(counted),
        overdue=every is not None and not enough and now_ms - since_ms > every,
        statement_ids=tuple(a.statement_id for a in counted),
    )


def usable(value: float) -> bool:
    """Return whether conditions may see a value: finite, and at most :data:`GREATEST` in magnitude."""
    return math.isfinite(value) and abs(value) <= GREATEST


def _middle(values: list[float]) -> tuple[float, ...]:
    """Return the middle value, or both where there are two that differ; at least one value."""
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return (low,) if low == high else (low, high)


def _verify_allowed(text: str, indicators: Collection[str], place: str) -> tuple[str, ...]:
    """Check every token against the list; return the indicators named."""
    used: dict[str, None] = {}
    at = 0
    depth = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ConditionError(
                "NOT_ALLOWED",
                f"{place}: {text[at]!r} at character {at + 1} is not allowed in conditions: they compare indicators "
                "with < <= > >= == != + - and join with && || ! ?: and ( )",
            )
        depth += {"(": 1, ")": -1, "!": 1, "-": 1, "?": 1}.get(token[0], 0)
        if depth > _MOST_NESTING:
            raise ConditionError("NOT_ALLOWED", f"{place}: nests too deeply; simplify it")
        if token["number"] and not usable(float(token["number"])):
            raise ConditionError(
                "NOT_ALLOWED", f"{place}: {token['number']} is beyond {GREATEST:g}"
            )
        if token["name"] and token["name"] not in {"true", "false"}:
            used[_indicator_in(token["name"], indicators, place)] = None
        at = token.end()
    if len(used) > _MOST_INDICATORS:
        raise ConditionError(
            "NOT_ALLOWED",
            f"{place}: speaks of {len(used)} indicators, and {_MOST_INDICATORS} are the most",
        )
    return tuple(used)


def _indicator_in(name: str, indicators: Collection[str], place: str) -> str:
    parts = [part.strip() for part in name.split(".")]
    if len(parts) != 3 or parts[0] != "indicator" or parts[2] not in _FIELDS:
        raise ConditionError(
            "NOT_ALLOWED",
            f"{place}: {name!r} is not allowed: write indicator.<id>.value, .signers or .overdue",
        )
    if parts[1] not in indicators:
        raise ConditionError(
            "UNKNOWN_INDICATOR",
            f"{place}: there is no indicator {parts[1]!r}; there are {', '.join(indicators)}",
        )
    return parts[1]


def _translate(message: str) -> str:
    first = message.removeprefix("INVALID_ARGUMENT: ERROR: <input>:").splitlines()[0]
    if "no matching overload" in message and "int" in message and "double" in message:
        return f"{first}: indicators are decimal numbers, write 24.0 and not 24"
    return first
