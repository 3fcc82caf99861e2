"""`agent record`: real processes that record the stand-in for NVIDIA's driver."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from attestor.channels import CHIP_CHANNELS, NODE, Reading
from attestor.errors import RecordingError
from attestor.recording import RecordingReader, RecordingWriter
from statements.keys import write_signing_key
from statements.signing import SigningKey
from tests.faults.disk import Disk, Fault, How, Then
from tests.faults.disk import build as build_disk
from tests.nvml.driver import flatten
from tests.unit.attestor.conftest import CHANNELS, header
from tests.unit.attestor.test_config import agreement

SAYS_TIMES = "import os; print(os.environ['STILLWATCH_RECORDING_STARTED_MS'])"


@dataclass
class Told:
    """What a recording process said when it ended."""

    status: int
    result: Mapping[str, object]
    stderr: str


@dataclass
class Bench:
    """Runs `agent record` against the driver."""

    folder: Path
    root: Path
    environment: Mapping[str, str]
    running: "list[subprocess.Popen[str]]" = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.folder / "r.csv.gz"

    @property
    def part(self) -> Path:
        return self.folder / "r.csv.gz.part"

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "stillwatch", "agent", "record", *words],
            env={**self.environment, **environment},
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a terminal would send its interrupts to the command, too
        )
        self.running.append(process)
        return process

    def run(self, *words: str, **environment: str) -> Told:
        return told(self.start("-o", "json", *words, **environment))

    def record(self, *words: str, **environment: str) -> Told:
        return self.run(str(self.out), *words, **environment)

    def until_under_way(self) -> None:
        deadline = time.monotonic() + 30
        while not self.part.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def told(process: "subprocess.Popen[str]") -> Told:
    out, err = process.communicate(timeout=60)
    return Told(process.returncode, json.loads(out) if out else {}, err)


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Two chips whose utilisation counts tenths of a second, and whose energy counts milliseconds, 60 s long."""
    path = tmp_path / "uneven.csv.gz"
    with RecordingWriter(path, header(2, 100), CHANNELS) as writer:
        for at in range(0, 60_001, 100):
            for row in range(2):
                values = {
                    "power_w": 300 + row,
                    "energy_mj": 1_000_000 + at,
                    "utilisation": at // 100 % 101 / 100,
                    "sm_clock_mhz": 1_000 + row,
                    "temperature_c": 50,
                }
                writer.write(Reading(at, row, values))
    return path


@pytest.fixture
def bench(driver: Path, uneven: Path, tmp_path: Path, root: Path) -> Iterator[Bench]:
    flatten(uneven, tmp_path / "flat")
    folder = tmp_path / "out"
    folder.mkdir()
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(driver),
        "FAKE_NVML_DATA": str(tmp_path / "flat"),
    }
    found = Bench(folder, root, environment)
    yield found
    for process in found.running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read(path: Path) -> tuple[RecordingReader, list[Reading]]:
    with RecordingReader(path) as reader:
        return reader, list(reader)


def test_so_many_seconds_are_recorded_ten_times_a_second(bench: Bench) -> None:
    before = time.time_ns() // 1_000_000
    done = bench.record("--seconds", "2", "--label", "job=idle", "--origin", "the tests")
    assert (done.status, done.stderr) == (0, "")
    reader, rows = read(bench.out)
    assert reader.header.telemetry == done.result["telemetry"] == "recorded"
    assert [chip.uuid for chip in reader.header.chips] == ["GPU-0", "GPU-1"]
    assert (reader.header.driver, reader.header.period_ms) == ("999.99-fake", 100)
    assert (reader.header.origin, reader.header.licence) == ("the tests", "NOASSERTION")
    assert len(rows) == done.result["rows"]
    for chip in (0, 1):
        times = [row.time_ms for row in rows if row.chip == chip]
        assert 15 <= len(times) <= 22
        assert 0 <= times[0] < 500
        assert 1_500 < times[-1] <= 2_100
        assert max(b - a for a, b in pairwise(times)) < 800
    assert {"power_w", "energy_mj", "utilisation", "sm_clock_mhz"} <= set(rows[-1].values)
    labels = dict(reader.header.labels)
    started = int(labels["started_unix_ms"])
    assert before < started < time.time_ns() // 1_000_000 - 2_000
    assert labels["started"] == done.result["started"]
    del labels["started"], labels["started_unix_ms"]
    assert labels == {
        "job": "idle",
        **{
            f"chip_{row}_{name}": value
            for row in range(2)
            for name, value in (
                ("power_limit_w", "700"),
                ("max_sm_clock_mhz", "1980"),
                ("memory_bytes", "85899345920"),
                ("partitioned", "0"),
                ("firmware", "96.00.00.00.01"),
            )
        },
    }


def test_a_command_is_recorded_for_as_long_as_it_runs_and_knows_when_time_0_was(
    bench: Bench,
) -> None:
    script = (
        "import os, time; time.sleep(1);"
        "open(os.environ['STILLWATCH_FLOP_LOG'], 'w').write('x'); " + SAYS_TIMES
    )
    done = bench.record("--", sys.executable, "-c", script)
    assert done.status == 0
    reader, rows = read(bench.out)
    assert done.stderr.strip() == reader.header.labels["started_unix_ms"]
    assert done.result["started_unix_ms"] == int(done.stderr)
    assert done.result["flop_log"] == str(bench.folder / "r.flop.gz")
    assert 900 < rows[-1].time_ms < 4_000
    assert rows[-1].time_ms <= 1_000 * float(str(done.result["seconds"]))


@pytest.mark.parametrize(
    ("script", "status"),
    [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_how_a_command_ended_is_passed_on_and_its_recording_is_whole(
    bench: Bench, script: str, status: int
) -> None:
    done = bench.record("--", sys.executable, "-c", f"import time; time.sleep(0.4); {script}")
    assert done.status == done.result["exit_status"] == status
    assert read(bench.out)[1]


def test_a_command_that_is_not_there_leaves_no_recording(bench: Bench) -> None:
    done = bench.record("--", str(bench.folder / "absent"))
    assert done.status == 4
    assert "COMMAND_NOT_STARTED" in done.stderr
    assert list(bench.folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_ends_a_recording_gets_a_whole_one(bench: Bench, number: signal.Signals) -> None:
    process = bench.start("-o", "json", str(bench.out))
    bench.until_under_way()
    time.sleep(1)
    assert not bench.out.exists(), "it has its name only once it is whole"
    process.send_signal(number)
    done = told(process)
    assert (done.status, done.stderr) == (0, "")
    assert len(read(bench.out)[1]) == done.result["rows"] != 0
    assert [path.name for path in bench.folder.iterdir()] == ["r.csv.gz"]


TAKES_ITS_TIME = """
import signal, sys, time
def last(*_):
    time.sleep(0.7)
    sys.exit(3)
signal.signal(signal.SIGTERM, last)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_command_is_told_to_end_and_recorded_until_it_has(bench: Bench) -> None:
    process = bench.start("-o", "json", str(bench.out), "--", sys.executable, "-c", TAKES_ITS_TIME)
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    before = time.time_ns() // 1_000_000
    process.send_signal(signal.SIGTERM)
    done = told(process)
    assert done.status == 3
    reader, rows = read(bench.out)
    assert int(reader.header.labels["started_unix_ms"]) + rows[-1].time_ms > before + 400


COUNTS = """
import signal, sys, time
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
print("ready", flush=True)
while not heard:
    time.sleep(0.01)
time.sleep(1)
sys.exit(10 + len(heard))
"""


TAKES_THE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_an_interrupt_from_the_terminal_ends_the_command_and_leaves_a_whole_recording(
    bench: Bench,
) -> None:
    terminal, inside = pty.openpty()
    words = [sys.executable, "-m", "stillwatch", "agent", "record", str(bench.out), "--"]
    process = subprocess.Popen(
        [sys.executable, "-c", TAKES_THE_TERMINAL, *words, sys.executable, "-c", COUNTS],
        env=bench.environment,
        cwd=bench.root,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 1_000)
    os.write(terminal, b"\x03")
    assert process.wait(timeout=60) == 11
    os.close(terminal)
    assert read(bench.out)[1]


def test_an_interrupt_of_the_recorder_alone_is_passed_on(bench: Bench) -> None:
    process = bench.start("-o", "json", str(bench.out), "--", sys.executable, "-c", COUNTS)
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert told(process).status == 11


def test_a_command_that_will_not_end_is_not_waited_for_when_told_twice(bench: Bench) -> None:
    stubborn = TAKES_ITS_TIME.replace("time.sleep(0.7)", "return")
    stubborn = stubborn.replace("time.sleep(60)", "[time.sleep(0.1) for _ in range(600)]")
    process = bench.start("-o", "json", str(bench.out), "--", sys.executable, "-c", stubborn)
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert told(process).status == 137
    assert read(bench.out)[1]


def test_what_a_recorder_that_was_killed_had_flushed_can_be_read(bench: Bench) -> None:
    process = bench.start(str(bench.out))
    bench.until_under_way()
    time.sleep(6.5)
    process.kill()
    process.wait()
    with RecordingReader(bench.part) as reader, pytest.raises(RecordingError) as cut:
        list(reader)
    assert cut.value.reason == "TRUNCATED"
    with RecordingReader(bench.part) as reader:
        found = list(until_cut(reader))
    assert found[-1].time_ms > 4_000
    refused = bench.record("--seconds", "1")
    assert refused.status == 4
    assert "EXISTS" in refused.stderr
    assert bench.part.exists()


def until_cut(reader: RecordingReader) -> Iterator[Reading]:
    rows = iter(reader)
    while True:
        try:
            yield next(rows)
        except (RecordingError, StopIteration):
            return


@pytest.fixture(scope="session")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_disk(tmp_path_factory.mktemp("disk"))


def full(bench: Bench, failing: Path, tmp_path: Path, call: int) -> Disk:
    return Disk(failing, bench.folder, tmp_path, Fault(How.NO_SPACE, call, Then.FAIL))


def test_a_full_disk_is_told_and_what_was_written_until_then_is_kept(
    bench: Bench, failing: Path, tmp_path: Path
) -> None:
    disk = full(bench, failing, tmp_path, 3)  # the file is opened, its header written
    done = bench.record("--seconds", "2", **disk.environment)
    assert done.status == 4
    assert "UNWRITABLE" in done.stderr
    assert "No space left on device" in done.stderr
    assert str(bench.part) in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in bench.folder.iterdir()] == [bench.part.name]
    with RecordingReader(bench.part) as reader:
        assert [chip.uuid for chip in reader.header.chips] == ["GPU-0", "GPU-1"]


def test_a_full_disk_costs_the_command_nothing(bench: Bench, failing: Path, tmp_path: Path) -> None:
    disk = full(bench, failing, tmp_path, 3)
    kept = tmp_path / "done"
    script = f"import time; time.sleep(7); open({str(kept)!r}, 'w').close()"
    done = bench.record("--", sys.executable, "-c", script, **disk.environment)
    assert kept.exists()
    assert done.status == 4
    assert "UNWRITABLE]: waiting for the command to end" in done.stderr
    assert "the command ended with 0" in done.stderr


def test_a_folder_in_which_nothing_can_be_written_is_told_before_anything_runs(
    bench: Bench,
) -> None:
    done = bench.run(
        str(bench.folder / "none" / "r.csv.gz"), "--", "touch", str(bench.folder / "ran")
    )
    assert done.status == 4
    assert "UNWRITABLE" in done.stderr
    assert not (bench.folder / "ran").exists()


def test_nothing_is_written_over(bench: Bench) -> None:
    bench.out.write_text("mine")
    done = bench.record("--seconds", "1")
    assert (done.status, "EXISTS" in done.stderr) == (4, True)
    assert bench.out.read_text() == "mine"
    bench.out.unlink()
    (bench.folder / "r.flop.gz").write_text("of a run before")
    done = bench.record("--", "true")
    assert (done.status, "EXISTS" in done.stderr) == (4, True)


def test_samples_that_the_driver_kept_are_recorded_at_the_instants_of_polling(
    bench: Bench,
) -> None:
    """For ten seconds chips are polled, then a second's samples come at once."""
    done = bench.record("--seconds", "13")
    assert (done.status, done.result["late"]) == (0, 0)
    _, rows = read(bench.out)
    for chip in (0, 1):
        mine = [row for row in rows if row.chip == chip]
        times = [row.time_ms for row in mine]
        assert times == sorted(set(times))
        assert len(times) >= 115, "of 131"
        assert moved(mine) == pytest.approx((times[-1] - times[0]) / 100, abs=3)
        fetched = [row for row in mine if row.time_ms > 11_500]
        assert all(50 <= b.time_ms - a.time_ms <= 150 for a, b in pairwise(fetched))
        assert all(moved(pair) <= 2 for pair in pairwise(fetched)), "each stands at its instant"
        assert 0 < sum("energy_mj" in row.values for row in fetched) < len(fetched) / 4


def moved(rows: Sequence[Reading]) -> int:
    """How many tenths of a second the driver counted between the first row and the last."""
    counts = [round(100 * row.values["utilisation"]) for row in rows]
    return sum((after - before) % 101 for before, after in pairwise(counts))


def test_samples_may_be_polled_throughout_and_more_often(bench: Bench) -> None:
    done = bench.record("--seconds", "1", "--samples", "polled", "--period", "50 ms")
    assert done.status == 0
    reader, rows = read(bench.out)
    assert reader.header.period_ms == 50
    assert 25 <= len(rows) <= 44
    assert all("energy_mj" in row.values for row in rows)


def test_a_recording_for_publication_names_no_chip(
    bench: Bench, uneven: Path, tmp_path: Path
) -> None:
    flat = (tmp_path / "flat").read_text().replace("GPU-0", "GPU-8f3a").replace("GPU-1", "GPU-77bc")
    (tmp_path / "flat").write_text(flat)
    for words in ((), ("--anonymise",)):
        assert bench.record("--seconds", "0.3", *words).status == 0
        uuids = [chip.uuid for chip in read(bench.out)[0].header.chips]
        assert uuids == (["GPU-0", "GPU-1"] if words else ["GPU-8f3a", "GPU-77bc"])
        bench.out.unlink()


def test_a_chip_that_is_lost_midway_costs_its_own_rows_and_is_told(bench: Bench) -> None:
    done = bench.record("--seconds", "2", FAKE_NVML_FAIL="*:15:1:1200")
    assert done.status == 0
    assert done.result["failed_sources"] == ["nvml"]
    assert "GPU-1 is lost" in done.stderr
    _, rows = read(bench.out)
    assert max(row.time_ms for row in rows if row.chip == 1) < 1_500
    assert max(row.time_ms for row in rows if row.chip == 0) > 1_700


def test_without_a_driver_nothing_is_made_and_no_command_is_run(bench: Bench) -> None:
    ran = bench.folder / "ran"
    done = bench.record("--", "touch", str(ran), FAKE_NVML_FAIL="nvmlInitWithFlags:9")
    assert done.status == 4
    assert "DRIVER_FAILED" in done.stderr
    assert list(bench.folder.iterdir()) == []


@pytest.mark.parametrize("suffix", ["csv.gz", "parquet"])
def test_a_replay_is_recorded_under_the_label_that_it_has(
    bench: Bench, record: Callable[..., Path], suffix: str
) -> None:
    made = record(chips=2, seconds=30, period_ms=100)
    out = bench.folder / f"again.{suffix}"
    done = bench.run(str(out), "--recording", str(made), "--seconds", "2", "--label", "cut=yes")
    assert done.status == 0
    before, wanted = read(made)
    after, found = read(out)
    assert after.header.telemetry == "simulated"
    assert (after.header.origin, after.header.licence) == ("made by the tests", "Apache-2.0")
    assert after.header.labels == {"cut": "yes"}, "when time 0 was is not for a replay to say"
    assert after.header.chips == before.header.chips
    assert found == [row for row in wanted if row.time_ms <= found[-1].time_ms]
    assert 1_900 <= found[-1].time_ms <= 2_200
    assert {row.chip for row in found} == {NODE, 0, 1}


def test_the_sources_of_a_configured_node_are_recorded_together_under_the_least_of_their_labels(
    bench: Bench, record: Callable[..., Path], tmp_path: Path
) -> None:
    agreement(tmp_path, "rehearsal.test")
    write_signing_key(tmp_path / "n.key", SigningKey.generate())
    walls = tmp_path / "walls.csv.gz"
    with RecordingWriter(walls, replace(header(0, 100), chips=()), ["wall_w"]) as writer:
        for at in range(0, 60_000, 100):
            writer.write(Reading(at, NODE, {"wall_w": 4_000 + at / 100}))
    now = datetime.now(UTC).isoformat()
    (tmp_path / "agent.toml").write_text(
        f"""
        ledger = "127.0.0.1:1"
        agreement = "agreement.toml"
        spool = "s.sqlite"
        [[nodes]]
        name = "n1"
        key = "n.key"
        [[nodes.source]]
        kind = "replay"
        path = "{walls}"
        at = "{now}"
        [[nodes.source]]
        kind = "nvml"
        """
    )
    config = str(tmp_path / "agent.toml")
    done = bench.record("--config", config, "--node", "n1", "--seconds", "2.5")
    assert (done.status, done.result["late"]) == (0, 0), done.stderr
    reader, rows = read(bench.out)
    assert reader.header.telemetry == "simulated"
    assert len(reader.header.chips) == 2
    for chip in (NODE, 0, 1):
        assert sum(row.chip == chip for row in rows) >= 20
    assert not (tmp_path / "s.sqlite").exists()
    bench.out.unlink()
    done = bench.record("--config", config, "--node", "n2", "--seconds", "1")
    assert (done.status, "UNKNOWN_NODE" in done.stderr) == (4, True)


@pytest.mark.parametrize(
    "words",
    [
        ("r.txt", "--seconds", "1"),
        ("r.csv.gz", "--seconds", "1", "--", "true"),
        ("r.csv.gz", "--label", "nothing"),
        ("r.csv.gz", "--label", "a=1", "--label", "a=2"),
        ("r.csv.gz", "--config", "agent.toml"),
        ("r.csv.gz", "--recording", "x.csv.gz", "--period", "50 ms"),
        ("r.csv.gz", "--samples", "guessed"),
    ],
)
def test_words_that_do_not_fit_are_a_usage_error(bench: Bench, words: tuple[str, ...]) -> None:
    done = bench.run(str(bench.folder / words[0]), *words[1:])
    assert (done.status, done.result) == (2, {})
    assert list(bench.folder.iterdir()) == []


def test_what_is_read_eighty_times_a_second_is_written_in_a_hundredth_of_a_core(
    tmp_path: Path,
) -> None:
    names = [channel.name for channel in CHIP_CHANNELS]
    values = dict.fromkeys(names, 1.0) | {"energy_mj": 123_456_789.0, "power_w": 699.25}
    seconds = 60
    began = time.process_time()
    with RecordingWriter(tmp_path / "r.csv.gz", header(8, 100), names) as writer:
        for at in range(0, seconds * 1_000, 100):
            for row in range(8):
                writer.write(Reading(at, row, values))
    assert (time.process_time() - began) / seconds < 0.01
