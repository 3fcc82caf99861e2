"""Single questions to NVML, through nvidia-ml-py: what a chip answers, in the channels' units, and what refusals mean.

Reference: https://docs.nvidia.com/deploy/nvml-api/
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import pynvml

Handle = Any  # an opaque ctypes pointer of pynvml's, which has no type annotations
Call = Callable[[Handle], float | None]
"""Asks a chip for one channel; None where it answered with a sentinel. Raises NVMLError."""

REFUSED: Final = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_NO_PERMISSION,
    }
)
"""Lasting refusals: the chip, the driver or the user that the agent runs as does not have it."""
REFUSED_ONE: Final = REFUSED | {pynvml.NVML_ERROR_INVALID_ARGUMENT}
"""The same for one of many asked at once: to a driver that does not know its number, that is a wrong argument."""
LOST: Final = frozenset({pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED})

VALUE_FIELDS: Final[Mapping[int, str]] = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
}
"""Which member of nvmlValue_t holds a value, by its type."""

_UINT32_SENTINELS: Final = frozenset({0xFFFF_FFFF})
UINT64_SENTINELS: Final = frozenset({0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF})


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question about several channels brought: values by channel, and the NVMLError of each without one."""

    values: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, pynvml.NVMLError] = field(default_factory=dict)


class Group(Protocol):
    """Channels of one chip that are asked for together."""

    @property
    def name(self) -> str:
        """What they are, for people."""
        ...

    @property
    def channels(self) -> frozenset[str]:
        """What the chip offers of them; it may become less."""
        ...

    def read(self, now_ms: int) -> Answer:
        """Return what is due at ``now_ms``, Unix milliseconds. Raises NVMLError where nothing was answered."""
        ...


_T = TypeVar("_T")


def explain(error: pynvml.NVMLError) -> str:
    """Return a refusal in words, with its number."""
    return f"NVML error {error.value}: {error}"


def offered(call: Callable[[], _T]) -> _T | None:
    """Return what a call returns, None where it is refused for any reason."""
    try:
        return call()
    except pynvml.NVMLError:
        return None


def is_offered(call: Callable[[], object]) -> bool:
    """Return whether a chip offers something: only a lasting refusal says that it does not.

    Raises NVMLError where the chip is lost.
    """
    try:
        call()
    except pynvml.NVMLError as error:
        if error.value in LOST:
            raise
        return error.value not in REFUSED
    return True


def offered_calls(table: Mapping[str, tuple[Call, ...]], handle: Handle) -> dict[str, Call]:
    """Return, by channel, the first way of asking that a chip offers. Raises NVMLError where the chip is lost."""
    found: dict[str, Call] = {}
    for name, calls in table.items():
        call = next((call for call in calls if is_offered(partial(call, handle))), None)
        if call is not None:
            found[name] = call
    return found


def _scaled(value: int, sentinels: frozenset[int], factor: float) -> float | None:
    return None if value in sentinels else value * factor


def _energy(handle: Handle) -> float | None:
    return _scaled(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle), UINT64_SENTINELS, 1)


# Sentinels of 32 bits are beyond what these channels can read: ``clean`` takes them out.
def _power(handle: Handle) -> float:
    milliwatts: int = pynvml.nvmlDeviceGetPowerUsage(handle)
    return milliwatts * 1e-3


def _utilisation(handle: Handle) -> float:
    percent: int = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
    return percent * 1e-2


def _clock(handle: Handle) -> float:
    megahertz: int = pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM)
    return megahertz


def _temperature(handle: Handle) -> float:
    celsius: int = pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU)
    return celsius


def _old_temperature(handle: Handle) -> float:
    celsius: int = pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    return celsius


def _memory(handle: Handle) -> float | None:
    return _scaled(pynvml.nvmlDeviceGetMemoryInfo(handle).used, UINT64_SENTINELS, 1)


def _processes(handle: Handle) -> float | None:
    # By its version: the name without one raises what is no NVMLError where the driver lacks it.
    return len(pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle))


def power_limit(handle: Handle) -> float | None:
    """Return the enforced power limit, W."""
    return _scaled(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle), _UINT32_SENTINELS, 1e-3)


def highest_clock(handle: Handle) -> float | None:
    """Return the highest SM clock, MHz."""
    value: int = pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM)
    return _scaled(value, _UINT32_SENTINELS, 1.0)


FAST: Final[Mapping[str, tuple[Call, ...]]] = {
    "energy_mj": (_energy,),
    "power_w": (_power,),
    "utilisation": (_utilisation,),
    "sm_clock_mhz": (_clock,),
}
"""What is asked for each period, by channel: the ways of asking, the newest first."""
SLOW: Final[Mapping[str, tuple[Call, ...]]] = {
    "temperature_c": (_temperature, _old_temperature),
    "memory_used_bytes": (_memory,),
    "processes": (_processes,),
}
"""What changes slowly and costs more to ask for."""
