"""The workloads, by name."""

from collections.abc import Mapping
from typing import Final

from tests.gpu.workloads import (
    covered,
    finetuning,
    idle,
    inference,
    interleaved,
    memory,
    paced,
    padded,
    products,
    smoothed,
    training,
)
from tests.gpu.workloads.interface import Workload

_MODULES: Final[tuple[tuple[Workload, ...], ...]] = (
    idle.WORKLOADS,
    products.WORKLOADS,
    memory.WORKLOADS,
    training.WORKLOADS,
    finetuning.WORKLOADS,
    inference.WORKLOADS,
    paced.WORKLOADS,
    interleaved.WORKLOADS,
    covered.WORKLOADS,
    smoothed.WORKLOADS,
    padded.WORKLOADS,
)

WORKLOADS: Final[Mapping[str, Workload]] = {
    workload.name: workload for module in _MODULES for workload in module
}


class UnknownWorkloadError(Exception):
    """There is no workload of that name; the message lists those that there are."""


def find_workload(name: str) -> Workload:
    """Return the workload of that name; raises UnknownWorkloadError."""
    try:
        return WORKLOADS[name]
    except KeyError:
        raise UnknownWorkloadError(
            f"no workload {name!r}; there are {', '.join(WORKLOADS)}"
        ) from None
