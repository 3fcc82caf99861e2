"""The workload models, by name."""

from collections.abc import Mapping
from typing import Final

from simulator.errors import WorldError
from simulator.workloads.idle import Idle
from simulator.workloads.inference import Inference
from simulator.workloads.interface import Workload
from simulator.workloads.training import Training

WORKLOADS: Final[Mapping[str, Workload]] = {
    workload.name: workload for workload in (Idle(), Inference(), Training())
}


def find_workload(name: str) -> Workload:
    """Return the workload model of that name; raises WorldError when there is none."""
    try:
        return WORKLOADS[name]
    except KeyError:
        raise WorldError(
            "UNKNOWN_WORKLOAD", f"no workload {name!r}; there are {', '.join(WORKLOADS)}"
        ) from None
