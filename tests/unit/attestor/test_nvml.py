"""NVML through nvidia-ml-py, unmodified, against a driver that replays a recording and fails on demand."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from attestor.channels import Reading
from attestor.recording import RecordingWriter
from tests.nvml.driver import build, flatten
from tests.unit.attestor.conftest import CHANNELS, header
from tests.unit.attestor.nvml_probe import Probe

NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, DRIVER_NOT_LOADED, LOST, UNKNOWN = 3, 4, 6, 9, 15, 999

REPLACED = """
import ctypes, json, os, sys
from pathlib import Path
from attestor.guarded_source import GuardedSource
from attestor.sources.nvml import NvmlSource

source = GuardedSource("nvml", lambda: NvmlSource(period_ms=100, boot_id_path=Path(sys.argv[1])))
driver = ctypes.CDLL("libnvidia-ml.so.1")
found = []
for at, fail in json.loads(sys.argv[2]):
    os.environ["FAKE_NVML_FAIL"] = fail
    driver.fake_set_time_ms(ctypes.c_longlong(at))
    batch = source.read(1_000_000 + at)
    found.append([len(batch.readings), list(batch.failed), driver.fake_initialised()])
print(json.dumps(found))
source.close()
assert (driver.fake_gpm_allocated(), driver.fake_gpm_leaked()) == (0, 0)
"""

BACK = """
import ctypes, json, sys
from pathlib import Path
from attestor.sources.nvml import NvmlSource

source = NvmlSource(period_ms=100, boot_id_path=Path(sys.argv[1]))
driver = ctypes.CDLL("libnvidia-ml.so.1")
found = []
for number, at in enumerate(json.loads(sys.argv[2])):
    driver.fake_set_time_ms(ctypes.c_longlong(at))
    batch = source.read(1_000_000 + (at if number < 3 else 10_000 + 1_000 * (number - 2)))
    found.append([len(batch.readings), source.description.poll_ms])
print(json.dumps(found))
"""

HANGS = """
import ctypes, json, os, sys, time
from pathlib import Path
from attestor.bell import Bell
from attestor.channels import NODE, Reading
from attestor.poller import Polling
from attestor.sampler import NodeSampler
from attestor.sources.interface import Batch, SourceDescription, Telemetry
from attestor.sources.nvml import NvmlSource
from attestor.window import Span
from statements.clock import SystemClock

class Wall:
    description = SourceDescription(
        telemetry=Telemetry.LIVE, chips=(), node_channels=frozenset({"wall_w"}), driver=None,
        boot_id=bytes(16), sample_ms=100, poll_ms=100,
    )
    def read(self, now_ms):
        return Batch([Reading(now_ms, NODE, {"wall_w": 4_000.0})])

node = NodeSampler(
    "n",
    [("nvml", lambda: NvmlSource(period_ms=100, boot_id_path=Path(sys.argv[1]))), ("wall", Wall)],
    60_000,
)
clock = SystemClock()
polling = Polling([node], clock, Bell(), window_ms=60_000)
polling.start()
found, began = [], clock.now_ms()
for fail, seconds in json.loads(sys.argv[2]):
    os.environ["FAKE_NVML_FAIL"] = fail
    time.sleep(1.0)  # what was under way when the driver was told comes back, on busy cores too
    before = clock.now_ms()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        polling.give_up_on(0.4)
        time.sleep(0.05)
    after = clock.now_ms()
    found.append([before, after, sorted(node.behind(after - 500))])
readings = node.collect(Span(began, clock.now_ms())).readings
print(json.dumps([
    {"chips": sum(1 for r in readings if r.chip != NODE and before <= r.time_ms <= after),
     "wall": sum(1 for r in readings if r.chip == NODE and before <= r.time_ms <= after),
     "behind": behind}
    for before, after, behind in found
]))
"""


def test_values_arrive_in_the_units_of_the_channels(probe: Probe) -> None:
    found = probe(0, 4_000)
    assert found["driver"] == "999.99-fake"
    assert found["boot_id"] == "0123456789abcdef0123456789abcdef"
    assert found["chips"][1][:7] == [
        *("GPU-1", "NVIDIA H100 80GB HBM3", 700.0, 1980.0, 85_899_345_920, False),
        "96.00.00.00.01",
    ]
    time_ms, chip, values = found["batches"][1]["readings"][1]
    assert (time_ms, chip) == (1_004_000, 1)
    assert values == {
        "power_w": 310.0,
        "energy_mj": 1_000_000 + 310 * 4_000,
        "utilisation": 0.5,
        "sm_clock_mhz": 1980,
        "memory_used_bytes": 40_000_000_000,
        "temperature_c": 55,
        "processes": 1,
    }


def test_what_changes_slowly_is_asked_for_once_a_second(probe: Probe) -> None:
    batches = probe(0, 100, 900, 1_000)["batches"]
    slow = ["temperature_c" in batch["readings"][0][2] for batch in batches]
    assert slow == [True, False, False, True]
    assert all("energy_mj" in batch["readings"][0][2] for batch in batches)


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """A recording of two chips in which every tenth of a second differs, 20 s long."""
    path = tmp_path / "uneven.csv.gz"
    with RecordingWriter(path, header(2, 100), CHANNELS) as writer:
        for at in range(0, 20_001, 100):
            for row in range(2):
                values = {
                    "power_w": 100 + (at * 7 + row) % 601,
                    "energy_mj": 1_000_000 + 300 * at,
                    "utilisation": (at // 100 + row) % 101 / 100,
                    "sm_clock_mhz": 1_000 + at % 977,
                }
                writer.write(Reading(at, row, values))
    return path


SECONDS = (*range(0, 11_000, 1_000), 10_950, 11_950, 12_950, 13_950, 14_950, 15_950)


def test_what_the_driver_kept_is_read_as_polling_would_have_read_it(
    probe: Probe, uneven: Path
) -> None:
    kept = probe(*SECONDS, recording=uneven)["batches"]
    polled = probe(*range(50, 16_000, 100), recording=uneven, polled=True)["batches"]
    assert [batch["poll_ms"] for batch in kept] == [100] * 10 + [1_000] * 7
    assert {batch["poll_ms"] for batch in polled} == {100}
    fetched = [reading for batch in kept[12:] for reading in batch["readings"]]
    assert len(fetched) == 2 * 50
    told = {(at, row): values for batch in polled for at, row, values in batch["readings"]}
    sampled = {"power_w", "utilisation", "sm_clock_mhz"}
    for at, row, values in fetched:
        assert sampled <= set(values)
        assert {name: values[name] for name in sampled} == {
            name: told[at, row][name] for name in sampled
        }
        counted = at % 1_000 == 950
        assert ("energy_mj" in values) == counted
        assert not counted or values["energy_mj"] == told[at, row]["energy_mj"]


def test_a_driver_that_no_longer_keeps_samples_of_one_chip_is_polled_again(
    probe: Probe, uneven: Path
) -> None:
    batches = probe(*SECONDS, recording=uneven, fail=f"nvmlDeviceGetSamples:{NOT_FOUND}:1:12500")[
        "batches"
    ]
    assert [batch["poll_ms"] for batch in batches[-5:]] == [1_000, 1_000, 1_000, 1_000, 100]
    for batch in batches[-4:]:
        assert batch["failed"] == []
        asked = [reading for reading in batch["readings"] if reading[1] == 1]
        assert len(asked) == 1
        assert {"power_w", "energy_mj", "utilisation", "sm_clock_mhz"} <= set(asked[0][2])


def test_a_drivers_clock_that_goes_back_costs_one_look(probe: Probe, uneven: Path) -> None:
    batches = probe(
        *(0, 5_000, 10_000, 11_000, 12_000, 5_000, 6_000, 7_000), recording=uneven, script=BACK
    )
    assert batches == [
        [2, 100],
        [2, 100],
        [2, 1_000],
        *[[20, 1_000]] * 2,
        [2, 1_000],
        *[[20, 1_000]] * 2,
    ]


def test_a_chip_that_is_lost_while_samples_are_fetched_costs_only_itself(
    probe: Probe, uneven: Path
) -> None:
    *_, last = probe(*SECONDS, recording=uneven, fail=f"*:{LOST}:1:15500")["batches"]
    assert {reading[1] for reading in last["readings"]} == {0}
    assert len(last["readings"]) == 10
    assert len(last["failed"]) == 1
    assert "GPU-1 is lost" in last["failed"][0]


def test_after_a_sleep_of_the_machine_no_more_is_fetched_than_a_driver_keeps(
    probe: Probe, uneven: Path
) -> None:
    *_, last = probe(*SECONDS, 3_600_000, recording=uneven)["batches"]
    assert len(last["readings"]) <= 2 * 100


@pytest.mark.parametrize("fault", ["OMIT", "NOT_SUPPORTED", "SPARSE"])
def test_a_driver_that_keeps_no_regular_samples_is_polled(
    probe: Probe, uneven: Path, tmp_path: Path, record: Callable[..., Path], fault: str
) -> None:
    found = {
        "OMIT": lambda: probe(
            *SECONDS, recording=uneven, library=build(tmp_path / "driver", ["SAMPLES"]).parent
        ),
        "NOT_SUPPORTED": lambda: probe(
            *SECONDS, recording=uneven, fail=f"nvmlDeviceGetSamples:{NOT_SUPPORTED}:1"
        ),
        "SPARSE": lambda: probe(*SECONDS, recording=record(seconds=20, period_ms=2_000)),
    }[fault]()
    assert {batch["poll_ms"] for batch in found["batches"]} == {100}
    assert all(len(batch["readings"]) == 2 for batch in found["batches"])


def test_a_channel_that_is_not_supported_is_not_offered(probe: Probe) -> None:
    found = probe(0, fail=f"nvmlDeviceGetPowerUsage:{NOT_SUPPORTED}:1")
    assert "power_w" in found["chips"][0][7]
    assert "power_w" not in found["chips"][1][7]
    assert found["batches"][0]["failed"] == []
    assert "energy_mj" in found["batches"][0]["readings"][1][2]


def test_a_symbol_that_an_old_driver_lacks_costs_its_channel(
    probe: Probe, old_driver: Path
) -> None:
    found = probe(0, library=old_driver)
    assert "energy_mj" not in found["chips"][0][7]
    assert found["batches"][0]["readings"][0][2]["power_w"] == 300.0


@pytest.mark.parametrize(
    ("symbol", "channel"),
    [
        ("PROCESSES", "processes"),
        ("POWER", "power_w"),
    ],
)
def test_any_symbol_that_is_not_there_costs_its_channel_alone(
    probe: Probe, tmp_path: Path, symbol: str, channel: str
) -> None:
    found = probe(0, library=build(tmp_path / "driver", [symbol]).parent)
    offered = {"energy_mj", "memory_used_bytes", "power_w", "processes"}
    offered |= {"sm_clock_mhz", "temperature_c", "utilisation"}
    assert set(found["chips"][0][7]) == offered - {channel}
    assert found["batches"][0]["failed"] == []


@pytest.mark.parametrize("symbol", ["TEMPERATURE", "OLD_TEMPERATURE"])
def test_temperature_is_read_in_the_new_way_or_the_old(
    probe: Probe, tmp_path: Path, symbol: str
) -> None:
    found = probe(0, library=build(tmp_path / "driver", [symbol]).parent)
    assert found["batches"][0]["readings"][0][2]["temperature_c"] == 55


def test_what_the_user_may_not_ask_for_is_not_offered_and_no_failure(probe: Probe) -> None:
    found = probe(0, fail=f"nvmlDeviceGetComputeRunningProcesses_v3:{NO_PERMISSION}")
    assert "processes" not in found["chips"][0][7]
    assert found["batches"][0]["failed"] == []


def test_when_nothing_at_all_can_be_read_the_source_says_so(probe: Probe) -> None:
    found = probe(0, 5_000, fail=f"*:{UNKNOWN}:-1:3000")
    assert "energy_mj" in found["batches"][0]["readings"][0][2]
    assert found["batches"][1]["reason"] == "NOTHING_READ"
    assert "GPU-1" in found["batches"][1]["message"]


def test_a_driver_that_is_replaced_under_the_agent_is_opened_anew(probe: Probe) -> None:
    down = f"nvmlInitWithFlags:{DRIVER_NOT_LOADED},*:{DRIVER_NOT_LOADED}"
    before, broken, away, after = probe(
        *([0, ""], [1_000, down], [2_000, down], [3_000, ""]), script=REPLACED
    )
    assert before == [2, [], 1]
    assert (broken[0], broken[2]) == (0, 0)
    assert broken[1][0].startswith("NOTHING_READ: ")
    assert away[1][0].startswith("DRIVER_FAILED: ")
    assert away[2] == 0
    assert after == [2, [], 1]


def test_a_chip_that_was_lost_is_read_again_once_it_was_reset(probe: Probe) -> None:
    lost = f"*:{LOST}:1"
    steps = ([0, ""], [1_000, lost], [302_000, lost], [400_000, ""], [603_000, ""])
    well, gone, asked, waiting, back = probe(*steps, script=REPLACED)
    assert well == [2, [], 1]
    for one in (gone, asked, waiting):
        assert one[0] == 1, "the other is read all the while"
        assert any("GPU-1 is lost" in line for line in one[1])
    assert back == [2, [], 1]


def test_a_chip_that_did_not_answer_at_first_is_read_once_it_does(probe: Probe) -> None:
    steps = ([0, f"*:{LOST}:0"], [1_000, ""], [301_000, ""], [302_000, ""])
    first, second, again, after = probe(*steps, script=REPLACED)
    assert (first[0], second[0]) == (1, 1)
    assert again == after == [2, [], 1]


def test_a_driver_that_hangs_costs_its_own_readings_and_none_once_it_comes_back(
    probe: Probe,
) -> None:
    hang = "nvmlDeviceGetPowerUsage:-1:1"
    well, hung, back = probe(*(["", 1.0], [hang, 2.0], ["", 1.0]), script=HANGS)
    assert hung["chips"] == 0
    assert hung["wall"] >= 5, "20 are due"
    assert min(well["chips"], well["wall"], back["chips"], back["wall"]) >= 3, "10 are due"
    assert [well["behind"], hung["behind"], back["behind"]] == [[], ["nvml"], []]


@pytest.mark.parametrize("boot_id", ["", "0123", "no hexadecimal at all, and much too long\n"])
def test_a_boot_without_an_id_is_refused_and_the_library_left_alone(
    probe: Probe, boot_id: str
) -> None:
    found = probe(boot_id=boot_id)
    assert (found["reason"], found["left_open"]) == ("NO_BOOT_ID", 0)


def test_sentinels_in_what_a_chip_says_of_itself_are_missing(probe: Probe) -> None:
    for function in ("nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetMaxClockInfo"):
        found = probe(0, fail=f"{function}:{NOT_SUPPORTED}:0")
        assert None in found["chips"][0][2:4]
        assert None not in found["chips"][1][2:4]


def test_a_driver_whose_chips_cannot_be_counted_is_left_again(probe: Probe) -> None:
    found = probe(fail=f"nvmlDeviceGetCount_v2:{UNKNOWN}")
    assert (found["reason"], found["left_open"]) == ("DRIVER_FAILED", 0)


def test_a_call_that_fails_midway_costs_only_its_channel(probe: Probe) -> None:
    found = probe(0, 5_000, fail=f"nvmlDeviceGetTotalEnergyConsumption:{UNKNOWN}:0:3000")
    before, after = found["batches"]
    assert "energy_mj" in before["readings"][0][2]
    assert "energy_mj" not in after["readings"][0][2]
    assert after["readings"][0][2]["power_w"] == 300.0
    assert "energy_mj" in after["readings"][1][2]
    assert "GPU-0 energy_mj" in after["failed"][0]


def test_a_lost_device_costs_only_that_chip(probe: Probe) -> None:
    found = probe(0, 5_000, 6_000, fail=f"*:{LOST}:1:3000")
    assert [reading[1] for reading in found["batches"][0]["readings"]] == [0, 1]
    for batch in found["batches"][1:]:
        assert [reading[1] for reading in batch["readings"]] == [0]
        assert "GPU-1 is lost" in batch["failed"][0]


def test_a_chip_that_is_lost_from_the_start_is_named_and_the_rest_is_read(probe: Probe) -> None:
    found = probe(0, fail=f"*:{LOST}:0")
    assert [chip[0] for chip in found["chips"]] == ["GPU-1"]
    assert "index 0" in found["batches"][0]["failed"][0]
    assert found["batches"][0]["readings"][0][1] == 0


def test_sentinels_of_the_driver_are_missing(
    probe: Probe, tmp_path: Path, record: Callable[..., Path]
) -> None:
    path = tmp_path / "blank.csv.gz"
    with RecordingWriter(path, header(1), CHANNELS) as writer:
        writer.write(Reading(0, 0, {}))
        writer.write(Reading(1_000, 0, {"power_w": 5.0, "sm_clock_mhz": 345}))
    found = probe(0, 1_000, recording=path)
    assert found["batches"][0]["readings"] == []
    assert found["batches"][1]["readings"][0][2] == {"power_w": 5.0, "sm_clock_mhz": 345}


def test_a_missing_library_says_what_to_install(probe: Probe, tmp_path: Path) -> None:
    found = probe(library=None)
    if "chips" in found:
        pytest.skip("this machine has NVIDIA's driver")
    assert found["reason"] == "LIBRARY_NOT_FOUND"
    assert "install the NVIDIA driver" in found["message"]


def test_a_driver_that_is_not_loaded_is_told_from_a_missing_one(probe: Probe) -> None:
    found = probe(fail=f"nvmlInitWithFlags:{DRIVER_NOT_LOADED}")
    assert found["reason"] == "DRIVER_FAILED"


def test_something_else_under_the_librarys_name_is_refused(probe: Probe, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (tmp_path / "empty.c").write_text("int nothing;\n")
    subprocess.run(
        ["gcc", "-shared", "-o", str(folder / "libnvidia-ml.so.1"), str(tmp_path / "empty.c")],
        check=True,
    )
    assert probe(library=folder)["reason"] == "SYMBOL_NOT_FOUND"


def test_once_reads_a_live_driver_for_as_long_as_asked(
    driver: Path, record: Callable[..., Path], tmp_path: Path, root: Path
) -> None:
    flatten(record(chips=2, seconds=10), tmp_path / "flat")
    environment = os.environ | {
        "LD_LIBRARY_PATH": str(driver),
        "FAKE_NVML_DATA": str(tmp_path / "flat"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "stillwatch", "agent", "once", "--seconds", "1", "-o", "json"],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["telemetry"] == "live"
    assert [chip["uuid"] for chip in found["inventory"]["chips"]] == ["GPU-0", "GPU-1"]
    assert found["summary"]["chips"][1]["power_mean"] == 310
    assert found["summary"]["samples_taken"] >= 10
    assert found["summary"]["failed_sources"] == []
    assert done.stderr == ""
