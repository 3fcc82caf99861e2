"""The page on the recording format says what the reader does."""

import gzip
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from attestor.channels import CHIP_CHANNELS, NODE, NODE_CHANNELS, Channel, clean
from attestor.equipment import equip
from attestor.errors import RecordingError
from attestor.recorder import known_labels
from attestor.recording import RecordingHeader, RecordingReader, convert
from attestor.recording_forms.parquet import ROWS_A_GROUP
from attestor.recording_header import MOST_CHIPS
from attestor.sources.interface import ChipDescription, SourceDescription, Telemetry
from stillwatch import main as command
from tests.gpu.flop_log import PRECISIONS, FlopHeader, FlopLogWriter, Work

PAGE = Path(__file__).parents[2] / "docs/recording-format.md"
ROW = re.compile(r"^\| `(\w+)` \| (\S+) \| (none|read) \| (\S+) \| .+ \|$", re.MULTILINE)


def section(heading: str) -> str:
    text = PAGE.read_text()
    found = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, heading
    return found[1]


def example(tmp_path: Path) -> Path:
    found = re.search(r"```text\n(.*?)```", section("An example"), re.DOTALL)
    assert found is not None
    path = tmp_path / "example.csv.gz"
    path.write_bytes(gzip.compress(found[1].encode()))
    return path


@pytest.mark.parametrize(
    ("heading", "channels"),
    [("Channels of chips", CHIP_CHANNELS), ("Channels of the node", NODE_CHANNELS)],
)
def test_every_channel_is_listed_with_its_unit_its_zero_and_its_most(
    heading: str, channels: tuple[Channel, ...]
) -> None:
    listed = [
        (name, unit, zero == "none", limit(most))
        for name, unit, zero, most in ROW.findall(section(heading))
    ]
    assert listed == [(c.name, c.unit, c.zero_is_missing, c.at_most) for c in channels]
    for channel in channels:
        assert (clean(channel.name, 0) is None) == channel.zero_is_missing


def limit(written: str) -> float:
    base, _, power = written.partition("^")
    return float(base) ** int(power) if power else float(written)


def test_the_header_has_the_fields_that_are_listed() -> None:
    listed = re.findall(r"^\| `(\w+)` \| [a-z]", section("The header"), re.MULTILINE)
    assert listed == ["format", *RecordingHeader.__slots__]


def test_the_example_is_a_recording_and_reads_as_the_page_says(tmp_path: Path) -> None:
    with RecordingReader(example(tmp_path)) as reader:
        readings = [(one.time_ms, one.chip, dict(one.values)) for one in reader]
        assert [chip.uuid for chip in reader.header.chips] == ["GPU-a", "GPU-b"]
        assert (reader.header.telemetry, reader.header.period_ms) == ("simulated", 1000)
        assert reader.header.labels == {"job": "idle"}
    assert readings == [
        (0, 0, {"power_w": 71.5, "energy_mj": 880000.0, "utilisation": 0.0}),
        (0, 1, {"energy_mj": 912000.0, "utilisation": 0.0}),
        (0, NODE, {}),
        (1000, 0, {"power_w": 71.25, "energy_mj": 951375.0, "utilisation": 0.0}),
        (1000, 1, {"power_w": 70.0, "energy_mj": 982000.0, "utilisation": 0.0}),
        (1000, NODE, {"wall_w": 2143.0}),
    ]


def test_every_reason_that_readers_and_writers_give_is_listed() -> None:
    room = PAGE.parents[1] / "attestor"
    files = [*room.glob("recording*.py"), *(room / "recording_forms").glob("*.py")]
    assert len(files) >= 6
    given = {reason for file in files for reason in re.findall(r'"([A-Z_]{5,})"', file.read_text())}
    listed = [
        set(re.findall(r"^\| `([A-Z_]+)` \|", section(heading), re.MULTILINE))
        for heading in ("What is refused", "What writers refuse")
    ]
    assert set.union(*listed) == given
    assert not set.intersection(*listed)


def test_the_types_and_the_place_of_the_header_in_parquet_are_those_listed(tmp_path: Path) -> None:
    convert(example(tmp_path), tmp_path / "example.parquet")
    text = section("Parquet")
    with pq.ParquetFile(tmp_path / "example.parquet") as file:
        (key,) = file.metadata.metadata
        types = {one.name: str(one.type) for one in file.schema_arrow}
    assert f"under `{key.decode()}`" in text
    assert f"{ROWS_A_GROUP:,} rows a row group" in text
    for name in ("time_ms", "chip"):
        assert f"| `{name}` | {types.pop(name)} |" in text
    assert set(types.values()) == {"double"}
    assert "| each channel | float64;" in text
    assert f"at most {MOST_CHIPS:,}" in section("The header")


def test_the_flop_log_described_is_the_one_that_is_written(tmp_path: Path) -> None:
    text = section("The FLOP log beside it")
    with FlopLogWriter(tmp_path / "x.flop.gz", FlopHeader("w", {})) as log:
        log.write(Work(1.0, 2.0, 0, "bf16", 1.0, 1.0))
    first, second, _ = gzip.decompress((tmp_path / "x.flop.gz").read_bytes()).decode().splitlines()
    assert f"`{second}`" in text
    assert "`stillwatch.flop/1`" in text
    assert json.loads(first)["format"] == "stillwatch.flop/1"
    assert set(json.loads(first)) == {"format", "workload", "shape", "labels"}
    for name in json.loads(first):
        assert f"`{name}`" in text
    *others, last = (f"`{name}`" for name in PRECISIONS)
    assert f"| `precision` | {', '.join(others)} or {last} |" in text


def test_the_labels_listed_are_those_that_the_recorder_sets() -> None:
    chip = ChipDescription("u", "m", frozenset(), 1.0, 1.0, 1, False, "f")
    source = SourceDescription(Telemetry.LIVE, (chip,), frozenset(), None, bytes(16), 100, 100)
    rows = re.findall(r"^\| (`.*`) \| ", section("Making one"), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    set_by_it = known_labels(equip([source]), 0)
    assert listed == {name.replace("chip_0", "chip_N") for name in set_by_it}


def test_lines_may_end_as_on_windows_and_members_may_follow_one_another(tmp_path: Path) -> None:
    plain = gzip.decompress(example(tmp_path).read_bytes())
    head, rest = plain[: len(plain) // 2], plain[len(plain) // 2 :]
    (tmp_path / "parts").write_bytes(gzip.compress(head) + gzip.compress(rest))
    (tmp_path / "crlf").write_bytes(gzip.compress(plain.replace(b"\n", b"\r\n")))
    with RecordingReader(example(tmp_path)) as whole:
        wanted = list(whole)
    for name in ("parts", "crlf"):
        with RecordingReader(tmp_path / name) as reader:
            assert list(reader) == wanted


@pytest.mark.parametrize("time", ["-1", "0.5", ""])
def test_a_time_is_a_whole_number_from_zero(tmp_path: Path, time: str) -> None:
    plain = gzip.decompress(example(tmp_path).read_bytes()).decode()
    (tmp_path / "r").write_bytes(gzip.compress(plain.replace("\n0,0,", f"\n{time},0,").encode()))
    with RecordingReader(tmp_path / "r") as reader, pytest.raises(RecordingError, match="line 3"):
        list(reader)


def test_the_command_shown_reads_the_example(tmp_path: Path) -> None:
    words = ["agent", "once", "--recording", str(example(tmp_path)), "--seconds", "60"]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    assert "telemetry: simulated" in result.stdout
