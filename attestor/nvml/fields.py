"""Bytes that a chip has moved over PCIe and NVLink: counters, all of them in one question.

``nvmlDeviceGetPcieThroughput`` is never asked: it measures for 20 ms, and keeps the caller waiting for as long. Of
NVLink the data are counted, without the protocol's overhead, of all links together, in KiB.
https://docs.nvidia.com/deploy/nvml-api/group__nvmlFieldValueEnums.html
"""

from collections.abc import Mapping
from typing import Any, Final

import pynvml

from attestor.nvml.calls import LOST, REFUSED, REFUSED_ONE, VALUE_FIELDS, Answer, Handle

_KIB: Final = 1024
_ALL_LINKS: Final = 0xFFFF_FFFF
_FIELDS: Final[Mapping[str, tuple[int, int, int]]] = {
    "pcie_tx_bytes": (pynvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES, 0, 1),
    "pcie_rx_bytes": (pynvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES, 0, 1),
    "nvlink_tx_bytes": (pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, _ALL_LINKS, _KIB),
    "nvlink_rx_bytes": (pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, _ALL_LINKS, _KIB),
}
"""By channel: the field, its scope, and bytes a unit."""
CHANNELS: Final = tuple(_FIELDS)
_NARROW: Final = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
"""A counter of 32 bits is not read: PCIe fills one many times a second, unseen."""


class ByteCounters:
    """The counters of one chip."""

    name = "bytes moved"

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._asked = dict(_FIELDS)

    @property
    def channels(self) -> frozenset[str]:
        """What has not been refused for good."""
        return frozenset(self._asked)

    def read(self, now_ms: int) -> Answer:  # noqa: ARG002 - they are of the instant
        """Return the counters, bytes. What is refused for good is not asked for again. Raises NVMLError."""
        names = tuple(self._asked)
        if not names:
            return Answer()
        found: Any = pynvml.nvmlDeviceGetFieldValues(
            self._handle, [self._asked[name][:2] for name in names]
        )
        values: dict[str, float] = {}
        errors: dict[str, pynvml.NVMLError] = {}
        for name, one in zip(names, found, strict=True):
            code = one.nvmlReturn
            where = None if one.valueType == _NARROW else VALUE_FIELDS.get(one.valueType)
            if code in REFUSED_ONE or (code == pynvml.NVML_SUCCESS and where is None):
                del self._asked[name]
            elif code != pynvml.NVML_SUCCESS:
                errors[name] = pynvml.NVMLError(code)
            elif where is not None:
                values[name] = getattr(one.value, where) * _FIELDS[name][2]
        return Answer(values, errors)


def find_counters(handle: Handle) -> ByteCounters | None:
    """Return the counters of a chip that offers any. Raises NVMLError where the chip is lost."""
    counters = ByteCounters(handle)
    try:
        answer = counters.read(0)
    except pynvml.NVMLError as error:
        if error.value in LOST:
            raise
        return None if error.value in REFUSED else counters
    for one in answer.errors.values():
        if one.value in LOST:
            raise one
    return counters if counters.channels else None
