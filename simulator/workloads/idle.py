"""Idle: no process on the chip, clocks at rest."""

from collections.abc import Iterator

from simulator.chip import Activity, ChipSpec
from simulator.workloads.interface import Draw, Parameter

_RESIDENT_BYTES = 0.5e9


class Idle:
    """A chip with nothing to do."""

    name = "idle"
    does = "no process, clocks at rest, about 70 W a chip"
    parameters = (
        Parameter(
            "power",
            "70 W",
            "judgement: H100 SXM boards at rest read 60 to 75 W; a process that only holds memory adds 26 to 50 W "
            "(arXiv:2605.23918)",
        ),
        Parameter("activity", "0 on every pipe", "no process is there to use one"),
        Parameter("memory", "0.5 GB", "judgement: what the driver itself keeps"),
    )

    def activity(self, spec: ChipSpec, seconds: int, draw: Draw) -> Iterator[Activity]:  # noqa: ARG002 - nothing here is random
        """Yield seconds of nothing."""
        nothing = Activity(clock_mhz=spec.idle_mhz, memory_used_bytes=_RESIDENT_BYTES)
        for _ in range(seconds):
            yield nothing
