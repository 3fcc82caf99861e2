"""A simulated world: parties with sites, sites with nodes, nodes with chips.

Everything random in it comes from one seed, by name: the same seed gives the same bytes, whatever is made first.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from attestor.channels import CHIP_CHANNELS, NODE, NODE_CHANNELS, Reading
from attestor.recording import RecordedChip, RecordingHeader, RecordingWriter
from simulator.chip import Activity, Chip, ChipSpec
from simulator.errors import WorldError
from simulator.workloads.interface import Draw
from simulator.workloads.registry import find_workload

HOST_W: Final = 2100.0
"""Power of an 8 x H100 node beside its chips: 2.0 to 2.2 kW between wall and boards in published traces."""
PERIOD_MS: Final = 1000
_DRIVER: Final = "simulated"


@dataclass(frozen=True, slots=True)
class Node:
    """One host: its name, its chips' model and how many there are."""

    name: str
    chips: int
    spec: ChipSpec


@dataclass(frozen=True, slots=True)
class Site:
    """A place with nodes."""

    name: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Party:
    """A lab: its id in the agreement, its sites, and the name of the strategy that it follows."""

    name: str
    strategy: str
    sites: tuple[Site, ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All of its nodes, in order."""
        return tuple(node for site in self.sites for node in site.nodes)


@dataclass(frozen=True, slots=True)
class World:
    """The parties, and the seed of everything random."""

    seed: str
    parties: tuple[Party, ...]

    def __post_init__(self) -> None:
        """Refuse a world in which two things have one name."""
        for kind, names in (
            ("parties", [party.name for party in self.parties]),
            ("nodes", [node.name for party in self.parties for node in party.nodes]),
        ):
            if len(set(names)) != len(names):
                raise WorldError("NAME_TWICE", f"two {kind} of the world share a name: {names}")

    def randomness(self, *path: str) -> random.Random:
        """Return the source of randomness named by ``path``; the same path gives the same source."""
        return random.Random("/".join((self.seed, *path)))  # noqa: S311 - a simulation, to be repeated


@dataclass(frozen=True, slots=True)
class Shift:
    """What chips do from one second of a recording to another: [start_s, end_s), and the workload's name."""

    start_s: int
    end_s: int
    workload: str


def verify_shifts(shifts: Sequence[Shift]) -> None:
    """Raise WorldError unless ``shifts`` follow each other without gap or overlap from second 0."""
    if not shifts or shifts[0].start_s != 0:
        raise WorldError("BAD_SHIFTS", "a schedule starts at second 0")
    for before, after in pairwise(shifts):
        if before.end_s != after.start_s:
            raise WorldError(
                "BAD_SHIFTS", f"a schedule has no gaps: {before.end_s} s is not {after.start_s} s"
            )
    for shift in shifts:
        if shift.end_s <= shift.start_s:
            raise WorldError("BAD_SHIFTS", f"a shift ends after it starts, not {shift}")


def record(
    path: Path, world: World, party: Party, node: Node, shifts: Sequence[Shift]
) -> tuple[float, ...]:
    """Write the recording of one node that works through ``shifts`` to ``path``: 1 Hz, labelled as simulated.

    The reading at second t is what the counters show after that second; at 0 they have not moved yet. Chips of one
    party that do the same work in the same shift do one job. Returned is what :func:`wall_energy` would.
    """
    verify_shifts(shifts)
    chips = _chips(world, node)
    header = RecordingHeader(
        telemetry="simulated",
        origin="stillwatch simulator",
        licence="Apache-2.0",
        chips=tuple(RecordedChip(chip.uuid, node.spec.model) for chip in chips),
        driver=_DRIVER,
        period_ms=PERIOD_MS,
        labels={"party": party.name, "node": node.name, "seed": world.seed},
    )
    channels = [channel.name for channel in CHIP_CHANNELS]
    channels += [c.name for c in NODE_CHANNELS if c.name in {"wall_w", "wall_resolution_w"}]
    counted = [0.0]
    with RecordingWriter(path, header, channels) as writer:
        for second, (readings, watts) in enumerate(_seconds(world, party, node, shifts, chips)):
            time_ms = second * PERIOD_MS
            for row, values in enumerate(readings):
                writer.write(Reading(time_ms, row, values))
            writer.write(Reading(time_ms, NODE, {"wall_w": round(watts), "wall_resolution_w": 1.0}))
            counted.append(counted[-1] + watts)
    return tuple(counted)


def wall_energy(
    world: World, party: Party, node: Node, shifts: Sequence[Shift]
) -> tuple[float, ...]:
    """Return what a meter at one node's wall has counted at each second, J, host included: 0 at second 0."""
    verify_shifts(shifts)
    chips = _chips(world, node)
    counted = [0.0]
    for _, watts in _seconds(world, party, node, shifts, chips):
        counted.append(counted[-1] + watts)
    return tuple(counted)


def _chips(world: World, node: Node) -> list[Chip]:
    return [
        Chip(node.spec, f"GPU-sim-{node.name}-{row}", world.randomness(node.name, str(row)))
        for row in range(node.chips)
    ]


def _seconds(
    world: World, party: Party, node: Node, shifts: Sequence[Shift], chips: Sequence[Chip]
) -> Iterator[tuple[list[Mapping[str, float]], float]]:
    """Yield, second by second, what each chip's channels read, and the watts at the node's wall."""
    for activities in _work(world, party, node, shifts):
        readings = [chip.second(one) for chip, one in zip(chips, activities, strict=True)]
        yield readings, HOST_W + sum(values["power_w"] for values in readings)


def _work(
    world: World, party: Party, node: Node, shifts: Sequence[Shift]
) -> Iterator[tuple[Activity, ...]]:
    """Yield what each chip of the node is asked to do, second by second."""
    for place, shift in enumerate(shifts):
        workload = find_workload(shift.workload)
        work = [
            workload.activity(
                node.spec,
                shift.end_s - shift.start_s,
                Draw(
                    job=world.randomness(party.name, f"shift {place}", workload.name),
                    chip=world.randomness(node.name, str(row), f"shift {place}", workload.name),
                ),
            )
            for row in range(node.chips)
        ]
        yield from zip(*work, strict=True)
