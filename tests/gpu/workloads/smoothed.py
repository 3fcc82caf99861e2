"""Training whose pauses are filled with products that nobody needs, so that power does not fall between steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.gpu.workloads.interface import Job, Step, Workload
from tests.gpu.workloads.products import Product
from tests.gpu.workloads.training import PRETRAINING, Training

_REAL: Final = Training("training", "", PRETRAINING)
_FILLER: Final = Product("product-bf16", "", "bf16")
_FILLERS: Final = 10
"""Steps of filler after each step of training: a third of its time at the full size."""


@dataclass(frozen=True, slots=True)
class SmoothedJob:
    """A step of ``real`` and ``fillers`` of ``filler``, none of which is of use."""

    real: Job
    filler: Job
    fillers: int

    @property
    def shape(self) -> Mapping[str, str]:
        """Both jobs' shapes."""
        filler = {f"filler_{name}": word for name, word in self.filler.shape.items()}
        return {**self.real.shape, **filler, "fillers": str(self.fillers)}

    def step(self) -> Step:
        """Take a step, and fill the pause after it."""
        counts = self.real.step().counts
        for _ in range(self.fillers):
            counts += self.filler.step().counts.useless()
        return Step(counts)


@dataclass(frozen=True, slots=True)
class Smoothed:
    """Training and filler."""

    name: str = "smoothed"
    does: str = "training whose pauses are filled with products for nobody"
    real: Workload = _REAL
    filler: Workload = _FILLER
    beside: tuple[str, ...] = ()
    disguises: str = "training"

    def prepare(self, device: str, size: str) -> Job:
        """Prepare both."""
        return SmoothedJob(
            self.real.prepare(device, size), self.filler.prepare(device, size), _FILLERS
        )


WORKLOADS: Final = (Smoothed(),)
