"""Reads NVIDIA chips through NVML, with nvidia-ml-py.

``[source]``: ``kind = "nvml"``, ``period`` (between two readings of a chip, default "100 ms"), ``samples``
("driver", the default, or "polled").

At start each channel is tried on each chip, the newest way of asking first; what a chip does not offer is not asked for
again. While a chip is lost, or did not answer when it was asked first, the library is opened anew every five minutes,
so that one that was reset is read again; so it is when nothing at all can be read, as while the driver is replaced. A
chip that was there keeps its row.

Where the driver keeps regular samples of power, utilisation and clock of every chip, they are fetched once a second and
read as polling would have read them; energy is then read once a second, just before its end. Where that stops to
work, chips are polled. NVML's averages lag (power is a one-second mean on most chips, sampled for a quarter
of the time on some), so that the energy counter is what accounts rest on. Reference:
https://docs.nvidia.com/deploy/nvml-api/
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import pynvml

from attestor.channels import Reading, clean
from attestor.errors import ConfigError, SourceError
from attestor.nvml_samples import CHANNELS as KEPT_CHANNELS
from attestor.nvml_samples import KeptSamples
from attestor.settings import Settings
from attestor.sources.interface import (
    Batch,
    ChipDescription,
    Source,
    SourceDescription,
    Telemetry,
)
from attestor.sources.registry import Opener

REPLAYS: Final = False

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
AGAIN_MS: Final = 300_000
"""While a chip is missing the driver is asked for it so often: that takes a moment, in which no other is read."""
SLOW_MS: Final = 1_000
"""Temperature, memory and processes change slowly and cost more to ask for: once a second."""
FETCH_MS: Final = 1_000
"""Between two looks at the samples that the driver keeps."""
LEAD_MS: Final = 50
"""How long before a second's end that is done: counters should be read before a window ends, and little before."""
RETRY_MS: Final = 10_000
"""A driver that was just loaded has kept little yet: when it is looked at again."""
MOST_FETCHED_MS: Final = 10_000
"""After a sleep of the machine: how far back samples are fetched."""
_MOST_MISSED: Final = 3
"""Looks at the driver's samples in a row that may find nothing new of some chip; then chips are polled again."""

_UINT32_SENTINELS: Final = frozenset({0xFFFF_FFFF})
_UINT64_SENTINELS: Final = frozenset({0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF})
_ABSENT: Final = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_NO_PERMISSION,
    }
)
"""Lasting refusals: the chip, the driver or the user that the agent runs as does not have it."""
_LOST: Final = frozenset({pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED})

Handle = Any  # an opaque ctypes pointer of pynvml's, which has no type annotations


def _scaled(value: int, sentinels: frozenset[int], factor: float) -> float | None:
    return None if value in sentinels else value * factor


def _energy(handle: Handle) -> float | None:
    value: int = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    return None if value in _UINT64_SENTINELS else value


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
    return _scaled(pynvml.nvmlDeviceGetMemoryInfo(handle).used, _UINT64_SENTINELS, 1)


def _processes(handle: Handle) -> float | None:
    # By its version: the name without one raises what is no NVMLError where the driver lacks it.
    return len(pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle))


def _power_limit(handle: Handle) -> float | None:
    return _scaled(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle), _UINT32_SENTINELS, 1e-3)


def _highest_clock(handle: Handle) -> float | None:
    value: int = pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM)
    return _scaled(value, _UINT32_SENTINELS, 1.0)


Call = Callable[[Handle], float | None]
_FAST: Final[Mapping[str, tuple[Call, ...]]] = {
    "energy_mj": (_energy,),
    "power_w": (_power,),
    "utilisation": (_utilisation,),
    "sm_clock_mhz": (_clock,),
}
_SLOW: Final[Mapping[str, tuple[Call, ...]]] = {
    "temperature_c": (_temperature, _old_temperature),
    "memory_used_bytes": (_memory,),
    "processes": (_processes,),
}


@dataclass(slots=True)
class _Chip:
    row: int
    uuid: str
    handle: Handle
    fast: dict[str, Call]
    slow: dict[str, Call]
    kept: tuple[KeptSamples, ...]
    slow_due_ms: int = 0
    lost: bool = field(default=False)

    @property
    def unkept(self) -> dict[str, Call]:
        """What is asked for often, and of which the driver keeps no samples."""
        return {name: call for name, call in self.fast.items() if name not in KEPT_CHANNELS}


def _explain(error: pynvml.NVMLError) -> str:
    return f"NVML error {error.value}: {error}"


_T = TypeVar("_T")


def _offered(call: Callable[[], _T]) -> _T | None:
    try:
        return call()
    except pynvml.NVMLError:
        return None


class NvmlSource:
    """Every chip that the driver shows, read once each time ``read`` is called."""

    def __init__(
        self, *, period_ms: int, kept_samples: bool = True, boot_id_path: Path = BOOT_ID
    ) -> None:
        self._boot_id = _read_boot_id(boot_id_path)
        self._period_ms = period_ms
        self._kept_samples = kept_samples
        self._again_ms: int | None = None
        self._look_ms = 0
        self._missed = 0
        self._read_ms = 0
        self._chips: list[_Chip] = []
        self.skipped: list[str] = []
        self._opened = ExitStack()
        self.description = self._open()

    def _open(self) -> SourceDescription:
        with ExitStack() as opened:
            try:
                pynvml.nvmlInit()
                opened.callback(_offered, pynvml.nvmlShutdown)
                count: int = pynvml.nvmlDeviceGetCount()
            except pynvml.NVMLError as error:
                raise self._cannot_open(error) from error
            found = self._probe_all(count)
            self._opened = opened.pop_all()
        return found

    def _open_anew(self, now_ms: int) -> None:
        """Ask for all chips again while some are missing, every :data:`AGAIN_MS`; raises SourceError."""
        if not self.skipped and not any(chip.lost for chip in self._chips):
            self._again_ms = None
            return
        if self._again_ms is None or now_ms < self._again_ms - AGAIN_MS:
            self._again_ms = now_ms + AGAIN_MS
        if now_ms < self._again_ms:
            return
        self._again_ms = now_ms + AGAIN_MS
        before = list(zip(self._chips, self.description.chips, strict=True))
        self._opened.close()
        found = self._open()
        fresh = {
            chip.uuid: (chip, told) for chip, told in zip(self._chips, found.chips, strict=True)
        }
        merged = [fresh.pop(chip.uuid, (replace(chip, lost=True), told)) for chip, told in before]
        merged += fresh.values()
        self._chips = [replace(chip, row=row) for row, (chip, _) in enumerate(merged)]
        found = replace(found, chips=tuple(told for _, told in merged))
        if found != self.description:
            self.description = found

    def _probe_all(self, count: int) -> SourceDescription:
        chips: list[_Chip] = []
        descriptions: list[ChipDescription] = []
        self.skipped = []
        for index in range(count):
            try:
                chip, description = self._probe(index, len(chips))
            except pynvml.NVMLError as error:
                self.skipped.append(f"nvml: chip at index {index}: {_explain(error)}")
                continue
            chips.append(chip)
            descriptions.append(description)
        self._chips = chips
        return SourceDescription(
            telemetry=Telemetry.LIVE,
            chips=tuple(descriptions),
            node_channels=frozenset(),
            driver=_offered(pynvml.nvmlSystemGetDriverVersion),
            boot_id=self._boot_id,
            sample_ms=self._period_ms,
            poll_ms=self._period_ms,
        )

    @staticmethod
    def _cannot_open(error: pynvml.NVMLError) -> SourceError:
        if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return SourceError(
                "LIBRARY_NOT_FOUND",
                "nvml: libnvidia-ml.so.1 was not found; install the NVIDIA driver, or in a "
                "container let it through (NVIDIA_DRIVER_CAPABILITIES=utility)",
            )
        if error.value == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            return SourceError(
                "SYMBOL_NOT_FOUND",
                "nvml: libnvidia-ml.so.1 lacks a function that every driver has had since 2013; "
                "it is not NVIDIA's, or far too old",
            )
        return SourceError("DRIVER_FAILED", f"nvml: the driver did not start: {_explain(error)}")

    @staticmethod
    def _probe(index: int, row: int) -> tuple[_Chip, ChipDescription]:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        name: str = pynvml.nvmlDeviceGetUUID(handle)
        fast, slow = _offered_calls(_FAST, handle), _offered_calls(_SLOW, handle)
        limit = _offered(lambda: _power_limit(handle))
        clock = _offered(lambda: _highest_clock(handle))
        memory = _offered(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).total)
        partition = _offered(lambda: pynvml.nvmlDeviceGetMigMode(handle))
        description = ChipDescription(
            uuid=name,
            model=_offered(lambda: pynvml.nvmlDeviceGetName(handle)),
            channels=frozenset(fast) | frozenset(slow),
            power_limit_w=limit or None,
            max_sm_clock_mhz=clock or None,
            memory_bytes=memory or None,
            partitioned=None if partition is None else bool(partition[0]),
            firmware=_offered(lambda: pynvml.nvmlDeviceGetVbiosVersion(handle)),
        )
        kept = tuple(KeptSamples(channel, handle) for channel in fast if channel in KEPT_CHANNELS)
        return _Chip(row, name, handle, fast, slow, kept), description

    def read(self, now_ms: int) -> Batch:
        """Read every chip once, and what its driver kept since. A failing call costs its channel, a lost chip its row.

        Raises SourceError when nothing could be read for faults alone.
        """
        self._open_anew(now_ms)
        self._choose(now_ms)
        instants = self._instants(now_ms)
        failed = list(self.skipped)
        readings: list[Reading] = []
        missed = False
        for chip in self._chips:
            if chip.lost:
                failed.append(f"nvml: {chip.uuid} is lost")
                continue
            rows: list[dict[str, float]] = [{} for _ in instants]
            if len(instants) > 1:
                missed |= self._fetch(chip, instants, rows, failed)
                self._ask(chip, chip.unkept, rows[-1], failed)
            else:
                self._ask(chip, chip.fast, rows[-1], failed)
            if now_ms >= chip.slow_due_ms:
                chip.slow_due_ms = now_ms - now_ms % SLOW_MS + SLOW_MS
                self._ask(chip, chip.slow, rows[-1], failed)
            readings += [
                Reading(instant_ms, chip.row, values)
                for instant_ms, values in zip(instants, rows, strict=True)
                if values
            ]
        if len(instants) > 1:
            self._missed = self._missed + 1 if missed else 0
        if failed and not readings:
            raise SourceError("NOTHING_READ", "; ".join(failed))
        return Batch(readings, tuple(failed))

    def _choose(self, now_ms: int) -> None:
        """Have the driver's samples fetched where every chip has them, and chips polled where that goes on failing."""
        if self.description.lead_ms:
            if self._missed >= _MOST_MISSED:
                self._look_ms = now_ms + AGAIN_MS
                self.description = replace(self.description, poll_ms=self._period_ms, lead_ms=0)
            return
        if not self._kept_samples or self._period_ms >= FETCH_MS or FETCH_MS % self._period_ms:
            return
        if self._look_ms - AGAIN_MS <= now_ms < self._look_ms:
            return
        self._look_ms = now_ms + RETRY_MS
        kept = [kept for chip in self._chips if not chip.lost for kept in chip.kept]
        if kept and all(_offered(one.begin) for one in kept):
            self._missed = 0
            self.description = replace(self.description, poll_ms=FETCH_MS, lead_ms=LEAD_MS)

    def _instants(self, now_ms: int) -> Sequence[int]:
        """Return at which instants chips are read, in order: now, and what polling would have come to since."""
        before_ms, self._read_ms = self._read_ms, now_ms
        since_ms = min(now_ms - before_ms, MOST_FETCHED_MS)
        if not self.description.lead_ms or since_ms < FETCH_MS // 2:
            return (now_ms,)
        count = round(since_ms / self._period_ms)
        return range(now_ms - (count - 1) * self._period_ms, now_ms + 1, self._period_ms)

    def _fetch(
        self,
        chip: _Chip,
        instants: Sequence[int],
        rows: Sequence[dict[str, float]],
        failed: list[str],
    ) -> bool:
        """Add to ``rows`` what the driver kept of a chip; return whether it kept nothing new, and was asked instead."""
        missed = False
        for kept in chip.kept:
            if not _offered(partial(kept.read, instants[-1])):
                missed = True
                self._ask(chip, {kept.channel: chip.fast[kept.channel]}, rows[-1], failed)
                continue
            for values, value in zip(rows, kept.at(instants), strict=True):
                if value is not None:
                    values[kept.channel] = value
        return missed

    @staticmethod
    def _ask(
        chip: _Chip, calls: Mapping[str, Call], values: dict[str, float], failed: list[str]
    ) -> None:
        for name, call in calls.items():
            if chip.lost:
                return
            try:
                value = call(chip.handle)
            except pynvml.NVMLError as error:
                if error.value in _LOST:
                    chip.lost = True
                    failed.append(f"nvml: {chip.uuid} is lost: {_explain(error)}")
                    return
                failed.append(f"nvml: {chip.uuid} {name}: {_explain(error)}")
                continue
            if value is not None and (cleaned := clean(name, value)) is not None:
                values[name] = cleaned

    def close(self) -> None:
        """Leave the library."""
        self._opened.close()


def _is_offered(call: Call, handle: Handle) -> bool:
    """Return whether a chip offers a channel: only a lasting refusal says that it does not."""
    try:
        call(handle)
    except pynvml.NVMLError as error:
        if error.value in _LOST:
            raise
        return error.value not in _ABSENT
    return True


def _offered_calls(table: Mapping[str, tuple[Call, ...]], handle: Handle) -> dict[str, Call]:
    """Return, by channel, the first way of asking that a chip offers."""
    found: dict[str, Call] = {}
    for name, calls in table.items():
        call = next((call for call in calls if _is_offered(call, handle)), None)
        if call is not None:
            found[name] = call
    return found


def _read_boot_id(path: Path) -> bytes:
    try:
        return uuid.UUID(path.read_text(encoding="ascii").strip()).bytes
    except (OSError, ValueError) as error:
        raise SourceError(
            "NO_BOOT_ID", f"nvml: {path} does not give the boot's id: {error}"
        ) from error


def configure(settings: Settings, window_ms: int) -> Opener:
    """Return what opens NVML as ``settings`` ask."""
    period_ms = settings.duration_ms("period", "100 ms", least=10)
    samples = settings.text("samples", "driver")
    if samples not in {"driver", "polled"}:
        raise ConfigError(
            "WRONG_VALUE",
            f'{settings.where}: samples must be "driver" or "polled", not {samples!r}',
        )
    # A window must be of whole seconds, and of many: it is closed once the second after its end was read.
    kept = samples == "driver" and window_ms >= 10 * FETCH_MS and window_ms % FETCH_MS == 0

    def open_source() -> Source:
        return NvmlSource(period_ms=min(period_ms, window_ms), kept_samples=kept)

    return open_source
