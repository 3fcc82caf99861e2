"""What a workload model is."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from simulator.chip import Activity, ChipSpec


@dataclass(frozen=True, slots=True)
class Parameter:
    """A figure that a model rests on, and where it is from: a publication, or "judgement" with its grounds."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Draw:
    """A chip's two sources of randomness.

    ``job`` is seeded alike for all chips of a job, so that what they do together falls together; ``chip`` is the
    chip's own.
    """

    job: random.Random
    chip: random.Random


class Workload(Protocol):
    """What a chip is asked to do: a pure function of its randomness, the chip's model and the duration."""

    @property
    def name(self) -> str:
        """The name by which it is chosen."""
        ...

    @property
    def does(self) -> str:
        """One line for people."""
        ...

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The figures it rests on, with their sources."""
        ...

    def activity(self, spec: ChipSpec, seconds: int, draw: Draw) -> Iterator[Activity]:
        """Yield what the chip is asked to do in each of ``seconds`` seconds."""
        ...
