"""Training that rests: rarely at work, in bursts, or at no regular beat."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tests.gpu.workloads.interface import Job, Step, Workload
from tests.gpu.workloads.training import PRETRAINING, Training


@dataclass(frozen=True, slots=True)
class PacedJob:
    """Another job's steps, each followed by the next of ``pauses``, in seconds."""

    inner: Job
    pauses: Iterator[float]

    @property
    def shape(self) -> Mapping[str, str]:
        """That of the job within."""
        return self.inner.shape

    def step(self) -> Step:
        """Take the inner job's step, and rest after it."""
        step = self.inner.step()
        return replace(step, pause_s=step.pause_s + next(self.pauses))


@dataclass(frozen=True, slots=True)
class Paced:
    """``inner`` with pauses after its steps; ``pauses`` makes them for a length of one second or of a tiny one."""

    name: str
    does: str
    inner: Workload
    pauses: Callable[[float], Iterator[float]]
    beside: tuple[str, ...] = ()
    disguises: str = "training"

    def prepare(self, device: str, size: str) -> Job:
        """Prepare the work within."""
        return PacedJob(self.inner.prepare(device, size), self.pauses(_SECOND[size]))


_SECOND: Final = {"tiny": 0.01, "full": 1.0}
"""What counts as a second: tests do not wait."""


def rarely(second: float) -> Iterator[float]:
    """Yield two and a half seconds after every step."""
    return itertools.repeat(2.5 * second)


def in_bursts(second: float) -> Iterator[float]:
    """Yield a second after every third step."""
    return itertools.cycle((0.0, 0.0, second))


def irregularly(second: float) -> Iterator[float]:
    """Yield up to half a second, drawn anew for every step from one seed."""
    draw = random.Random(0)
    while True:
        yield draw.uniform(0.0, 0.5 * second)


_TRAINING: Final = Training("training", "", PRETRAINING)
WORKLOADS: Final = (
    Paced("throttled", "training that sleeps most of the time", _TRAINING, rarely),
    Paced("duty-cycled", "training in bursts of three steps", _TRAINING, in_bursts),
    Paced("jittered", "training whose steps keep no beat", _TRAINING, irregularly),
)
