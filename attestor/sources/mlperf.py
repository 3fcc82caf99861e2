"""Replays the power logs of published MLPerf results: a node's wall power, and nothing of its chips.

The logs are gzip CSV. Training: ``time_ms,sensor,watts`` with sensors ``node_1``, ``node_2``, … and
Unix milliseconds. Inference: ``time_local,watts,power_factor`` with one node. Watts at or below
zero are the meters' sentinels. Origin: https://github.com/mlcommons/training_results_v4.0 and
inference_results_v4.1 (Apache-2.0).

``[source]``: ``kind = "mlperf"``, ``path`` of the log, ``sensor`` (training only), ``chips`` and
``model`` (the logs do not say), ``at`` (the instant of the agent's clock on which the log's
``run_start`` falls; a window boundary), ``run_start`` (as written in the log's own time; default:
from ``../events/NAME.events.csv.gz`` or ``../index.csv`` beside the log's folder). Never looped.
"""

import bisect
import csv
import functools
import gzip
import hashlib
import statistics
import zlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attestor.channels import NODE, Reading, clean
from attestor.errors import ConfigError, RecordingError, SourceError
from attestor.settings import Settings
from attestor.sources.interface import (
    Batch,
    ChipDescription,
    Source,
    SourceDescription,
    Telemetry,
)
from attestor.sources.registry import Opener

REPLAYS: Final = True

_TRAINING: Final = ["time_ms", "sensor", "watts"]
_INFERENCE: Final = ["time_local", "watts", "power_factor"]
_LATEST_MS: Final = 2**53
ONLY_SENSOR: Final = "node_1"
"""The name that an inference log's single node goes by here."""


@dataclass(frozen=True, slots=True)
class PowerLog:
    """The readings of one sensor: times in the log's own milliseconds, rising, and W."""

    times: "array[int]"
    watts: "array[float]"

    @property
    def period_ms(self) -> int:
        """The usual time between two readings, at least 1 ms."""
        steps = [after - before for before, after in zip(self.times, self.times[1:], strict=False)]
        return max(1, round(statistics.median(steps))) if steps else 1000


def local_ms(text: str) -> int:
    """Return milliseconds for an inference log's local time, in either of its two spellings.

    The zone is not known, so these count as if local time were UTC: only differences mean anything.
    """
    pattern = "%m-%d-%Y %H:%M:%S.%f" if " " in text else "%Y-%m-%dT%H:%M:%S.%f"
    instant = datetime.strptime(text, pattern).replace(tzinfo=UTC)
    return round(instant.timestamp() * 1000)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    line = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            for line, row in enumerate(csv.reader(file), 1):
                yield line, row
    except EOFError as error:
        raise RecordingError(
            "TRUNCATED", f"{path}: after line {line}: the file is cut short"
        ) from error
    except FileNotFoundError as error:
        raise RecordingError("UNREADABLE", f"{path}: no such file") from error
    except (OSError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError("CORRUPT", f"{path}: near line {line}: {error}") from error


@functools.lru_cache(maxsize=4)
def read_power_log(path: Path) -> Mapping[str, PowerLog]:
    """Return a power log by sensor. Raises RecordingError with the number of the line at fault.

    Blank cells are sentinels like watts at or below zero: no reading. Cached, because the nodes of
    one run share one file.
    """
    logs: dict[str, PowerLog] = {}
    rows = _rows(path)
    _, columns = next(rows, (0, []))
    if columns not in (_TRAINING, _INFERENCE):
        raise RecordingError(
            "BAD_COLUMNS",
            f"{path}: line 1: the columns are neither {','.join(_TRAINING)} nor "
            f"{','.join(_INFERENCE)}",
        )
    training = columns == _TRAINING
    for line, row in rows:
        try:
            if training:
                time_ms, sensor, cell = int(row[0]), row[1], row[2]
            else:
                time_ms, sensor, cell = local_ms(row[0]), ONLY_SENSOR, row[1]
            watts = clean("wall_w", float(cell)) if cell else None
        except (ValueError, IndexError) as error:
            raise RecordingError("BAD_ROW", f"{path}: line {line}: {error}") from error
        if not 0 <= time_ms <= _LATEST_MS:
            raise RecordingError("BAD_ROW", f"{path}: line {line}: no time: {time_ms} ms")
        log = logs.setdefault(sensor, PowerLog(array("q"), array("d")))
        if log.times and time_ms < log.times[-1]:
            raise RecordingError(
                "TIME_BACKWARDS",
                f"{path}: line {line}: {sensor} goes back from {log.times[-1]} to {time_ms} ms",
            )
        if watts is not None:
            log.times.append(time_ms)
            log.watts.append(watts)
    return logs


def read_run_start(path: Path) -> int:
    """Return the ``run_start`` of the log at ``path`` in the log's own milliseconds.

    It is in ``events/NAME.events.csv.gz`` beside the log's folder, or in ``index.csv`` there.
    """
    root = path.parent.parent
    name = path.name.removesuffix(".csv.gz")
    events = root / "events" / f"{name}.events.csv.gz"
    index = root / "index.csv"
    if events.exists():
        for line, row in _rows(events):
            if len(row) > 1 and row[1] == "run_start":
                return parse_run_start(row[0], f"{events}: line {line}")
    if index.exists():
        for entry in _entries(index):
            if entry.get("file") == f"{path.parent.name}/{path.name}" and entry.get("run_start_ms"):
                return parse_run_start(entry["run_start_ms"], str(index))
    raise RecordingError(
        "NO_RUN_START",
        f"{path}: neither {events} nor {index} says when the run started; set run_start",
    )


def _entries(index: Path) -> list[dict[str, str]]:
    try:
        with index.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError("CORRUPT", f"{index}: {error}") from error


def parse_run_start(text: str, where: str) -> int:
    """Return a run's start as a log writes it, in milliseconds or in local time; ``where`` names it in errors."""
    try:
        return int(text) if text.isdigit() else local_ms(text)
    except ValueError as error:
        raise RecordingError("BAD_TIME", f"{where}: run_start: {error}") from error


class MlperfSource:
    """One node's wall power out of an MLPerf log, with ``run_start`` falling on ``at_ms``.

    Readings before ``run_start`` are replayed too, where ``at_ms`` leaves time for them.
    """

    def __init__(
        self,
        path: Path,
        *,
        sensor: str,
        chips: int,
        model: str,
        at_ms: int,
        run_start_ms: int | None = None,
    ) -> None:
        try:
            logs = read_power_log(path)
            start = read_run_start(path) if run_start_ms is None else run_start_ms
        except RecordingError as error:
            raise SourceError(error.reason, str(error), permanent=True) from error
        if sensor not in logs:
            raise SourceError(
                "UNKNOWN_SENSOR",
                f"{path}: no sensor {sensor!r}; it has {', '.join(sorted(logs))}",
                permanent=True,
            )
        log = logs[sensor]
        name = f"{path.name.removesuffix('.csv.gz')}/{sensor}"
        self.description = SourceDescription(
            telemetry=Telemetry.RECORDED,
            chips=tuple(
                ChipDescription(f"mlperf:{name}/chip_{row}", model, frozenset())
                for row in range(chips)
            ),
            node_channels=frozenset({"wall_w"}),
            driver=None,
            boot_id=hashlib.sha256(f"{name} at {at_ms}".encode()).digest()[:16],
            sample_ms=log.period_ms,
            poll_ms=0,
        )
        self._log = log
        self._shift = at_ms - start
        self._next = 0

    def read(self, now_ms: int) -> Batch:
        """Return the readings that are due, up to ``now_ms``."""
        end = bisect.bisect_right(self._log.times, now_ms - self._shift, self._next)
        due = [
            Reading(self._log.times[place] + self._shift, NODE, {"wall_w": self._log.watts[place]})
            for place in range(self._next, end)
        ]
        self._next = end
        return Batch(due)

    def close(self) -> None:
        """Do nothing: the log was read whole."""


def configure(settings: Settings, window_ms: int) -> Opener:
    """Return what opens the log that ``settings`` name."""
    path = settings.path("path")
    sensor = settings.text("sensor", ONLY_SENSOR)
    chips = settings.integer("chips", least=1, most=4096)
    model = settings.text("model")
    at_ms = settings.instant_ms("at")
    start: int | None = None
    if settings.has("run_start"):
        try:
            start = parse_run_start(settings.text("run_start"), settings.where)
        except RecordingError as error:
            raise ConfigError(error.reason, str(error)) from error
    if at_ms % window_ms:
        raise ConfigError(
            "NOT_A_BOUNDARY",
            f"{settings.where}: at must fall on a window boundary, a multiple of {window_ms} ms "
            "since 1970",
        )

    def open_source() -> Source:
        return MlperfSource(
            path, sensor=sensor, chips=chips, model=model, at_ms=at_ms, run_start_ms=start
        )

    return open_source
