"""How busy a chip's SMs, pipes and memory were: NVIDIA's GPM, on Hopper and newer.

GPM compares two samples of a chip's counters, and tells shares of all the time between them: nothing falls between two
readings, however far apart. So a reading is *of* the instant of its later sample, and *about* the time since the
sample before. NVIDIA asks for more than 100 ms between the two, since counters are refreshed no oftener: one in
:data:`EVERY_MS` is taken, or as many as reads there are. https://docs.nvidia.com/deploy/nvml-api/

On a chip that is partitioned (MIG) GPM tells of instances, not of the chip: there it counts as not offered.
"""

from collections.abc import Mapping
from ctypes import Structure
from functools import partial
from typing import Any, Final

import pynvml

from attestor.nvml.calls import LOST, REFUSED, REFUSED_ONE, Answer, Handle, offered

EVERY_MS: Final = 200
"""Between two samples of a chip that is asked oftener."""
LEAST_MS: Final = 150
"""Two samples nearer to each other are not compared: half as far again as NVIDIA asks for."""
LONGEST_MS: Final = 10_000
"""Nor are two that lie further apart: what they say is of before rather than of now."""
_MOST_PERCENT: Final = 101.0
"""Counters are not read all at once, so that full activity may come out as a little more; beyond, it is no reading."""

_METRICS: Final[Mapping[str, int]] = {
    "sm_active": pynvml.NVML_GPM_METRIC_SM_UTIL,
    "tensor_active": pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
    "hmma_active": pynvml.NVML_GPM_METRIC_HMMA_TENSOR_UTIL,
    "imma_active": pynvml.NVML_GPM_METRIC_IMMA_TENSOR_UTIL,
    "dmma_active": pynvml.NVML_GPM_METRIC_DFMA_TENSOR_UTIL,
    "fp16_active": pynvml.NVML_GPM_METRIC_FP16_UTIL,
    "fp32_active": pynvml.NVML_GPM_METRIC_FP32_UTIL,
    "fp64_active": pynvml.NVML_GPM_METRIC_FP64_UTIL,
    "dram_active": pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
}
CHANNELS: Final = tuple(_METRICS)

_NOTHING: Final = Answer()


class _Metric(Structure):
    """nvidia-ml-py's own structure, without its way of reading attributes, which takes ten times as long."""

    _fields_ = pynvml.c_nvmlGpmMetric_t._fields_


class Gpm:
    """Two samples of one chip, taken in turns. They are the library's memory: whoever made it closes it.

    ``longest_ms``: how far apart two samples may lie, by the agent's clock. ``partitioned``: whether the chip was when
    it was last asked; None where it cannot be.
    """

    name = "activity"

    def __init__(self, handle: Handle, longest_ms: int = LONGEST_MS) -> None:
        self.partitioned: bool | None = None
        self._handle = handle
        self._longest_ms = longest_ms
        self._asked = tuple(_METRICS)
        self._samples: list[Any] = []  # the one to be compared with, and the one to be taken
        self._at_ms: int | None = None
        self._due_ms = 0
        self._request = pynvml.c_nvmlGpmMetricsGet_t()
        self._request.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        self._metrics = (_Metric * len(_METRICS)).from_buffer(
            self._request, pynvml.c_nvmlGpmMetricsGet_t.metrics.offset
        )
        self._ask_for(self._asked)

    def _ask_for(self, names: tuple[str, ...]) -> None:
        self._asked = names
        self._request.numMetrics = len(names)
        for metric, name in zip(self._metrics, names, strict=False):
            metric.metricId = _METRICS[name]

    @property
    def channels(self) -> frozenset[str]:
        """What has not been refused for good, and nothing while the chip is partitioned."""
        return frozenset() if self.partitioned else frozenset(self._asked)

    @classmethod
    def find(cls, handle: Handle, longest_ms: int = LONGEST_MS) -> "Gpm | None":
        """Return GPM of a chip, None where chip, driver or user does not have it. Raises NVMLError of a lost chip.

        Which metrics a chip refuses shows once two samples were compared.
        """
        gpm = cls(handle, longest_ms)
        try:
            if not pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
                return None
            if not gpm._is_partitioned():
                gpm._take()
        except pynvml.NVMLError as error:
            gpm.close()
            if error.value in LOST:
                raise
            return None if error.value in REFUSED else gpm
        return gpm

    def read(self, now_ms: int) -> Answer:
        """Return the shares of the time since the sample before, 0 to 1; nothing where none is due at ``now_ms``.

        What is refused for good is not asked for again. Where comparing fails, the sample before is kept, so that
        the next reading is about all of the time since. Raises NVMLError.
        """
        if self._at_ms is not None and now_ms < self._at_ms:
            self._at_ms = None  # the clock was wrong before
        since_ms = None if self._at_ms is None else now_ms - self._at_ms
        if since_ms is not None and (now_ms < self._due_ms or since_ms < LEAST_MS):
            return _NOTHING
        if not self._asked or self._is_partitioned():
            self.close()
            return _NOTHING
        self._due_ms = now_ms - now_ms % EVERY_MS + EVERY_MS
        self._take()
        answer = _NOTHING
        if since_ms is not None and since_ms <= self._longest_ms:
            answer = self._compare()
        self._samples.reverse()
        self._at_ms = now_ms
        return answer

    def _is_partitioned(self) -> bool:
        try:
            self.partitioned = bool(pynvml.nvmlDeviceGetMigMode(self._handle)[0])
        except pynvml.NVMLError as error:
            if error.value not in REFUSED:
                raise
            self.partitioned = None
        return bool(self.partitioned)

    def _take(self) -> None:
        while len(self._samples) < 2:
            self._samples.append(pynvml.nvmlGpmSampleAlloc())
        pynvml.nvmlGpmSampleGet(self._handle, self._samples[1])

    def _compare(self) -> Answer:
        request = self._request
        request.sample1, request.sample2 = self._samples
        pynvml.nvmlGpmMetricsGet(request)
        values: dict[str, float] = {}
        errors: dict[str, pynvml.NVMLError] = {}
        refused: set[str] = set()
        for name, metric in zip(self._asked, self._metrics, strict=False):
            code = metric.nvmlReturn
            if code == pynvml.NVML_SUCCESS:
                percent = metric.value
                values[name] = 1.0 if 100.0 < percent <= _MOST_PERCENT else percent / 100
            elif code in REFUSED_ONE:
                refused.add(name)
            else:
                errors[name] = pynvml.NVMLError(code)
        if refused:
            self._ask_for(tuple(name for name in self._asked if name not in refused))
        return Answer(values, errors)

    def close(self) -> None:
        """Free the samples. Closing twice does no harm, and it may be read again afterwards."""
        samples, self._samples, self._at_ms = self._samples, [], None
        for sample in samples:
            offered(partial(pynvml.nvmlGpmSampleFree, sample))
