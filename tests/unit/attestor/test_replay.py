"""Replays: re-based, never looped, stopped by what is broken."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from attestor.errors import ConfigError, SourceError
from attestor.sampler import NodeSampler
from attestor.settings import Settings
from attestor.sources.interface import Telemetry
from attestor.sources.registry import configure, kinds
from attestor.sources.replay import ReplaySource
from attestor.window import Span

AT = 1_800_000_000_000


def test_the_instant_named_falls_on_the_clock_time_named(record: Callable[..., Path]) -> None:
    source = ReplaySource(record(chips=1, seconds=120), at_ms=AT, from_ms=60_000)
    assert not source.read(AT - 1).readings
    first = source.read(AT).readings
    assert {reading.time_ms for reading in first} == {AT}
    assert {reading.chip for reading in first} == {0, -1}
    source.close()


def test_readings_come_once_whatever_the_polling(record: Callable[..., Path]) -> None:
    path = record(chips=2, seconds=60)
    source = ReplaySource(path, at_ms=AT)
    often = [r for now in range(AT, AT + 61_000, 700) for r in source.read(now).readings]
    once = ReplaySource(path, at_ms=AT)
    assert often == list(once.read(AT + 61_000).readings)
    source.close()
    once.close()


def test_at_its_end_the_chips_go_silent(record: Callable[..., Path]) -> None:
    source = ReplaySource(record(chips=1, seconds=2), at_ms=AT)
    assert len(source.read(AT + 3_600_000).readings) == 6
    assert not source.read(AT + 7_200_000).readings
    assert not source.read(AT + 7_200_000).failed
    source.close()


def test_what_came_before_a_fault_is_good_and_the_rest_is_never_read(
    record: Callable[..., Path],
) -> None:
    path = record(chips=1, seconds=5)
    text = gzip.decompress(path.read_bytes()) + b"0,0,1,1,1,1,1,1,1,\n6000,0,1,1,1,1,1,1,1,\n"
    path.write_bytes(gzip.compress(text))
    source = ReplaySource(path, at_ms=AT)
    batch = source.read(AT + 60_000)
    assert len(batch.readings) == 12
    assert batch.failed[0].startswith("TIME_BACKWARDS: ")
    for later in (120_000, 180_000):
        with pytest.raises(SourceError) as caught:
            source.read(AT + later)
        assert (caught.value.reason, caught.value.permanent) == ("TIME_BACKWARDS", True)
    source.close()


def test_a_recording_cut_in_the_middle_fails_in_every_window_after_the_cut(
    record: Callable[..., Path],
) -> None:
    path = record(chips=1, seconds=600)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sampler = NodeSampler("n", [("replay", lambda: ReplaySource(path, at_ms=AT))], 60_000)
    found = []
    for start in range(AT, AT + 600_000, 60_000):
        sampler.poll(start + 60_000)
        found.append(sampler.collect(Span(start, start + 60_000)))
    cut = next(place for place, window in enumerate(found) if window.failed)
    assert 1 < cut < 9
    assert all(len(window.readings) > 100 and not window.failed for window in found[1:cut])
    assert all(window.failed == {"replay"} for window in found[cut:])
    assert not any(window.readings for window in found[cut + 1 :])


def test_a_recording_labels_itself(record: Callable[..., Path]) -> None:
    source = ReplaySource(record(), at_ms=AT)
    assert source.description.telemetry is Telemetry.SIMULATED
    assert source.description.chips[1].uuid == "GPU-1"
    assert "power_w" in source.description.chips[0].channels
    assert source.description.node_channels == {"wall_w"}
    source.close()


def test_a_recording_that_is_not_there_can_never_be_opened(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        ReplaySource(tmp_path / "absent", at_ms=AT)
    assert caught.value.permanent


def test_every_source_is_found_by_its_file() -> None:
    assert set(kinds()) == {"mlperf", "nvml", "replay"}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"kind": "dcgm"}, "UNKNOWN_SOURCE"),
        ({"kind": "replay", "path": "r"}, "MISSING_KEY"),
        ({"kind": "replay", "path": "r", "at": "2026-01-01T00:00:00Z", "loop": 1}, "UNKNOWN_KEY"),
        ({"kind": "replay", "path": "r", "at": "soon"}, "BAD_TIME"),
        ({"kind": "replay", "path": "r", "at": "2026-01-01T00:00:00"}, "BAD_TIME"),
        ({"kind": "nvml", "period": "0 s"}, "OUT_OF_RANGE"),
        ({"kind": "nvml", "period": 100}, "WRONG_TYPE"),
        ({"kind": "nvml", "period": "often"}, "BAD_DURATION"),
    ],
)
def test_settings_that_are_wrong_are_named(table: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(Settings(table, "node 1: source", Path()), 60_000)
    assert caught.value.reason == reason
    assert "node 1: source" in str(caught.value)
