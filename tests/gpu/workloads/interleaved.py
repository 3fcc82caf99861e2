"""Training between the tokens of answers, in one process."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tests.gpu.workloads.inference import DECODE
from tests.gpu.workloads.interface import Job, Step, Workload
from tests.gpu.workloads.training import PRETRAINING, Training

_TOKENS: Final = 12
"""Steps of inference for each of training: of like length at the full size."""


_SMALL: Final = Training(
    "training", "", {**PRETRAINING, "full": replace(PRETRAINING["full"], batch=4)}
)


@dataclass(slots=True)
class InterleavedJob:
    """One step of ``hidden``, then ``shown_steps`` of ``shown``, and so on."""

    hidden: Job
    shown: Job
    shown_steps: int
    _taken: int = field(default=0)

    @property
    def shape(self) -> Mapping[str, str]:
        """Both jobs' shapes."""
        hidden = {f"hidden_{name}": word for name, word in self.hidden.shape.items()}
        shown = {f"shown_{name}": word for name, word in self.shown.shape.items()}
        return {**hidden, **shown, "shown_steps": str(self.shown_steps)}

    def step(self) -> Step:
        """Take the next step of whichever is next."""
        job = self.shown if self._taken % (self.shown_steps + 1) else self.hidden
        self._taken += 1
        return job.step()


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Small training steps among the tokens of long answers."""

    name: str = "interleaved"
    does: str = "small training steps among the tokens of answers, several times a second"
    hidden: Workload = _SMALL
    shown: Workload = DECODE
    beside: tuple[str, ...] = ()
    disguises: str = "training"

    def prepare(self, device: str, size: str) -> Job:
        """Prepare both."""
        return InterleavedJob(
            self.hidden.prepare(device, size), self.shown.prepare(device, size), _TOKENS
        )


WORKLOADS: Final = (Interleaved(),)
