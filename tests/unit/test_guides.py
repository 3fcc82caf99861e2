"""The guides say what the programs do: configuration keys, what leaves a node, what NVML gives."""

import re
from pathlib import Path

import pytest

from attestor.channels import CHIP_CHANNEL_NAMES, NODE_CHANNEL_NAMES
from attestor.config import read_config
from attestor.errors import ConfigError
from attestor.nvml import fields, gpm, reasons
from attestor.nvml.calls import FAST, SLOW
from attestor.settings import Settings
from attestor.sources.registry import configure, kinds
from statements.features import FEATURES
from statements.keys import write_signing_key
from statements.signing import SigningKey
from verifier.cli import exit_status

GUIDES = Path(__file__).parents[2] / "docs/guides"
OPERATOR = (GUIDES / "operator.md").read_text()
AUDITOR = (GUIDES / "auditor.md").read_text()


def known_keys(error: ConfigError) -> set[str]:
    assert error.reason == "UNKNOWN_KEY"
    return set(str(error).partition("known are ")[2].split(", "))


def documented(heading: str) -> set[str]:
    table = re.search(rf"{heading}.*?\n\n(\| key .*?)\n\n", OPERATOR, re.DOTALL)
    assert table is not None, heading
    return {key.strip("[]") for key in re.findall(r"^\| `([^`]+)` \|", table[1], re.MULTILINE)}


@pytest.fixture
def config(tmp_path: Path, root: Path) -> Path:
    """The configuration that the guide shows, with the files that it names."""
    shown = re.search(r"```toml\n(.*?)```", OPERATOR, re.DOTALL)
    assert shown is not None
    agreement = (root / "policies/agreements/frontier-pause.toml").read_bytes()
    (tmp_path / "agreement.toml").write_bytes(agreement)
    write_signing_key(tmp_path / "rack1-node1.key", SigningKey.generate())
    path = tmp_path / "agent.toml"
    path.write_text(shown[1])
    return path


def test_the_configuration_shown_is_one(config: Path) -> None:
    found = read_config(config)
    assert found.ledger == "127.0.0.1:7701"
    assert [(node.name, [kind for kind, _ in node.sources]) for node in found.nodes] == [
        ("rack1-node1", ["nvml"])
    ]


def test_every_key_of_the_configuration_is_documented_and_no_other(config: Path) -> None:
    text = config.read_text()
    for inserted, heading in (
        (f"surprise = 1\n{text}", "Configuration"),
        (f"{text}surprise = 1\n", "Of each node"),
    ):
        config.write_text(inserted)
        with pytest.raises(ConfigError) as refused:
            read_config(config)
        assert known_keys(refused.value) == documented(heading)


@pytest.mark.parametrize("kind", kinds())
def test_every_key_of_a_source_is_documented_and_no_other(kind: str) -> None:
    rows = re.findall(r"^\|(?: `(\w+)`)? \| `(\w+)` \|", OPERATOR, re.MULTILINE)
    named: dict[str, set[str]] = {}
    current = ""
    for start, key in rows:
        current = start or current
        named.setdefault(current, set()).add(key)
    table = {
        "kind": kind,
        "path": "x.csv.gz",
        "at": "2026-01-01T00:00:00Z",
        "chips": 8,
        "model": "H100",
        "surprise": 1,
    }
    if kind == "nvml":
        table = {"kind": kind, "surprise": 1}
    if kind == "replay":
        del table["chips"], table["model"]
    with pytest.raises(ConfigError) as refused:
        configure(Settings(table, "here", Path()), 60_000)
    assert known_keys(refused.value) - {"kind"} == named[kind]


def test_what_nvml_reads_is_what_the_guide_lists() -> None:
    words: dict[object, str] = {
        "power_w": "power",
        "energy_mj": "energy counter",
        "utilisation": "utilisation",
        "sm_clock_mhz": "SM clock",
        "temperature_c": "temperature",
        "memory_used_bytes": "memory in use",
        "processes": "number of compute processes",
        reasons.CHANNELS: "throttle reasons (power, heat, idle)",
        fields.CHANNELS: "bytes over PCIe and NVLink",
    }
    for channels, together, often in (
        (FAST, reasons.CHANNELS, "each `period`"),
        (SLOW, fields.CHANNELS, "once a second"),
    ):
        line = f"| {', '.join(words[name] for name in (*channels, together))} | {often} |"
        assert line in OPERATOR
    activity = OPERATOR.partition("| activity of ")[2].partition("\n")[0]
    pipes = [name.removesuffix("_active") for name in gpm.CHANNELS]
    assert pipes.pop(1) == "tensor", "any of them"
    assert [pipe for pipe in pipes if pipe.upper() not in activity] == []
    assert f"each {gpm.EVERY_MS} ms" in activity


def test_what_nvml_does_not_read_is_what_the_guide_says() -> None:
    unread = CHIP_CHANNEL_NAMES | NODE_CHANNEL_NAMES
    for channels in (FAST, SLOW, reasons.CHANNELS, fields.CHANNELS, gpm.CHANNELS):
        unread -= set(channels)
    said = {
        "wall_w": "wall power",
        "wall_resolution_w": "wall power",
        "cpu_energy_mj": "CPU energy",
        **dict.fromkeys(("ib_tx_bytes", "ib_rx_bytes"), "network"),
        **dict.fromkeys(("eth_tx_bytes", "eth_rx_bytes"), "network"),
    }
    assert set(said) == unread
    flat = " ".join(OPERATOR.split())
    for word in said.values():
        assert word in flat.partition("**Not read by this version**")[2].partition(".")[0]


def test_the_number_of_features_is_that_of_the_feature_set() -> None:
    assert f"the {len(FEATURES)} features" in OPERATOR


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        (["compliant", "compliant"], 0),
        (["compliant", "violation", "unresolved"], 1),
        (["compliant", "anomaly"], 3),
        (["not_assessed"], 3),
        (["unresolved", "compliant"], 3),
    ],
)
def test_the_exit_statuses_of_the_auditors_guide_are_those_of_the_command(
    verdicts: list[str], status: int
) -> None:
    assert exit_status(verdicts) == status
    assert re.search(rf"^\| {status} \| ", AUDITOR, re.MULTILINE)
