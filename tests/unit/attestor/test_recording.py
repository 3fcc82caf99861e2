"""Recordings: what is written is read; what is broken is named with its line."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestor.channels import CHIP_CHANNELS, Reading, clean
from attestor.errors import RecordingError
from attestor.recording import RecordedChip, RecordingHeader, RecordingReader, RecordingWriter

HEADER = RecordingHeader(
    telemetry="recorded",
    origin="tests",
    licence="Apache-2.0",
    chips=(RecordedChip("GPU-0", "H100"),),
    driver="1",
    period_ms=100,
    labels={"job": "idle"},
)


def written(path: Path, text: str, header: RecordingHeader = HEADER) -> Path:
    """A recording whose rows are ``text``, columns included, with whatever is wrong in it."""
    with RecordingWriter(path, header, ()):
        pass
    first = gzip.decompress(path.read_bytes()).split(b"\n")[0]
    path.write_bytes(gzip.compress(first + b"\n" + text.encode()))
    return path


def refusal(path: Path) -> RecordingError:
    with pytest.raises(RecordingError) as caught, RecordingReader(path) as reader:
        list(reader)
    return caught.value


names = [channel.name for channel in CHIP_CHANNELS]
rows = st.lists(
    st.tuples(
        st.integers(0, 10**9),
        st.dictionaries(
            st.sampled_from(names),
            st.floats(0, 1, exclude_min=True) | st.integers(1, 1),
            max_size=6,
        ),
    )
)


@given(rows=rows)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, dict[str, float]]]
) -> None:
    readings = [Reading(at, 0, values) for at, values in sorted(rows, key=lambda row: row[0])]
    path = tmp_path_factory.mktemp("recordings") / "r.csv.gz"
    with RecordingWriter(path, HEADER, names) as writer:
        for reading in readings:
            writer.write(reading)
    with RecordingReader(path) as reader:
        assert reader.header == HEADER
        assert list(reader) == readings


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with RecordingWriter(tmp_path / name, HEADER, ["power_w"]) as writer:
            writer.write(Reading(0, 0, {"power_w": 99.5}))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_blank_cells_and_sentinels_are_missing(tmp_path: Path) -> None:
    text = "time_ms,chip,power_w,energy_mj,utilisation\n0,0,,5,0\n1,0,0,,\n2,0,-1,0,1.5\n"
    with RecordingReader(written(tmp_path / "r", text)) as reader:
        values = [dict(reading.values) for reading in reader]
    assert values == [{"energy_mj": 5.0, "utilisation": 0.0}, {}, {}]


def test_a_chips_channel_in_a_row_of_the_node_is_not_read(tmp_path: Path) -> None:
    text = "time_ms,chip,power_w,wall_w\n0,-1,300,5000\n0,0,300,5000\n"
    with RecordingReader(written(tmp_path / "r", text)) as reader:
        assert [dict(r.values) for r in reader] == [{"wall_w": 5000.0}, {"power_w": 300.0}]


@pytest.mark.parametrize(
    ("text", "reason", "says"),
    [
        ("time_ms,chip,power_w\n5,0,1\n4,0,1\n", "TIME_BACKWARDS", "line 4"),
        ("time_ms,chip,power_w\n,0,1\n", "BAD_ROW", "line 3"),
        ("time_ms,chip,power_w\n0,,1\n", "BAD_ROW", "line 3"),
        ("time_ms,chip,power_w\n0,0,warm\n", "BAD_ROW", "line 3"),
        ("time_ms,chip,power_w\n0,0\n", "BAD_ROW", "line 3"),
        ("time_ms,chip,power_w\n0,1,5\n", "BAD_ROW", "line 3"),
        ("time_ms,chip,power_w\n\n", "BAD_ROW", "line 3"),
        ('time_ms,chip,power_w\n0,0,"1\n"\n', "BAD_ROW", "line 3"),
        ("time_ms,chip,power_w\n0,0,5\n1,0," + "9" * 100_000_000, "BAD_ROW", "line 4"),
        ("time_ms,chip,watts\n", "UNKNOWN_CHANNEL", "watts"),
        ("time_ms,chip,power_w,power_w\n", "BAD_COLUMNS", "line 2"),
        ("chip,time_ms\n", "BAD_COLUMNS", "line 2"),
        ("", "BAD_COLUMNS", "line 2"),
    ],
)
def test_what_is_wrong_in_a_row_is_named_with_its_line(
    tmp_path: Path, text: str, reason: str, says: str
) -> None:
    error = refusal(written(tmp_path / "r", text))
    assert error.reason == reason
    assert says in str(error)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "stillwatch.recording/2"}, "UNKNOWN_FORMAT"),
        ({"telemetry": "live"}, "BAD_HEADER"),
        ({"period_ms": 0}, "BAD_HEADER"),
        ({"period_ms": "100"}, "BAD_HEADER"),
        ({"chips": [{"uuid": "GPU-0"}]}, "BAD_HEADER"),
        ({"labels": 5}, "BAD_HEADER"),
        ({"period_ms": True}, "BAD_HEADER"),
        ({"chips": [{"uuid": "GPU-0", "model": "H100"}] * 2}, "BAD_HEADER"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    path = written(tmp_path / "r", "time_ms,chip\n")
    first, rest = gzip.decompress(path.read_bytes()).split(b"\n", 1)
    path.write_bytes(gzip.compress(json.dumps(json.loads(first) | change).encode() + b"\n" + rest))
    assert refusal(path).reason == reason


def test_a_file_that_is_cut_short_says_after_which_line(
    tmp_path: Path, record: Callable[..., Path]
) -> None:
    whole = record(chips=2, seconds=600)
    whole.write_bytes(whole.read_bytes()[:-200])
    error = refusal(whole)
    assert error.reason == "TRUNCATED"
    assert "after line" in str(error)


def test_what_is_no_gzip_and_what_is_not_there_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("time_ms,chip\n")
    (tmp_path / "empty").write_bytes(gzip.compress(b""))
    (tmp_path / "prose").write_bytes(gzip.compress(b"hello\n"))
    (tmp_path / "deep").write_bytes(gzip.compress(b"[" * 100_000))
    assert refusal(tmp_path / "plain").reason == "CORRUPT"
    assert refusal(tmp_path / "absent").reason == "UNREADABLE"
    assert refusal(tmp_path / "empty").reason == "BAD_HEADER"
    assert refusal(tmp_path / "prose").reason == "BAD_HEADER"
    assert refusal(tmp_path / "deep").reason == "BAD_HEADER"


def test_the_writer_refuses_what_the_reader_would_refuse(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such channel"):
        RecordingWriter(tmp_path / "r", HEADER, ["watts"])
    with RecordingWriter(tmp_path / "r", HEADER, ["power_w"]) as writer:
        writer.write(Reading(5, 0, {}))
        with pytest.raises(RecordingError) as backwards:
            writer.write(Reading(4, 0, {}))
        with pytest.raises(RecordingError) as unknown:
            writer.write(Reading(6, 1, {}))
    assert (backwards.value.reason, unknown.value.reason) == ("TIME_BACKWARDS", "UNKNOWN_CHIP")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -5.0, 0.0, 1e300])
def test_what_cannot_be_read_is_written_as_a_blank(tmp_path: Path, value: float) -> None:
    with RecordingWriter(tmp_path / "r", HEADER, ["power_w", "nvlink_tx_bytes"]) as writer:
        writer.write(Reading(0, 0, {"power_w": value, "nvlink_tx_bytes": 5.0}))
    with RecordingReader(tmp_path / "r") as reader:
        assert list(reader) == [Reading(0, 0, {"nvlink_tx_bytes": 5.0})]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1e300])
@pytest.mark.parametrize("name", names)
def test_no_channel_takes_what_is_not_a_quantity(name: str, value: float) -> None:
    assert clean(name, value) is None
