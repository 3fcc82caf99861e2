"""Inference: a large model decoding for many users, with bursts of prefill.

Decoding reads every weight for every token, so that it is bound by memory: DRAM is busy, tensor pipes hardly. Prefill
is bound by compute. The load follows requests, so that chips of different replicas do not move together.
"""

from collections.abc import Iterator

from simulator.chip import Activity, ChipSpec
from simulator.workloads.interface import Draw, Parameter

_DECODE_TENSOR = 0.04
_PREFILL_TENSOR = 0.45
_PREFILL_SHARE = 0.06
_RESIDENT_SHARE = 0.85


class Inference:
    """A chip that serves a large model at a steady load."""

    name = "inference"
    does = "decoding with bursts of prefill: DRAM-bound, tensor activity about 0.04 while decoding"
    parameters = (
        Parameter(
            "decode power",
            "about 230 to 300 W",
            "137 to 300 W while decoding on Hopper at a limit of 700 W (arXiv:2605.11999)",
        ),
        Parameter(
            "decode tensor activity",
            "0.04",
            "judgement: memory-bound by far (arXiv:2605.11999); pipeline-parallel training lies at 0.11 and above",
        ),
        Parameter(
            "prefill share of time",
            "0.06",
            "judgement: a service whose replies are several times as long as its prompts",
        ),
        Parameter("load", "slow random walk between 0.6 and 1", "judgement: many users"),
    )

    def activity(self, spec: ChipSpec, seconds: int, draw: Draw) -> Iterator[Activity]:
        """Yield seconds of serving."""
        load = draw.chip.uniform(0.7, 0.95)
        for _ in range(seconds):
            load = min(1.0, max(0.6, load + draw.chip.gauss(0.0, 0.02)))
            # A second holds many requests: prefill takes a share of it that varies from second to second.
            prefill = min(1.0, draw.chip.expovariate(1 / _PREFILL_SHARE)) * load
            decode = load - prefill
            dram = 0.75 * decode + 0.25 * prefill
            tokens_bytes = 2e9 * load
            yield Activity(
                sm=0.55 * decode + 0.85 * prefill,
                hmma=_DECODE_TENSOR * decode + _PREFILL_TENSOR * prefill,
                fp16=0.05 * load,
                fp32=0.03 * load,
                dram=dram,
                busy=load,
                clock_mhz=spec.boost_mhz,
                memory_used_bytes=_RESIDENT_SHARE * spec.memory_bytes,
                pcie_tx=3e6 * load,
                pcie_rx=8e6 * load,
                nvlink_tx=tokens_bytes,
                nvlink_rx=tokens_bytes,
                processes=1,
            )
