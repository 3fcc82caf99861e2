"""Parquet: the same recording in another form, held to the same rules."""

import gzip
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import stillwatch
from attestor.channels import CHANNELS, CHIP_CHANNEL_NAMES, NODE, NODE_CHANNEL_NAMES, Reading
from attestor.errors import RecordingError
from attestor.recording import (
    RecordedChip,
    RecordingHeader,
    RecordingReader,
    RecordingWriter,
    convert,
)
from attestor.recording_forms.parquet import HEADER_KEY, ROWS_A_GROUP
from attestor.sources.replay import ReplaySource
from tests.faults.disk import Disk, Fault, How
from tests.faults.disk import build as build_disk
from tests.unit.attestor.conftest import plain_readings

HEADER = RecordingHeader(
    telemetry="recorded",
    origin="tests",
    licence="Apache-2.0",
    chips=(RecordedChip("GPU-0", "H100"), RecordedChip("GPU-1", "H100")),
    driver="1",
    period_ms=100,
    labels={"job": "idle, and Ümlaute"},
)


def content(path: Path) -> tuple[str, RecordingHeader, tuple[str, ...], list[Reading]]:
    with RecordingReader(path) as reader:
        return reader.line, reader.header, reader.channels, list(reader)


def refusal(path: Path) -> RecordingError:
    with pytest.raises(RecordingError) as caught, RecordingReader(path) as reader:
        list(reader)
    return caught.value


def numbers(name: str) -> st.SearchStrategy[float]:
    most = CHANNELS[name].at_most
    return st.floats(0, most, exclude_min=True) | st.integers(1, int(most))


@st.composite
def readings(draw: st.DrawFn) -> list[Reading]:
    found = []
    for time_ms in sorted(draw(st.lists(st.integers(0, 2**63 - 1), max_size=12))):
        chip = draw(st.sampled_from([NODE, 0, 1]))
        names = NODE_CHANNEL_NAMES if chip == NODE else CHIP_CHANNEL_NAMES
        chosen = draw(st.lists(st.sampled_from(sorted(names)), max_size=5, unique=True))
        found.append(Reading(time_ms, chip, {name: draw(numbers(name)) for name in chosen}))
    return found


@given(rows=readings(), channels=st.permutations(sorted(CHANNELS)))
def test_a_recording_goes_into_parquet_and_back_with_every_value_and_its_header(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Reading], channels: Sequence[str]
) -> None:
    folder = tmp_path_factory.mktemp("forms")
    first, second, third = folder / "1.csv.gz", folder / "2.parquet", folder / "3.csv.gz"
    with RecordingWriter(first, HEADER, channels) as writer:
        for reading in rows:
            writer.write(reading)
    assert convert(first, second) == convert(second, third) == len(rows)
    assert content(first) == content(second) == content(third)
    convert(first, folder / "4.csv.gz")
    assert third.read_bytes() == (folder / "4.csv.gz").read_bytes()


def test_a_header_is_kept_to_the_letter_fields_that_nobody_knows_included(tmp_path: Path) -> None:
    line = (
        '{"format": "stillwatch.recording/1",  "telemetry": "simulated", "origin": "\\u00fc", "licence":'
        ' "x", "chips": [], "driver": "", "period_ms": 1e0, "card": {"by": ["us"]}}'
    ).replace("1e0", "1")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(f"{line}\r\ntime_ms,chip\r\n".encode()))
    convert(tmp_path / "a.csv.gz", tmp_path / "b.parquet")
    convert(tmp_path / "b.parquet", tmp_path / "c.csv.gz")
    assert content(tmp_path / "b.parquet")[0] == content(tmp_path / "c.csv.gz")[0] == line


def test_the_columns_are_of_the_types_that_the_page_says_and_the_pages_are_bounded(
    tmp_path: Path,
) -> None:
    path = tmp_path / "r.parquet"
    with RecordingWriter(path, HEADER, ["energy_mj", "wall_w"]) as writer:
        for at in range(2 * ROWS_A_GROUP + 1):
            writer.write(Reading(at, 0, {"energy_mj": 2**53 - 1}))
    with pq.ParquetFile(path) as file:
        found = [(one.name, str(one.type), one.nullable) for one in file.schema_arrow]
        groups = [file.metadata.row_group(at) for at in range(file.metadata.num_row_groups)]
        assert set(file.metadata.metadata) == {HEADER_KEY}
        assert {group.column(2).compression for group in groups} == {"ZSTD"}
    assert found == [
        ("time_ms", "int64", False),
        ("chip", "int16", False),
        ("energy_mj", "double", True),
        ("wall_w", "double", True),
    ]
    assert [group.num_rows for group in groups] == [ROWS_A_GROUP, ROWS_A_GROUP, 1]
    assert content(path)[3][0].values == {"energy_mj": 2**53 - 1}


def table(**columns: object) -> pa.Table:
    types = {"time_ms": pa.int64(), "chip": pa.int16()}
    return pa.table(
        {
            name: values if isinstance(values, pa.Array) else pa.array(values, types.get(name))
            for name, values in columns.items()
        }
    )


HEAD = (
    '{"format": "stillwatch.recording/1", "telemetry": "recorded", "origin": "", "licence": "",'
    ' "chips": [{"uuid": "GPU-0", "model": "H100"}], "driver": "", "period_ms": 100}'
)


def foreign(path: Path, columns: pa.Table, head: str | bytes | None = HEAD) -> Path:
    """A file that another program wrote."""
    with pq.ParquetWriter(path, columns.schema) as writer:
        writer.write_table(columns)
        if head is not None:
            writer.add_key_value_metadata({HEADER_KEY: head})
    return path


ROW = {"time_ms": [0, 5], "chip": [0, 0], "power_w": [300.5, None]}


def test_what_another_program_wrote_by_the_page_is_a_recording(tmp_path: Path) -> None:
    path = foreign(tmp_path / "r.parquet", table(**ROW))
    assert content(path)[3] == [Reading(0, 0, {"power_w": 300.5}), Reading(5, 0, {})]


def test_sentinels_and_channels_of_others_are_missing_here_too(tmp_path: Path) -> None:
    watts = [-1.0, float("nan"), 1e300, float("inf"), 5.0]
    columns = table(time_ms=[0] * 5, chip=[0] * 4 + [-1], power_w=watts, wall_w=[9.0] * 5)
    found = content(foreign(tmp_path / "r.parquet", columns))[3]
    assert [dict(one.values) for one in found] == [{}, {}, {}, {}, {"wall_w": 9.0}]


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ({"time_ms": [5, 4]}, "TIME_BACKWARDS", "row 2"),
        ({"time_ms": [-1, 4]}, "BAD_ROW", "row 1"),
        ({"time_ms": [0, None]}, "BAD_ROW", "row 2"),
        ({"chip": [0, None]}, "BAD_ROW", "row 2"),
        ({"chip": [0, 1]}, "BAD_ROW", "row 2"),
        ({"chip": [-2, 0]}, "BAD_ROW", "row 1"),
        ({"watts": [1.0, 2.0]}, "UNKNOWN_CHANNEL", "watts"),
        ({"power_w": ["warm", "cold"]}, "BAD_COLUMNS", "power_w"),
        ({"power_w": [1, 2]}, "BAD_COLUMNS", "power_w"),
        ({"power_w": [[1.0], [2.0]]}, "BAD_COLUMNS", "power_w"),
        ({"time_ms": pa.array([0.0, 5.0])}, "BAD_COLUMNS", "time_ms"),
        ({"chip": pa.array([0, 0], pa.int64())}, "BAD_COLUMNS", "chip"),
    ],
)
def test_what_is_wrong_in_a_file_has_the_reason_that_it_has_in_csv(
    tmp_path: Path, change: dict[str, object], reason: str, says: str
) -> None:
    error = refusal(foreign(tmp_path / "r.parquet", table(**(ROW | change))))
    assert error.reason == reason
    assert says in str(error)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (None, "BAD_HEADER"),
        ("", "BAD_HEADER"),
        ("hello", "BAD_HEADER"),
        (HEAD.replace(", ", ",\n"), "BAD_HEADER"),
        (HEAD.replace("recorded", "live"), "BAD_HEADER"),
        (HEAD.replace("recording/1", "recording/2"), "UNKNOWN_FORMAT"),
        (b"\xff\xfe", "CORRUPT"),
        (HEAD + " " * (1 << 20), "BAD_HEADER"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tmp_path: Path, head: str | bytes | None, reason: str
) -> None:
    assert refusal(foreign(tmp_path / "r.parquet", table(**ROW), head)).reason == reason


def test_columns_out_of_order_or_twice_are_refused(tmp_path: Path) -> None:
    swapped = table(chip=[0], time_ms=[0])
    assert refusal(foreign(tmp_path / "a.parquet", swapped)).reason == "BAD_COLUMNS"
    one = pa.array([1.0])
    twice = pa.table(
        [pa.array([0], pa.int64()), pa.array([0], pa.int16()), one, one],
        names=["time_ms", "chip", "power_w", "power_w"],
    )
    assert refusal(foreign(tmp_path / "b.parquet", twice)).reason == "BAD_COLUMNS"
    assert refusal(foreign(tmp_path / "c.parquet", pa.table({}))).reason == "BAD_COLUMNS"


def test_a_file_that_is_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    data = foreign(tmp_path / "r.parquet", table(**ROW)).read_bytes()
    for length in range(4, len(data), 7):
        (tmp_path / "cut").write_bytes(data[:length])
        assert refusal(tmp_path / "cut").reason == "TRUNCATED"


def test_a_flipped_bit_never_changes_a_reading_unseen(
    tmp_path: Path, record: Callable[..., Path]
) -> None:
    path = tmp_path / "r.parquet"
    convert(record(chips=2, seconds=200), path)
    *_, wanted = content(path)
    data = path.read_bytes()
    draw = random.Random(7)
    refused = 0
    for _ in range(600):
        flipped = bytearray(data)
        flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        (tmp_path / "flipped").write_bytes(flipped)
        try:
            *_, found = content(tmp_path / "flipped")
        except RecordingError:
            refused += 1
        else:
            assert found == wanted
    assert refused > 300


def test_memory_does_not_grow_with_what_is_written_and_read(tmp_path: Path) -> None:
    peaks = []
    for seconds in (4_000, 12_000):
        name = tmp_path / f"{seconds}.parquet"
        tracemalloc.start()
        with RecordingWriter(name, HEADER, ["power_w", "energy_mj", "wall_w"]) as writer:
            for reading in plain_readings(2, seconds):
                writer.write(reading)
        with RecordingReader(name) as reader:
            assert sum(1 for _ in reader) == 3 * (seconds + 1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


READ = """
import sys
from pathlib import Path
import pyarrow as pa
from attestor.recording import RecordingReader

with RecordingReader(Path(sys.argv[1])) as reader:
    rows = sum(1 for _ in reader)
print(rows, pa.default_memory_pool().max_memory())
"""


def test_a_file_whose_rows_are_all_in_one_group_is_read_page_by_page(
    tmp_path: Path, root: Path
) -> None:
    rows = 700_000
    columns = table(
        time_ms=pa.array(range(rows), pa.int64()),
        chip=pa.array([0] * rows, pa.int16()),
        **{
            name: pa.array(map(float, range(1, rows + 1)))
            for name in ("energy_mj", "pcie_tx_bytes")
        },
    )
    path = foreign(tmp_path / "one.parquet", columns)
    with pq.ParquetFile(path) as file:
        assert file.metadata.num_row_groups == 1
        assert file.metadata.row_group(0).total_byte_size > 16_000_000
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    read, most = map(int, done.stdout.split())
    assert read == rows
    assert most < 8_000_000


@pytest.mark.parametrize("form", ["r.csv.gz", "r.parquet", "named-otherwise"])
def test_a_replay_takes_either_form_whatever_its_name(
    tmp_path: Path, record: Callable[..., Path], form: str
) -> None:
    made = record(chips=2, seconds=60)
    path = tmp_path / form
    if form.startswith("r."):
        convert(made, path)
    else:
        convert(made, tmp_path / "x.parquet")
        (tmp_path / "x.parquet").rename(path)
    at = 1_800_000_000_000
    old, new = ReplaySource(made, at_ms=at), ReplaySource(path, at_ms=at)
    assert old.description == new.description
    assert list(old.read(at + 60_000).readings) == list(new.read(at + 60_000).readings)
    old.close()
    new.close()


def run(*words: str) -> "tuple[int, str]":
    result = CliRunner().invoke(stillwatch.main, ["agent", *words])
    return result.exit_code, result.output


def test_once_shows_the_same_of_either_form(tmp_path: Path, record: Callable[..., Path]) -> None:
    made = record(chips=2, seconds=10)
    assert run("convert", str(made), str(tmp_path / "r.parquet"))[0] == 0
    shown = [
        [
            line
            for line in run("once", "--recording", str(path), "--seconds", "5")[1].splitlines()
            if "power_mean" in line or "telemetry" in line or "uuid" in line
        ]
        for path in (made, tmp_path / "r.parquet")
    ]
    assert shown[0] == shown[1]
    assert any("310" in line for line in shown[0])


def test_a_conversion_writes_over_nothing_and_leaves_nothing_of_what_failed(
    tmp_path: Path, record: Callable[..., Path]
) -> None:
    made = record(chips=1, seconds=600)
    out = tmp_path / "out" / "r.parquet"
    out.parent.mkdir()
    made.write_bytes(made.read_bytes()[:-200])
    status, told = run("convert", str(made), str(out))
    assert (status, "TRUNCATED" in told) == (4, True)
    assert list(out.parent.iterdir()) == []
    out.write_text("mine")
    status, told = run("convert", str(made), str(out))
    assert (status, "EXISTS" in told) == (4, True)
    assert out.read_text() == "mine"
    assert run("convert", str(made), str(tmp_path / "r.txt"))[0] == 2
    status, told = run("convert", str(made), str(tmp_path / "none" / "r.csv.gz"))
    assert (status, "UNWRITABLE" in told) == (4, True)


WITHOUT = """
import sys
sys.modules["pyarrow"] = None
from stillwatch import main
main()
"""


def test_without_pyarrow_csv_is_read_and_parquet_says_what_to_install(
    tmp_path: Path, record: Callable[..., Path], root: Path
) -> None:
    made = record(chips=1, seconds=10)
    convert(made, tmp_path / "r.parquet")
    for words in (
        ("convert", str(made), str(tmp_path / "s.parquet")),
        ("once", "--recording", str(tmp_path / "r.parquet")),
    ):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", WITHOUT, "agent", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=root,
        )
        assert done.returncode == 4
        assert "NEEDS_PARQUET" in done.stderr
        assert "pip install 'stillwatch[parquet]'" in done.stderr
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT, "agent", "once", "--recording", str(made)],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_disk(tmp_path_factory.mktemp("disk"))


Play = Callable[[Path, Path, Fault | None], "tuple[Disk, subprocess.CompletedProcess[str]]"]


@pytest.fixture
def play(failing: Path, tmp_path: Path, root: Path) -> Play:
    """Convert a recording on a disk that fails."""

    def run_it(
        made: Path, out: Path, fault: Fault | None
    ) -> "tuple[Disk, subprocess.CompletedProcess[str]]":
        disk = Disk(failing, out.parent, tmp_path, fault)
        command = [sys.executable, "-W", "error", "-m", "stillwatch", "agent", "convert"]
        done = subprocess.run(
            [*command, str(made), str(out)],
            env=disk.environment,
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        return disk, done

    return run_it


@pytest.mark.parametrize("suffix", ["csv.gz", "parquet"])
@pytest.mark.parametrize("how", [How.NO_SPACE, How.IO_ERROR])
def test_a_disk_that_fails_is_told_in_one_line_and_no_part_of_a_file_is_left(
    tmp_path: Path, record: Callable[..., Path], play: Play, suffix: str, how: How
) -> None:
    made = record(chips=2, seconds=6_000)
    folder = tmp_path / "out"
    folder.mkdir()
    out = folder / f"r.{suffix}"
    well, done = play(made, out, None)
    assert done.returncode == 0, done.stderr
    whole = out.read_bytes()
    last = well.calls
    for call in (1, last // 2, last - 3, last - 2, last - 1, last):
        out.unlink(missing_ok=True)
        disk, done = play(made, out, Fault(how, call))
        assert disk.failed == 1
        assert done.returncode == 4, (call, done.stderr)
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "[UNWRITABLE]" in done.stderr
        if call < last:
            assert list(folder.iterdir()) == []
        else:
            assert out.read_bytes() == whole, "only its name may not outlive a power cut"


@pytest.mark.parametrize("suffix", ["csv.gz", "parquet"])
def test_a_disk_that_takes_a_part_of_what_is_written_gets_the_rest(
    tmp_path: Path, record: Callable[..., Path], play: Play, suffix: str
) -> None:
    made = record(chips=2, seconds=600)
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / f"r.{suffix}"
    disk, done = play(made, out, Fault(How.SHORT, 2))
    assert (disk.failed, done.returncode) == (1, 0), done.stderr
    assert content(out) == content(made)
