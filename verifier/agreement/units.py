"""Values with units, as agreements write them: ``"1e21 FLOP"``, ``"14 d"``, ``"16 H100e"``, ``"90 %"``.

One unit a dimension inside: FLOP, milliseconds, H100e, and a share from 0 to 1.
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from verifier.agreement.errors import UnitError

_QUANTITY = re.compile(r"((?>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)) ?([^\s\d.+-]\S*)")
_FIVE_YEARS_MS = 5 * 366 * 86_400_000


class Dimension(Enum):
    """What a value measures; the value is the words for it in messages."""

    COMPUTE = "compute (operations executed)"
    DURATION = "a duration"
    CHIPS = "an amount of chips"
    SHARE = "a share"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: what it measures, and how many of the unit used inside it is worth."""

    dimension: Dimension
    factor: float


UNITS: Mapping[str, Unit] = {
    "FLOP": Unit(Dimension.COMPUTE, 1.0),
    "TFLOP": Unit(Dimension.COMPUTE, 1e12),
    "PFLOP": Unit(Dimension.COMPUTE, 1e15),
    "EFLOP": Unit(Dimension.COMPUTE, 1e18),
    "ms": Unit(Dimension.DURATION, 1.0),
    "s": Unit(Dimension.DURATION, 1e3),
    "min": Unit(Dimension.DURATION, 60e3),
    "h": Unit(Dimension.DURATION, 3_600e3),
    "d": Unit(Dimension.DURATION, 86_400e3),
    "H100e": Unit(Dimension.CHIPS, 1.0),
    "%": Unit(Dimension.SHARE, 0.01),
}
"""Every unit that a value may carry. H100e: as many H100 as have the same dense BF16 peak (989 TFLOP/s)."""


def parse_quantity(text: str, dimension: Dimension) -> float:
    """Return a value in the unit used inside for that dimension; never negative, infinite or NaN.

    Raises :class:`UnitError` when there is no number, no unit, or the unit measures something else.
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise UnitError(
            "NO_UNIT", f"{text!r} is not a number and a unit: write {_example(dimension)}"
        )
    unit = UNITS.get(found[2])
    if unit is None:
        near = difflib.get_close_matches(found[2], _names(dimension), 1, 0.4)
        hint = f"did you mean {near[0]!r}" if near else f"write {_example(dimension)}"
        raise UnitError("UNKNOWN_UNIT", f"{text!r} has the unknown unit {found[2]!r}: {hint}")
    if unit.dimension is not dimension:
        raise UnitError(
            "WRONG_DIMENSION",
            f"{text!r} is {unit.dimension.value}, and this must be {dimension.value}: write {_example(dimension)}",
        )
    value = float(found[1]) * unit.factor
    if not math.isfinite(value) or value < 0:
        raise UnitError("OUT_OF_RANGE", f"{text!r} must be finite and not negative")
    if dimension is Dimension.SHARE and value > 1:
        raise UnitError("OUT_OF_RANGE", f"{text!r} is a share, and must be at most 100 %")
    return value


def parse_duration_ms(text: str) -> int:
    """Return a duration in whole milliseconds, at most five years; errors as :func:`parse_quantity`."""
    value = parse_quantity(text, Dimension.DURATION)
    if value > _FIVE_YEARS_MS:
        raise UnitError("OUT_OF_RANGE", f"{text!r} is longer than five years")
    return round(value)


def _names(dimension: Dimension) -> list[str]:
    return [name for name, unit in UNITS.items() if unit.dimension is dimension]


_EXAMPLES: Mapping[Dimension, str] = {
    Dimension.COMPUTE: "1e21 FLOP",
    Dimension.DURATION: "14 d",
    Dimension.CHIPS: "16 H100e",
    Dimension.SHARE: "90 %",
}


def _example(dimension: Dimension) -> str:
    return f'"{_EXAMPLES[dimension]}" (units: {", ".join(_names(dimension))})'
