"""What a workload is: something that keeps a chip busy and knows what it executed.

Adding one is adding a file, and its name to tests/gpu/workloads/registry.py. Nothing but PyTorch is needed, and that
only once a job is prepared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from tests.gpu.workloads.counts import NOTHING, Counts

SIZES: Final = ("tiny", "full")
"""``tiny`` is for tests on a CPU; ``full`` fills an H100 or H200 of 80 GB."""


class UnavailableError(Exception):
    """This machine, or this version of PyTorch, cannot do what the workload needs; the message says what."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was just put to the chip, and how long nothing is put to it afterwards, in seconds."""

    counts: Counts = NOTHING
    pause_s: float = 0.0


class Job(Protocol):
    """A workload that is ready to run."""

    @property
    def shape(self) -> Mapping[str, str]:
        """What its counts follow from: sizes, layers, batch."""
        ...

    def step(self) -> Step:
        """Put the next step's kernels to the chip; whoever calls waits until they are done."""
        ...


class Workload(Protocol):
    """One kind of work."""

    @property
    def name(self) -> str:
        """The name by which it is chosen."""
        ...

    @property
    def does(self) -> str:
        """One line for people."""
        ...

    @property
    def beside(self) -> tuple[str, ...]:
        """Workloads that run at the same time, each in a process of its own; their work counts in the same log."""
        ...

    @property
    def disguises(self) -> str:
        """The workload that this one tries not to look like; empty where it is no disguise."""
        ...

    def prepare(self, device: str, size: str) -> Job:
        """Load what the job needs onto ``device`` (PyTorch's name of it); raises UnavailableError."""
        ...
