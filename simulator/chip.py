"""A simulated accelerator: what its counters read while it does what a workload says.

The model is deliberately small, and consistent by construction:

- power = idle + (clock / boost clock)^2 x (SM and tensor terms) + DRAM term. Switching power goes with frequency and
  the square of voltage; over the range in which a board is power-managed, an exponent of two is the judgement here.
- A chip over its power limit lowers its clock until it is within, and says that it is throttled for power.
- The energy counter is the running sum of power x time, in mJ: their agreement is exact.
- Temperature follows power with one time constant. Byte counters are running sums of rates.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ChipSpec:
    """What is true of every chip of a model. Powers in W, clocks in MHz, memory and rates in bytes (per second).

    ``sm_w``, ``tensor_w`` and ``dram_w`` are the power, above idle, that each unit draws when wholly active at the
    boost clock. ``heat_c_per_w`` is the rise over ``inlet_c`` per W once settled; ``settle_s`` its time constant.
    """

    model: str
    idle_w: float
    limit_w: float
    idle_mhz: float
    boost_mhz: float
    memory_bytes: int
    dram_bytes_per_s: float
    sm_w: float
    tensor_w: float
    dram_w: float
    inlet_c: float
    heat_c_per_w: float
    settle_s: float


H100: Final = ChipSpec(
    # Board limit 700 W, 80 GB of HBM3 at 3.35 TB/s: NVIDIA, "H100 Tensor Core GPU Datasheet". Boost 1980 MHz and
    # 345 MHz at rest are what its driver reports. Idle boards read 60 to 75 W.
    model="NVIDIA H100 80GB HBM3",
    idle_w=70.0,
    limit_w=700.0,
    idle_mhz=345.0,
    boost_mhz=1980.0,
    memory_bytes=80 * 10**9,
    dram_bytes_per_s=3.35e12,
    # Judgement, fitted by hand to three published figures: decoding draws 137 to 300 W on Hopper (arXiv:2605.11999);
    # 8 x H100 nodes train GPT-3 at 6.85 kW at the wall, about 2.1 kW of it the host's, hence 590 W a chip (MLCommons
    # training_results_v4.0); a chip kept busy with dense products sits at its limit of 700 W at about 1.4 GHz.
    sm_w=130.0,
    tensor_w=1100.0,
    dram_w=160.0,
    # Judgement: an air-cooled board between about 30 degrees at rest and 65 at its limit.
    inlet_c=27.0,
    heat_c_per_w=0.055,
    settle_s=20.0,
)


@dataclass(frozen=True, slots=True)
class Activity:
    """What a workload asks of one chip for one second.

    Shares are of time or cycles, 0 to 1; ``clock_mhz`` is what it would run at were there no power limit; rates are
    bytes a second. ``hmma``, ``imma`` and ``dmma`` are the tensor pipes, whose sum is tensor activity.
    """

    sm: float = 0.0
    hmma: float = 0.0
    imma: float = 0.0
    dmma: float = 0.0
    fp16: float = 0.0
    fp32: float = 0.0
    fp64: float = 0.0
    dram: float = 0.0
    busy: float = 0.0
    clock_mhz: float = 0.0
    memory_used_bytes: float = 0.0
    pcie_tx: float = 0.0
    pcie_rx: float = 0.0
    nvlink_tx: float = 0.0
    nvlink_rx: float = 0.0
    processes: int = 0

    @property
    def tensor(self) -> float:
        """Any tensor pipe's activity."""
        return self.hmma + self.imma + self.dmma


def demanded_w(spec: ChipSpec, activity: Activity, clock_mhz: float) -> float:
    """Return the power in W that ``activity`` takes at ``clock_mhz``, whatever the limit."""
    return spec.idle_w + spec.dram_w * activity.dram + _switched_w(spec, activity, clock_mhz)


def _switched_w(spec: ChipSpec, activity: Activity, clock_mhz: float) -> float:
    full = spec.sm_w * activity.sm + spec.tensor_w * activity.tensor
    return full * (clock_mhz / spec.boost_mhz) ** 2


def settled_clock_mhz(spec: ChipSpec, activity: Activity) -> float:
    """Return the clock in MHz at which ``activity`` stays within the power limit; never below the idle clock."""
    wanted = max(activity.clock_mhz, spec.idle_mhz)
    over = demanded_w(spec, activity, wanted) - spec.limit_w
    if over <= 0:
        return wanted
    switched = _switched_w(spec, activity, wanted)
    left = max(0.0, switched - over)
    return max(spec.idle_mhz, wanted * math.sqrt(left / switched)) if switched else wanted


class Chip:
    """One chip with its counters. ``noise`` is its own source of randomness: the same source gives the same readings.

    The counters start somewhere, as those of a machine that has been up for days.
    """

    def __init__(self, spec: ChipSpec, uuid: str, noise: random.Random) -> None:
        self.spec = spec
        self.uuid = uuid
        self._noise = noise
        self._energy_mj = round(spec.idle_w * 1000 * noise.uniform(1e5, 2e6))
        self._temperature_c = spec.inlet_c + spec.heat_c_per_w * spec.idle_w
        self._bytes = dict.fromkeys(("pcie_tx", "pcie_rx", "nvlink_tx", "nvlink_rx"), 0.0)
        self._wander_w = 0.0

    def second(self, activity: Activity) -> Mapping[str, float]:
        """Do ``activity`` for one second and return the readings at its end, by channel name of a recording."""
        spec = self.spec
        clock = settled_clock_mhz(spec, activity)
        # Board sensors wander by about a watt around what the load says.
        self._wander_w = 0.8 * self._wander_w + self._noise.gauss(0.0, 0.6)
        watts = min(spec.limit_w, demanded_w(spec, activity, clock) + self._wander_w)
        milliwatts = max(1, round(watts * 1000))
        self._energy_mj += milliwatts
        goal = spec.inlet_c + spec.heat_c_per_w * watts
        self._temperature_c += (goal - self._temperature_c) * -math.expm1(-1 / spec.settle_s)
        for name in self._bytes:
            self._bytes[name] += getattr(activity, name)
        idle = activity.busy == 0
        return {
            "power_w": milliwatts / 1000,
            "energy_mj": self._energy_mj,
            "temperature_c": round(self._temperature_c),
            "utilisation": round(activity.busy, 2),
            "sm_active": round(activity.sm, 4),
            "tensor_active": round(activity.tensor, 4),
            "hmma_active": round(activity.hmma, 4),
            "imma_active": round(activity.imma, 4),
            "dmma_active": round(activity.dmma, 4),
            "fp16_active": round(activity.fp16, 4),
            "fp32_active": round(activity.fp32, 4),
            "fp64_active": round(activity.fp64, 4),
            "dram_active": round(activity.dram, 4),
            "sm_clock_mhz": 15 * round(clock / 15),  # the driver steps clocks by 15 MHz
            "memory_used_bytes": round(activity.memory_used_bytes),
            **{f"{name}_bytes": int(total) for name, total in self._bytes.items()},
            "throttle_power": float(clock < activity.clock_mhz),
            "throttle_thermal": 0.0,
            "throttle_idle": float(idle),
            "processes": activity.processes,
        }
