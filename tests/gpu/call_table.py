"""Every call of NVML, and every GPM metric, that an agent could rest on. All of them read; none sets anything.

https://docs.nvidia.com/deploy/nvml-api/
"""

import ctypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pynvml

Handle = Any  # an opaque ctypes pointer of pynvml's, which has no type annotations
Ask = Callable[[], object]

_PLAIN: Final = (
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetPowerManagementLimit",
    "nvmlDeviceGetPowerManagementDefaultLimit",
    "nvmlDeviceGetPowerManagementLimitConstraints",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetBAR1MemoryInfo",
    "nvmlDeviceGetPerformanceState",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetSupportedClocksEventReasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetSupportedMemoryClocks",
    "nvmlDeviceGetAdaptiveClockInfoStatus",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    "nvmlDeviceGetComputeMode",
    "nvmlDeviceGetPersistenceMode",
    "nvmlDeviceGetEccMode",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetArchitecture",
    "nvmlDeviceGetNumGpuCores",
    "nvmlDeviceGetMemoryBusWidth",
    "nvmlDeviceGetPowerSource",
    "nvmlDeviceGetAccountingMode",
    "nvmlDeviceGetVbiosVersion",
    "nvmlDeviceGetGspFirmwareVersion",
    "nvmlDeviceGetVirtualizationMode",
    "nvmlDeviceGetMarginTemperature",
    "nvmlGpmQueryDeviceSupport",
    "nvmlGpmQueryIfStreamingEnabled",
)
"""Calls of a device alone."""
_WITH: Final = (
    ("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU"),
    ("nvmlDeviceGetTemperatureV", "NVML_TEMPERATURE_GPU"),
    ("nvmlDeviceGetTemperatureThreshold", "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN"),
    *(
        (call, f"NVML_CLOCK_{clock}")
        for call in (
            "nvmlDeviceGetClockInfo",
            "nvmlDeviceGetMaxClockInfo",
            "nvmlDeviceGetApplicationsClock",
            "nvmlDeviceGetMaxCustomerBoostClock",
        )
        for clock in ("SM", "MEM")
    ),
    *(
        ("nvmlDeviceGetViolationStatus", f"NVML_PERF_POLICY_{policy}")
        for policy in ("POWER", "THERMAL", "LOW_UTILIZATION", "RELIABILITY")
    ),
    ("nvmlDeviceGetPcieThroughput", "NVML_PCIE_UTIL_TX_BYTES"),
    ("nvmlDeviceGetPcieThroughput", "NVML_PCIE_UTIL_RX_BYTES"),
)
"""Calls that take one of NVML's numbers, by its name."""
_SAMPLES: Final = (
    "TOTAL_POWER",
    "MODULE_POWER",
    "GPU_UTILIZATION",
    "MEMORY_UTILIZATION",
    "PROCESSOR_CLK",
    "MEMORY_CLK",
)
_FIELDS: Final = (
    "TOTAL_ENERGY_CONSUMPTION",
    "ENERGY",
    "POWER_AVERAGE",
    "POWER_INSTANT",
    "POWER_CURRENT_LIMIT",
    "POWER_REQUESTED_LIMIT",
    "POWER_DEFAULT_LIMIT",
    "POWER_MIN_LIMIT",
    "POWER_MAX_LIMIT",
    "MEMORY_TEMP",
    "PCIE_COUNT_TX_BYTES",
    "PCIE_COUNT_RX_BYTES",
    "NVLINK_THROUGHPUT_DATA_TX",
    "NVLINK_THROUGHPUT_DATA_RX",
    "NVLINK_THROUGHPUT_RAW_TX",
    "NVLINK_THROUGHPUT_RAW_RX",
    "NVLINK_COUNT_XMIT_BYTES",
    "NVLINK_COUNT_RCV_BYTES",
    "PERF_POLICY_POWER",
    "PERF_POLICY_THERMAL",
    "PERF_POLICY_SYNC_BOOST",
    "PERF_POLICY_LOW_UTILIZATION",
    "CLOCKS_EVENT_REASON_SW_POWER_CAP",
    "CLOCKS_EVENT_REASON_SYNC_BOOST",
    "CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN",
    "CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN",
    "CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN",
)
_METRICS: Final = (
    "GRAPHICS_UTIL",
    "SM_UTIL",
    "SM_OCCUPANCY",
    "INTEGER_UTIL",
    "ANY_TENSOR_UTIL",
    "DFMA_TENSOR_UTIL",
    "HMMA_TENSOR_UTIL",
    "DMMA_TENSOR_UTIL",
    "IMMA_TENSOR_UTIL",
    "DRAM_BW_UTIL",
    "FP64_UTIL",
    "FP32_UTIL",
    "FP16_UTIL",
    "PCIE_TX_PER_SEC",
    "PCIE_RX_PER_SEC",
    "NVLINK_TOTAL_RX_PER_SEC",
    "NVLINK_TOTAL_TX_PER_SEC",
)
_ALL_LINKS: Final = 0xFFFF_FFFF
"""The scope that means all NVLinks together."""
APART_S: Final = 0.2
"""Between the two samples that GPM metrics are taken over."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call and how to make it, and what must be done once before. Both raise NVMLError for what is refused."""

    name: str
    ask: Ask
    prepare: Ask = lambda: None


def calls(handle: Handle) -> Iterator[Call]:
    """Yield every call of one device. Numbers and functions that this binding does not know are refused when asked."""
    for name in _PLAIN:
        yield Call(name, partial(_call, name, handle))
    for name, number in _WITH:
        yield Call(f"{name}({number})", partial(_call_with, name, handle, number))
    for kind in _SAMPLES:
        number = f"NVML_{kind}_SAMPLES"
        yield Call(f"nvmlDeviceGetSamples({number})", partial(_samples, handle, number))
    for field in _FIELDS:
        number = f"NVML_FI_DEV_{field}"
        yield Call(f"nvmlDeviceGetFieldValues({number})", partial(_field, handle, number))
    yield from _gpm_calls(handle)


def _call(name: str, handle: Handle) -> object:
    return getattr(pynvml, name)(handle)


def _call_with(name: str, handle: Handle, number: str) -> object:
    return getattr(pynvml, name)(handle, getattr(pynvml, number))


def _samples(handle: Handle, number: str) -> object:
    _, found = pynvml.nvmlDeviceGetSamples(handle, getattr(pynvml, number), 0)
    times = sorted(int(one.timeStamp) for one in found)
    apart = (times[-1] - times[0]) / max(len(times) - 1, 1) if times else 0
    return f"{len(times)} samples, {apart:.0f} us apart"


def _field(handle: Handle, number: str) -> object:
    field = getattr(pynvml, number)
    asked = (field, _ALL_LINKS) if "NVLINK_THROUGHPUT" in number else field
    (found,) = pynvml.nvmlDeviceGetFieldValues(handle, [asked])
    if found.nvmlReturn:
        raise pynvml.NVMLError(found.nvmlReturn)
    kinds = {
        pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
        pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
        pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
        pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
        pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    }
    return getattr(found.value, kinds.get(found.valueType, "ullVal"))


class _Gpm:
    """Two samples of a device; never freed: the process ends soon."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._samples: list[Any] = []

    def take(self) -> object:
        """Take the two, some time apart, if that was not done."""
        if not self._samples:
            samples = [pynvml.nvmlGpmSampleAlloc() for _ in range(2)]
            pynvml.nvmlGpmSampleGet(self._handle, samples[0])
            time.sleep(APART_S)
            pynvml.nvmlGpmSampleGet(self._handle, samples[1])
            self._samples = samples
        return None

    def sample(self) -> object:
        """Take the second anew."""
        pynvml.nvmlGpmSampleGet(self._handle, self._samples[1])
        return None

    def metrics(self, numbers: tuple[int, ...]) -> object:
        """Ask for metrics between the two."""
        asked = pynvml.c_nvmlGpmMetricsGet_t()
        asked.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        asked.numMetrics = len(numbers)
        asked.sample1, asked.sample2 = self._samples
        for place, number in enumerate(numbers):
            asked.metrics[place].metricId = number
        pynvml.nvmlGpmMetricsGet(asked)
        answers = asked.metrics[: len(numbers)]
        if len(answers) == 1 and answers[0].nvmlReturn:
            raise pynvml.NVMLError(answers[0].nvmlReturn)
        return ", ".join(f"{one.value:g}" for one in answers)


def _gpm_calls(handle: Handle) -> Iterator[Call]:
    gpm = _Gpm(handle)
    yield Call("nvmlGpmSampleGet", gpm.sample, gpm.take)
    known: list[int] = []
    for metric in _METRICS:
        number = getattr(pynvml, f"NVML_GPM_METRIC_{metric}", None)
        if number is not None:
            known.append(number)
            name = f"nvmlGpmMetricsGet(NVML_GPM_METRIC_{metric})"
            yield Call(name, partial(gpm.metrics, (number,)), gpm.take)
    yield Call(
        f"nvmlGpmMetricsGet({len(known)} metrics)", partial(gpm.metrics, tuple(known)), gpm.take
    )


REFUSALS: Final = (AttributeError, TypeError, ValueError, ctypes.ArgumentError)
"""What the binding raises where it does not know a call or a number, or cannot read the answer."""
