"""What a node's sources offer together: its chips in row order, and how they are sampled. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from attestor.channels import CHIP_CHANNEL_NAMES, NODE_CHANNEL_NAMES
from attestor.sources.interface import ChipDescription, SourceDescription, Telemetry


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a node's sources offer together, as far as they have been opened.

    ``chips`` are in row order; ``telemetry`` is the label that claims least; ``boot_id`` (16 bytes) is of the source
    that reads the energy counters, where one does; ``expected_per_s`` readings of all rows; ``sample_ms`` the longest
    sample period, at least 1.
    """

    chips: tuple[ChipDescription, ...] = ()
    telemetry: Telemetry | None = None
    driver: str | None = None
    boot_id: bytes = bytes(16)
    expected_per_s: float = 0.0
    sample_ms: int = 1_000
    missing_channels: tuple[str, ...] = ()


def equip(descriptions: Sequence[SourceDescription]) -> Equipment:
    """Return what sources offer together. A chip that two sources know by one uuid is one row."""
    if not descriptions:
        return Equipment()
    chips: dict[str, ChipDescription] = {}
    offered: set[str] = set()
    expected = 0.0
    for description in descriptions:
        rows = sum(1 for chip in description.chips if chip.channels)
        rows += 1 if description.node_channels else 0
        expected += rows * 1000 / description.sample_ms
        offered |= description.node_channels
        for chip in description.chips:
            chips.setdefault(chip.uuid, chip)
            offered |= chip.channels
    counting = [d for d in descriptions if any("energy_mj" in c.channels for c in d.chips)]
    return Equipment(
        chips=tuple(chips.values()),
        telemetry=max(description.telemetry for description in descriptions),
        driver=next((d.driver for d in descriptions if d.driver), None),
        boot_id=(counting or descriptions)[0].boot_id,
        expected_per_s=expected,
        sample_ms=max(description.sample_ms for description in descriptions),
        missing_channels=tuple(sorted((CHIP_CHANNEL_NAMES | NODE_CHANNEL_NAMES) - offered)),
    )
