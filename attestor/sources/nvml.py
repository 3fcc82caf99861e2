"""Reads NVIDIA chips through NVML, with nvidia-ml-py.

``[source]``: ``kind = "nvml"``, ``period`` (between two readings of a chip, default "100 ms"), ``samples``
("driver", the default, or "polled").

At start each channel is tried on each chip, the newest way of asking first; what a chip does not offer is not asked for
again. While a chip is lost, or did not answer when it was asked first, the library is opened anew every five minutes,
so that one that was reset is read again; so it is when nothing at all can be read, as while the driver is replaced. A
chip that was there keeps its row.

Where the driver keeps regular samples of power, utilisation and clock of every chip, they are fetched once a second and
read as polling would have read them; all else is then read once a second, just before its end. Where that stops to
work, chips are polled. Activity (GPM) is about all the time since the reading before it, so that once a second loses no
work, only the order of what happened within the second. NVML's averages lag (power is a one-second mean on most chips,
sampled for a quarter of the time on some), so that the energy counter is what accounts rest on. Reference:
https://docs.nvidia.com/deploy/nvml-api/
"""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import pynvml

from attestor.channels import Reading, clean
from attestor.errors import ConfigError, SourceError
from attestor.nvml.calls import (
    FAST,
    LOST,
    SLOW,
    Call,
    Group,
    Handle,
    explain,
    highest_clock,
    offered,
    offered_calls,
    power_limit,
)
from attestor.nvml.fields import find_counters
from attestor.nvml.gpm import LONGEST_MS, Gpm
from attestor.nvml.reasons import find_reasons
from attestor.nvml.samples import CHANNELS as KEPT_CHANNELS
from attestor.nvml.samples import KeptSamples
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
"""Temperature, memory and processes change slowly; they and bytes moved cost more to ask for: once a second."""
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


@dataclass(slots=True)
class _Chip:
    row: int
    uuid: str
    handle: Handle
    fast: dict[str, Call]
    slow: dict[str, Call]
    often: tuple[Group, ...]
    seldom: tuple[Group, ...]
    gpm: Gpm | None
    kept: tuple[KeptSamples, ...]
    slow_due_ms: int = 0
    lost: bool = field(default=False)

    @property
    def channels(self) -> frozenset[str]:
        """What can be read of it now."""
        together = (group.channels for group in self.often + self.seldom)
        return frozenset(self.fast).union(self.slow, *together)

    def lose(self) -> None:
        """Ask it for nothing more, and let go of what was allocated for it."""
        self.lost = True
        if self.gpm is not None:
            self.gpm.close()

    @property
    def unkept(self) -> dict[str, Call]:
        """What is asked for often, and of which the driver keeps no samples."""
        return {name: call for name, call in self.fast.items() if name not in KEPT_CHANNELS}


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
                opened.callback(offered, pynvml.nvmlShutdown)
                count: int = pynvml.nvmlDeviceGetCount()
            except pynvml.NVMLError as error:
                raise self._cannot_open(error) from error
            found = self._probe_all(count, opened)
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

    def _probe_all(self, count: int, opened: ExitStack) -> SourceDescription:
        chips: list[_Chip] = []
        descriptions: list[ChipDescription] = []
        self.skipped = []
        for index in range(count):
            try:
                chip, description = self._probe(index, len(chips), opened)
            except pynvml.NVMLError as error:
                self.skipped.append(f"nvml: chip at index {index}: {explain(error)}")
                continue
            chips.append(chip)
            descriptions.append(description)
        self._chips = chips
        return SourceDescription(
            telemetry=Telemetry.LIVE,
            chips=tuple(descriptions),
            node_channels=frozenset(),
            driver=offered(pynvml.nvmlSystemGetDriverVersion),
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
        return SourceError("DRIVER_FAILED", f"nvml: the driver did not start: {explain(error)}")

    def _probe(self, index: int, row: int, opened: ExitStack) -> tuple[_Chip, ChipDescription]:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        name: str = pynvml.nvmlDeviceGetUUID(handle)
        fast, slow = offered_calls(FAST, handle), offered_calls(SLOW, handle)
        reasons, counters = find_reasons(handle), find_counters(handle)
        gpm = Gpm.find(handle, max(LONGEST_MS, 2 * self._period_ms))
        if gpm is not None:
            opened.callback(gpm.close)  # before the library is left
        chip = _Chip(
            row,
            name,
            handle,
            fast,
            slow,
            often=tuple(group for group in (reasons, gpm) if group is not None),
            seldom=tuple(group for group in (counters,) if group is not None),
            gpm=gpm,
            kept=tuple(KeptSamples(one, handle) for one in fast if one in KEPT_CHANNELS),
        )
        return chip, self._describe(chip)

    @staticmethod
    def _describe(chip: _Chip) -> ChipDescription:
        handle = chip.handle
        partition = offered(lambda: pynvml.nvmlDeviceGetMigMode(handle))
        return ChipDescription(
            uuid=chip.uuid,
            model=offered(lambda: pynvml.nvmlDeviceGetName(handle)),
            channels=chip.channels,
            power_limit_w=offered(lambda: power_limit(handle)) or None,
            max_sm_clock_mhz=offered(lambda: highest_clock(handle)) or None,
            memory_bytes=offered(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).total) or None,
            partitioned=None if partition is None else bool(partition[0]),
            firmware=offered(lambda: pynvml.nvmlDeviceGetVbiosVersion(handle)),
        )

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
            self._ask_together(chip, chip.often, now_ms, rows[-1], failed)
            if now_ms >= chip.slow_due_ms:
                chip.slow_due_ms = now_ms - now_ms % SLOW_MS + SLOW_MS
                self._ask(chip, chip.slow, rows[-1], failed)
                self._ask_together(chip, chip.seldom, now_ms, rows[-1], failed)
                self._tell_channels(chip)
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
        if kept and all(offered(one.begin) for one in kept):
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
            if not offered(partial(kept.read, instants[-1])):
                missed = True
                self._ask(chip, {kept.channel: chip.fast[kept.channel]}, rows[-1], failed)
                continue
            for values, value in zip(rows, kept.at(instants), strict=True):
                if value is not None:
                    values[kept.channel] = value
        return missed

    def _tell_channels(self, chip: _Chip) -> None:
        """Describe a chip anew that was partitioned meanwhile, or that has refused for good what it seemed to offer."""
        chips = self.description.chips
        told = chips[chip.row]
        partitioned = told.partitioned if chip.gpm is None else chip.gpm.partitioned
        if (told.channels, told.partitioned) != (chip.channels, partitioned):
            anew = replace(told, channels=chip.channels, partitioned=partitioned)
            chips = (*chips[: chip.row], anew, *chips[chip.row + 1 :])
            self.description = replace(self.description, chips=chips)

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
                _put_failure(chip, name, error, failed)
                continue
            if value is not None and (cleaned := clean(name, value)) is not None:
                values[name] = cleaned

    @staticmethod
    def _ask_together(
        chip: _Chip,
        groups: Sequence[Group],
        now_ms: int,
        values: dict[str, float],
        failed: list[str],
    ) -> None:
        for group in groups:
            if chip.lost:
                return
            try:
                answer = group.read(now_ms)
            except pynvml.NVMLError as error:
                _put_failure(chip, group.name, error, failed)
                continue
            for name, refusal in answer.errors.items():
                _put_failure(chip, name, refusal, failed)
            for name, value in answer.values.items():
                if (cleaned := clean(name, value)) is not None:
                    values[name] = cleaned

    def close(self) -> None:
        """Leave the library."""
        self._opened.close()


def _put_failure(chip: _Chip, name: str, error: pynvml.NVMLError, failed: list[str]) -> None:
    if chip.lost:
        return
    if error.value in LOST:
        chip.lose()
        failed.append(f"nvml: {chip.uuid} is lost: {explain(error)}")
    else:
        failed.append(f"nvml: {chip.uuid} {name}: {explain(error)}")


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
