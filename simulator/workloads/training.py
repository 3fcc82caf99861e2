"""Training: dense pre-training of a large model, in steps that all chips of the job take together.

A step is a long phase of products, with traffic over NVLink, and a short one in which gradients are exchanged and the
optimizer runs. Its length jitters a little, for all chips alike: this is what makes nodes of one job coherent.
"""

from collections.abc import Iterator

from simulator.chip import Activity, ChipSpec
from simulator.workloads.interface import Draw, Parameter

_STEP_S = 10.77
_STEP_JITTER_S = 0.05
_EXCHANGE_SHARE = 0.12
_TENSOR = 0.44
_EXCHANGE_TENSOR = 0.03
_CLOCK_MHZ = 1755.0
_RESIDENT_SHARE = 0.92
_NVLINK_BYTES_PER_S = 24.4e9
_EXCHANGE_NVLINK_BYTES_PER_S = 40e9


class Training:
    """A chip that trains in step with the others of its job, in 16-bit precision."""

    name = "training"
    does = "dense pre-training in steps of 10.8 s: tensor activity about 0.39, about 550 W a chip"
    parameters = (
        Parameter(
            "step",
            "10.77 s",
            "GPT-3 175B on 64 nodes of 8 H100, between step events (MLCommons training_results_v4.0)",
        ),
        Parameter(
            "tensor activity",
            "0.44 in products, 0.39 over a step",
            "400 TFLOP/s and 38 to 43 % of peak a chip on 8 to 16 thousand H100, 'The Llama 3 Herd of Models' "
            "(arXiv:2407.21783) section 3.3",
        ),
        Parameter(
            "power",
            "about 550 W, falling while gradients are exchanged",
            "6.85 kW at the wall of 8 x H100 in the same GPT-3 runs, about 2.1 kW of it the host's",
        ),
        Parameter("clock", "1755 MHz", "judgement: between 1.46 and 1.98 GHz seen in training"),
        Parameter("exchange share of a step", "0.12", "judgement"),
        Parameter(
            "NVLink", "24 GB/s each way in products", "judgement, of the order of published traces"
        ),
    )

    def activity(self, spec: ChipSpec, seconds: int, draw: Draw) -> Iterator[Activity]:
        """Yield seconds of training. The job's randomness sets when steps begin, the chip's how hard it works."""
        skill = draw.chip.gauss(1.0, 0.01)
        begun = -draw.job.uniform(0.0, _STEP_S)
        length = _STEP_S
        for second in range(seconds):
            while second >= begun + length:
                begun += length
                length = _STEP_S + draw.job.gauss(0.0, _STEP_JITTER_S)
            exchange = _overlap(second, begun + (1 - _EXCHANGE_SHARE) * length, begun + length)
            yield self._mix(spec, exchange, skill * draw.chip.gauss(1.0, 0.01))

    @staticmethod
    def _mix(spec: ChipSpec, exchange: float, effort: float) -> Activity:
        products = 1.0 - exchange
        hmma = effort * (_TENSOR * products + _EXCHANGE_TENSOR * exchange)
        nvlink = _NVLINK_BYTES_PER_S * products + _EXCHANGE_NVLINK_BYTES_PER_S * exchange
        return Activity(
            sm=0.85 * products + 0.35 * exchange,
            hmma=hmma,
            fp16=0.04 * products,
            fp32=0.06 * products + 0.10 * exchange,
            dram=0.45 * products + 0.30 * exchange,
            busy=1.0,
            clock_mhz=min(_CLOCK_MHZ, spec.boost_mhz),
            memory_used_bytes=_RESIDENT_SHARE * spec.memory_bytes,
            pcie_tx=40e6 * products + 4e9 * exchange,
            pcie_rx=60e6 * products + 4e9 * exchange,
            nvlink_tx=nvlink,
            nvlink_rx=nvlink,
            processes=1,
        )


def _overlap(second: int, start: float, end: float) -> float:
    """Return the share of the second [second, second + 1) that lies in [start, end); 0 to 1."""
    return max(0.0, min(second + 1.0, end) - max(float(second), start))
