"""The samples that NVIDIA's driver keeps by itself, and what asking it ten times a second would have read.

The driver samples power, utilisation and clocks on its own, and keeps the newest (``nvmlDeviceGetSamples``). Asked
once a second for what is new, it tells what it would have told to somebody who asked all the while, and the agent
sleeps in between: that is most of what it costs a node. https://docs.nvidia.com/deploy/nvml-api/

The driver's clock is not trusted: the newest sample of each answer is taken to be as old as nothing, so that a sample
is placed late by less than the driver's own period, however clocks are set.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import pynvml

from attestor.channels import clean
from attestor.nvml.calls import VALUE_FIELDS, Handle

LEAST_KEPT_US: Final = 2_000_000
"""How far back a chip's samples must go to be relied on: twice the time between two readings of them."""
MOST_APART_US: Final = 1_100_000
"""How far apart they may be: the driver samples utilisation once a second or oftener."""
HOLD_MS: Final = 2_000
"""How long a sample stands when no newer one follows."""

_KINDS: Final = {
    "power_w": (pynvml.NVML_TOTAL_POWER_SAMPLES, 1e-3),
    "utilisation": (pynvml.NVML_GPU_UTILIZATION_SAMPLES, 1e-2),
    "sm_clock_mhz": (pynvml.NVML_PROCESSOR_CLK_SAMPLES, 1.0),
}
CHANNELS: Final = frozenset(_KINDS)
"""The channels of which a driver may keep samples."""

Sample = tuple[int, float]
"""A time and a value: microseconds of the driver's where it told it, Unix milliseconds where it was placed."""


@dataclass(slots=True)
class KeptSamples:
    """What the driver keeps of one channel of one chip, and how far it was read.

    ``seen_us`` is the driver's time of the newest sample that was read; ``placed`` what was read last, in order of
    time, beginning with the newest of before.
    """

    channel: str
    handle: Handle
    seen_us: int = 0
    placed: list[Sample] = field(default_factory=list)

    def begin(self) -> bool:
        """Pass over what is there; return whether it is regular, and goes back far enough. Raises NVMLError."""
        self.placed = []
        times = self._pass_over()
        newest = [at_us for at_us in times if at_us >= self.seen_us - LEAST_KEPT_US]
        apart = max((after - before for before, after in pairwise(newest)), default=0)
        return 0 < apart <= MOST_APART_US and self.seen_us - times[0] >= LEAST_KEPT_US

    def read(self, now_ms: int) -> bool:
        """Place what is new so that its newest is of ``now_ms``, Unix milliseconds; return whether anything is.

        Where nothing is, the driver's clock may have gone back: whatever it keeps now counts as seen. Raises NVMLError.
        """
        samples = self._ask(self.seen_us)
        self.placed = self.placed[-1:]
        if not samples:
            self._pass_over()
            return False
        self.seen_us = newest_us = samples[-1][0]
        self.placed += [(now_ms - (newest_us - at_us) // 1_000, value) for at_us, value in samples]
        return True

    def _pass_over(self) -> list[int]:
        """Count as seen what the driver keeps; return the times of it, in order."""
        times = [at_us for at_us, _ in self._ask(0)]
        self.seen_us = times[-1] if times else 0
        return times

    def _ask(self, after_us: int) -> list[Sample]:
        """Return the samples that are newer than a time, in order of time, without those that are sentinels."""
        kind, factor = _KINDS[self.channel]
        try:
            type_, found = pynvml.nvmlDeviceGetSamples(self.handle, kind, after_us)
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_NOT_FOUND:
                return []
            raise
        name = VALUE_FIELDS.get(type_)
        if name is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        read = [
            (int(one.timeStamp), getattr(one.sampleValue, name) * factor)
            for one in found
            if one.timeStamp > after_us
        ]
        return sorted(one for one in read if clean(self.channel, one[1]) is not None)

    def at(self, instants_ms: Sequence[int]) -> Iterator[float | None]:
        """Yield what the driver would have told at each instant, in order of time: the newest sample until then."""
        place, at_ms, value = 0, 0, None
        for instant_ms in instants_ms:
            while place < len(self.placed) and self.placed[place][0] <= instant_ms:
                at_ms, value = self.placed[place]
                place += 1
            yield value if value is not None and instant_ms - at_ms <= HOLD_MS else None
