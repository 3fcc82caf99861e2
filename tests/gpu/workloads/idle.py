"""Nothing, with a model loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.gpu.workloads.interface import Job, Step

_PAUSE_S: Final = {"tiny": 0.01, "full": 0.5}


@dataclass(frozen=True, slots=True)
class _Waiting:
    shape: Mapping[str, str]
    model: Any
    pause_s: float

    def step(self) -> Step:
        return Step(pause_s=self.pause_s)


@dataclass(frozen=True, slots=True)
class Idle:
    """A model in memory that nobody asks anything."""

    name: str = "idle"
    does: str = "a model loaded, and no kernel"
    beside: tuple[str, ...] = ()
    disguises: str = ""

    def prepare(self, device: str, size: str) -> Job:
        """Load the model."""
        from tests.gpu.workloads.inference import load_model

        model = load_model(device, size)
        return _Waiting(model.sizes.words(), model, _PAUSE_S[size])


WORKLOADS: Final = (Idle(),)
