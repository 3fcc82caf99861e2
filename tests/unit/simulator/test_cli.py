"""``stillwatch sim``, as it is typed."""

import json
from pathlib import Path

from click.testing import CliRunner

from attestor.recording import RecordingReader
from simulator.cli import sim
from simulator.strategies.registry import STRATEGIES
from simulator.workloads.registry import WORKLOADS


def test_every_strategy_and_workload_is_listed_with_what_it_rests_on() -> None:
    listed = json.loads(CliRunner().invoke(sim, ["list", "-o", "json"]).stdout)
    assert [one["name"] for one in listed["strategies"]] == list(STRATEGIES)
    assert [one["name"] for one in listed["workloads"]] == list(WORKLOADS)
    assert all(p["source"] for one in listed["workloads"] for p in one["parameters"])
    text = CliRunner().invoke(sim, ["list"]).stdout
    for name in (*STRATEGIES, *WORKLOADS):
        assert f"  {name}: " in text


def test_a_strategy_is_recorded_as_simulated_and_the_same_seed_gives_the_same_bytes(
    tmp_path: Path,
) -> None:
    made = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        words = ["record", "silence", "--out", str(folder), "--nodes", "1", "--minutes", "10"]
        done = CliRunner().invoke(sim, [*words, "-o", "json"])
        assert done.exit_code == 0
        answer = json.loads(done.stdout)
        assert answer["telemetry"] == "simulated"
        assert answer["reports_until_s"] == 10 * 60 // 3 + 120
        made.append(Path(answer["files"][0]).read_bytes())
        with RecordingReader(Path(answer["files"][0])) as reader:
            assert reader.header.telemetry == "simulated"
    assert made[0] == made[1]


def test_an_unknown_strategy_says_which_there_are(tmp_path: Path) -> None:
    done = CliRunner().invoke(sim, ["record", "nobody", "--out", str(tmp_path)])
    assert "honest" in str(done.exception)
