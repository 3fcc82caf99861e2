"""How many operations kernels execute, from the shapes of their operands alone.

A product of an m x k with a k x n matrix is 2 m n k operations: a multiplication and an addition each. What a fused
kernel computes again, what is padding and what is masked away is executed all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


def product(m: int, n: int, k: int, *, batch: int = 1) -> int:
    """Return the operations of ``batch`` products of an m x k with a k x n matrix."""
    return 2 * m * n * k * batch


def _sum(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in {**left, **right}}


@dataclass(frozen=True, slots=True)
class Counts:
    """Operations by precision, as FLOP logs name it: those executed, and those of them that were useful."""

    executed: Mapping[str, int] = field(default_factory=dict)
    useful: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, precision: str, executed: int, useful: int | None = None) -> Self:
        """Return operations of one precision; all are useful unless it is said how many are."""
        return cls({precision: executed}, {precision: executed if useful is None else useful})

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(_sum(self.executed, other.executed), _sum(self.useful, other.useful))

    def times(self, factor: int) -> "Counts":
        """Return the same work done ``factor`` times."""
        return Counts(
            {name: count * factor for name, count in self.executed.items()},
            {name: count * factor for name, count in self.useful.items()},
        )

    def useless(self) -> "Counts":
        """Return the same work where nobody needs it: cover."""
        return Counts(self.executed, {})

    @property
    def total_executed(self) -> int:
        """Operations executed, all precisions together."""
        return sum(self.executed.values())

    @property
    def total_useful(self) -> int:
        """Useful operations, all precisions together."""
        return sum(self.useful.values())


NOTHING = Counts()
"""No operation at all."""
