"""Kernels that wait for memory: long vectors added, two operations an element."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.gpu.workloads.counts import Counts
from tests.gpu.workloads.interface import Job, Step

_ELEMENTS: Final = {"tiny": 1 << 12, "full": 1 << 28}
_REPEATS: Final = 16
_FACTOR: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Vectors:
    shape: Mapping[str, str]
    x: Any
    y: Any
    out: Any

    def step(self) -> Step:
        import torch

        for _ in range(_REPEATS):
            torch.add(self.x, self.y, alpha=_FACTOR, out=self.out)
        return Step(Counts.of("fp32", 2 * self.x.numel() * _REPEATS))


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """z = x + y / 2 over vectors of FP32 that fit no cache."""

    name: str = "memory-bound"
    does: str = "long vectors added: memory at its limit, hardly an operation"
    beside: tuple[str, ...] = ()
    disguises: str = ""

    def prepare(self, device: str, size: str) -> Job:
        """Make the vectors."""
        import torch

        elements = _ELEMENTS[size]
        x, y = torch.randn(2, elements, device=device).unbind(0)
        shape = {"elements": str(elements), "repeats": str(_REPEATS)}
        return _Vectors(shape, x, y, torch.empty_like(x))


WORKLOADS: Final = (MemoryBound(),)
