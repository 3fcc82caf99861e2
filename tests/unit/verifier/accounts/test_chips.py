"""The chip table: figures with sources, and nothing gained by an unknown model."""

import hashlib
from pathlib import Path

import pytest

from verifier.accounts.chips import UNKNOWN, ChipTable, read_chip_table
from verifier.accounts.errors import ChipTableError


@pytest.mark.parametrize(
    ("model", "chip"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA GH200 480GB", "h100"),
        ("NVIDIA H200", "h200"),
        ("nvidia a100-sxm4-80gb", "a100"),
        ("NVIDIA A100 80GB PCIe", "a100"),
        ("NVIDIA A100X", "a100"),
        ("NVIDIA RTX A1000", UNKNOWN),
        ("NVIDIA B200", "b200"),
        ("NVIDIA GB200", "b200"),
        ("NVIDIA H20", UNKNOWN),
        ("", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_a_product_name_finds_its_model(table: ChipTable, model: str | None, chip: str) -> None:
    assert table.lookup(model).id == chip


def test_h100_peaks_above_its_datasheet(table: ChipTable) -> None:
    chip = table.lookup("NVIDIA H100 80GB HBM3")
    assert chip.peak_flop_per_s == 2 * 540_672 * 1.98e9
    assert 2.14e15 < chip.peak_flop_per_s < 2.142e15


def test_an_unknown_model_is_at_least_as_capable_as_any(table: ChipTable) -> None:
    unknown = table.lookup("Somebody's new chip")
    for chip in table.chips:
        assert unknown.peak_flop_per_s >= chip.peak_flop_per_s
        assert unknown.e_min_j_per_flop <= chip.e_min_j_per_flop
    assert unknown.proven_k16_flop_per_clock == 0


def test_the_table_is_named_by_the_digest_of_its_bytes(root: Path, table: ChipTable) -> None:
    data = (root / "policies/reference/chips.toml").read_bytes()
    assert table.digest == hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('format = "stillwatch.chips/1"', 'format = "other"', "BAD_FORMAT"),
        ("f_max_hz = 1.41e9", "f_max_hz = -1", "BAD_FIGURE"),
        ("f_max_hz = 1.41e9", "f_max_hz = nan", "BAD_FIGURE"),
        ("f_max_hz = 1.41e9", "", "BAD_FIGURE"),
        ("e_min_j_per_flop = 0.35e-12", "e_min_j_per_flop = 0", "BAD_FIGURE"),
        ('h100e = "312 / 990"', "", "NO_SOURCE"),
        ('id = "a100"', 'id = "unknown"', "BAD_ENTRY"),
        ('id = "a100"', 'id = "h100"', "DUPLICATE"),
        ('id = "a100"', 'id = "a100"\nturbo = 1', "UNKNOWN_KEY"),
        ('id = "a100"', 'id = "a100', "BAD_TOML"),
    ],
)
def test_a_table_that_lacks_a_figure_or_its_source_is_refused(
    root: Path, old: str, new: str, reason: str
) -> None:
    text = (root / "policies/reference/chips.toml").read_text()
    assert old in text
    with pytest.raises(ChipTableError) as caught:
        read_chip_table(text.replace(old, new, 1).encode())
    assert caught.value.reason == reason
