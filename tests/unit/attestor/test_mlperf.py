"""MLPerf power logs: wall power alone, on the agent's clock, sentinels left out."""

import gzip
from pathlib import Path

import pytest

from attestor.channels import NODE
from attestor.errors import ConfigError, RecordingError, SourceError
from attestor.settings import Settings
from attestor.sources.interface import Telemetry
from attestor.sources.mlperf import MlperfSource, local_ms, read_power_log, read_run_start
from attestor.sources.registry import configure

AT = 1_800_000_000_000
TRAINING = """time_ms,sensor,watts
1000,node_1,5000
1010,node_2,6000
3000,node_1,0
3010,node_2,
5000,node_1,5200.5
"""
INFERENCE = """time_local,watts,power_factor
2024-07-17T09:44:23.305,2406.5,0.96
2024-07-17T09:44:24.305,-1,0.96
2024-07-17T09:44:25.306,2458.7,0.96
"""


def log(root: Path, text: str, name: str = "run") -> Path:
    path = root / "train" / f"{name}.csv.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))
    return path


def source(path: Path, **changed: object) -> MlperfSource:
    settings: dict[str, object] = {"sensor": "node_1", "chips": 8, "model": "H100", "at_ms": AT}
    return MlperfSource(path, **(settings | changed))  # type: ignore[arg-type] # options by name


def test_run_start_falls_on_the_instant_asked_for(tmp_path: Path) -> None:
    opened = source(log(tmp_path, TRAINING), run_start_ms=900)
    assert not opened.read(AT + 99).readings
    (first,) = opened.read(AT + 100).readings
    assert (first.time_ms, first.chip, dict(first.values)) == (AT + 100, NODE, {"wall_w": 5000.0})
    (last,) = opened.read(AT + 10**9).readings
    assert last.time_ms == AT + 4_100
    assert not opened.read(AT + 2 * 10**9).readings


def test_watts_at_or_below_zero_and_blanks_are_no_readings(tmp_path: Path) -> None:
    logs = read_power_log(log(tmp_path, TRAINING))
    assert list(logs["node_1"].watts) == [5000.0, 5200.5]
    assert list(logs["node_2"].watts) == [6000.0]


def test_it_offers_wall_power_and_chips_that_say_nothing(tmp_path: Path) -> None:
    description = source(log(tmp_path, TRAINING), run_start_ms=0).description
    assert description.telemetry is Telemetry.RECORDED
    assert description.node_channels == {"wall_w"}
    assert [chip.channels for chip in description.chips] == [frozenset()] * 8
    assert len({chip.uuid for chip in description.chips}) == 8
    assert description.sample_ms == 4_000


def test_an_inference_log_has_one_node_and_local_times(tmp_path: Path) -> None:
    path = log(tmp_path, INFERENCE)
    start = local_ms("07-17-2024 09:44:23.000")
    readings = source(path, run_start_ms=start).read(AT + 10_000).readings
    assert [reading.time_ms - AT for reading in readings] == [305, 2_306]


def test_run_start_is_found_in_the_events_or_the_index(tmp_path: Path) -> None:
    path = log(tmp_path, TRAINING)
    with pytest.raises(RecordingError) as caught:
        read_run_start(path)
    assert caught.value.reason == "NO_RUN_START"
    (tmp_path / "index.csv").write_text("file,run_start_ms\ntrain/run.csv.gz,1500\n")
    assert read_run_start(path) == 1500
    (tmp_path / "index.csv").write_text(
        "file,run_start_ms\ntrain/run.csv.gz,07-17-2024 09:52:23.554\n"
    )
    assert read_run_start(path) == local_ms("2024-07-17T09:52:23.554")
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "run.events.csv.gz").write_bytes(
        gzip.compress(
            b"time_ms,key,value,step_or_samples\n1200,init_start,null,\n1700,run_start,null,\n"
        )
    )
    assert read_run_start(path) == 1700


@pytest.mark.parametrize(
    ("place", "data"),
    [
        ("index.csv", b"file,run_start_ms\ntrain/run.csv.gz,soon\n"),
        ("index.csv", b"\xff\xfe"),
        ("events/run.events.csv.gz", gzip.compress(b"time_ms,key\nsoon,run_start\n")),
        ("events/run.events.csv.gz", b"no gzip"),
    ],
)
def test_a_run_start_that_cannot_be_read_is_told(tmp_path: Path, place: str, data: bytes) -> None:
    path = log(tmp_path, TRAINING)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes(data)
    with pytest.raises(SourceError) as caught:
        source(path)
    assert caught.value.reason in {"BAD_TIME", "CORRUPT"}
    assert (tmp_path / place).name in str(caught.value)


def test_an_index_without_the_log_says_that_run_start_is_to_be_set(tmp_path: Path) -> None:
    path = log(tmp_path, TRAINING)
    (tmp_path / "index.csv").write_text("name\ntrain/run.csv.gz\n")
    with pytest.raises(SourceError, match="set run_start"):
        source(path)


@pytest.mark.parametrize("written", ["900", "1970-01-01T00:00:00.900"])
def test_run_start_may_be_set_as_the_log_writes_it(tmp_path: Path, written: str) -> None:
    log(tmp_path, TRAINING)
    table = {"kind": "mlperf", "path": "train/run.csv.gz", "chips": 8, "model": "H100"}
    at = {"at": "2027-01-15T08:00:00Z"}
    _, _, opener = configure(Settings(table | at | {"run_start": written}, "s", tmp_path), 60_000)
    opened = opener()
    assert opened.read(AT + 100).readings[0].time_ms == AT + 100
    opened.close()
    with pytest.raises(ConfigError) as caught:
        configure(Settings(table | at | {"run_start": "soon"}, "s", tmp_path), 60_000)
    assert caught.value.reason == "BAD_TIME"


@pytest.mark.parametrize(
    ("text", "reason", "says"),
    [
        ("time_ms,sensor,watts\n5,node_1,1\n4,node_1,1\n", "TIME_BACKWARDS", "line 3"),
        ("time_ms,sensor,watts\nsoon,node_1,1\n", "BAD_ROW", "line 2"),
        ("time_ms,sensor,watts\n5,node_1\n", "BAD_ROW", "line 2"),
        (f"time_ms,sensor,watts\n{'9' * 30},node_1,1\n", "BAD_ROW", "line 2"),
        ("time_ms,sensor,watts\n-5,node_1,1\n", "BAD_ROW", "line 2"),
        ("time_ms,sensor,watts\n5,node_1,warm\n", "BAD_ROW", "line 2"),
        ("when,watts\n", "BAD_COLUMNS", "line 1"),
        ("", "BAD_COLUMNS", "line 1"),
    ],
)
def test_a_log_that_is_broken_is_named_with_its_line(
    tmp_path: Path, text: str, reason: str, says: str
) -> None:
    with pytest.raises(SourceError) as caught:
        source(log(tmp_path, text), run_start_ms=0)
    assert caught.value.reason == reason
    assert says in str(caught.value)
    assert caught.value.permanent


def test_a_log_that_is_cut_short_or_not_there_is_told(tmp_path: Path) -> None:
    path = log(tmp_path, TRAINING * 1)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(SourceError) as cut:
        source(path, run_start_ms=0)
    with pytest.raises(SourceError) as absent:
        source(tmp_path / "absent.csv.gz", run_start_ms=0)
    with pytest.raises(SourceError) as sensor:
        source(log(tmp_path, TRAINING, "other"), run_start_ms=0, sensor="node_9")
    assert cut.value.reason == "TRUNCATED"
    assert absent.value.reason == "UNREADABLE"
    assert "node_1, node_2" in str(sensor.value)


def test_an_instant_off_the_window_boundary_is_refused(tmp_path: Path) -> None:
    table = {"kind": "mlperf", "path": "x", "chips": 8, "model": "H100"}
    good = Settings(table | {"at": "2027-01-15T08:00:00Z"}, "source", tmp_path)
    assert configure(good, 60_000)[:2] == ("mlperf", True)
    with pytest.raises(ConfigError) as caught:
        configure(Settings(table | {"at": "2027-01-15T08:00:01Z"}, "source", tmp_path), 60_000)
    assert caught.value.reason == "NOT_A_BOUNDARY"


GPT3 = "mlperf-train-v4.0-smc-ac_64xSMC-H100-SXM-80GB_gpt3_result_5849-240518014016374832336_3"


def test_the_wall_energy_of_the_gpt3_run_is_what_its_samples_integrate_to(traces: Path) -> None:
    from attestor.window import Carried, Rig, Span, summarise

    root = traces if (traces / "train").exists() else traces / "mlperf"
    path = root / "train" / f"{GPT3}.csv.gz"
    window, joules, covered = 60_000, 0.0, 0
    for sensor in read_power_log(path):
        opened = source(path, sensor=sensor)
        rig = Rig(bytes(32), 8, bytes(16), 0.5, opened.description.sample_ms)
        carried = Carried()
        for start in range(AT, AT + 3_420_000, window):
            readings = opened.read(start + window).readings
            summary, carried = summarise(Span(start, start + window), rig, readings, carried)
            joules += summary.node.wall_energy_joules
            covered += summary.node.wall_covered_ms
    # 3,410.907 s of run window: https://github.com/mlcommons/training_results_v4.0, this result's log.
    assert abs(joules - 1.495e9) / 1.495e9 < 0.005
    assert 0.999 < covered / (64 * 3_410_907) < 1.001
