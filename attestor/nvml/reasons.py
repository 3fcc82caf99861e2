"""Why a chip's clocks are held down: for power, for heat, or for want of work.

NVML tells the reasons of the instant as bits; they were called throttle reasons before driver 535.
https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Final

import pynvml

from attestor.nvml.calls import UINT64_SENTINELS, Answer, Handle, is_offered

CHANNELS: Final = ("throttle_power", "throttle_thermal", "throttle_idle")

_HEAT: Final = (
    pynvml.nvmlClocksEventReasonSwThermalSlowdown | pynvml.nvmlClocksEventReasonHwThermalSlowdown
)
_POWER: Final = (
    pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
)

Ask = Callable[[Handle], int]


def _newest(handle: Handle) -> int:
    reasons: int = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
    return reasons


def _older(handle: Handle) -> int:
    reasons: int = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return reasons


@lru_cache(maxsize=256)
def throttles(reasons: int) -> Mapping[str, float]:
    """Return the channels, 0 or 1 each, of NVML's bits; none of a sentinel.

    The hardware's slowdown has three causes: heat, the power brake, and too much power. The first two have bits of
    their own, so that without that of heat it is for power.
    """
    if reasons in UINT64_SENTINELS:
        return {}
    slowed = reasons & pynvml.nvmlClocksEventReasonHwSlowdown
    hot = reasons & pynvml.nvmlClocksEventReasonHwThermalSlowdown
    found = (
        reasons & _POWER or (slowed and not hot),
        reasons & _HEAT,
        reasons & pynvml.nvmlClocksEventReasonGpuIdle,
    )
    told = {name: float(bool(one)) for name, one in zip(CHANNELS, found, strict=True)}
    return MappingProxyType(told)  # it is kept


class ClockReasons:
    """The reasons of one chip."""

    name = "clock reasons"
    channels = frozenset(CHANNELS)

    def __init__(self, handle: Handle, ask: Ask) -> None:
        self._handle = handle
        self._ask = ask

    def read(self, now_ms: int) -> Answer:  # noqa: ARG002 - they are of the instant
        """Return the reasons of now. Raises NVMLError."""
        return Answer(throttles(self._ask(self._handle)))


def find_reasons(handle: Handle) -> ClockReasons | None:
    """Return the reasons of a chip that tells them, by either name. Raises NVMLError where the chip is lost."""
    for ask in (_newest, _older):
        if is_offered(partial(ask, handle)):
            return ClockReasons(handle, ask)
    return None
