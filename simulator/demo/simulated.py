"""The cast of the simulated story: labs that keep the pause, train on openly, go silent, or forge their counters."""

from pathlib import Path
from typing import Final

from simulator.chip import H100
from simulator.demo.cast import Cast
from simulator.demo.lab import Lab, LabNode, Replay, make_node_keys
from simulator.demo.narration import SIMULATED
from simulator.demo.plot import Plot
from simulator.strategies.interface import Calendar, Conduct
from simulator.strategies.registry import find_strategy
from simulator.world import Node, Party, Site, World, record, wall_energy

NODES: Final = 2
CHIPS: Final = 8
NOTICE_MIN, WINDING_DOWN_MIN, IN_FORCE_MIN, LIFTING_MIN = 4, 3, 12, 2
_TOLD_MIN: Final = 50
"""How much is recorded: longer than the story is told."""
_STRATEGIES: Final = {
    "aurora": "honest",
    "borealis": "open_training",
    "cygnus": "silence",
    "dorado": "forged_counters",
}
_PLACEHOLDER: Final = f"sha256:{'0' * 64}"
"""Stands where the rehearsal's keys go."""
_NO_READER: Final = f"x25519:{'0' * 64}"
"""Stands where the keys of the rehearsal's readers go."""
_METERS: Final = "\n".join(
    f"""
[[meters]] # held by the grid's operator
id = "grid-{party}"
key = "{_PLACEHOLDER}"
party = "{party}"
sites = ["{party}-hall"]
systematic_bound = "1 %"
"""
    for party in _STRATEGIES
)
_ADDITION: Final = f"""
[[parties]]
id = "dorado"
name = "Dorado Systems"
key = "{_PLACEHOLDER}"
jurisdiction = "JP"
declared_h100e = "100000 H100e"
accedes_if = {{ parties = 4 }}
{_METERS}
[[disclosure.classes]]
id = "inspectors"
readers = [{{ id = "auditor", key = "{_NO_READER}" }}, {{ id = "meridian", key = "{_NO_READER}" }}]

[[obligations]]
id = "metered-cap"
stages = ["in_force"]
measure = "training_flop"
scope = "party"
limit = "2.2e19 FLOP" # more than idle chips and their hosts leave open, less than chips could run in the time
trust = "meters"
"""
_TERMS: Final = {
    "disclosure.summaries": "inspectors",
    "windows.late_grace": "7 min",
    "stages.notice": f"{NOTICE_MIN} min",
    "stages.winding_down": f"{WINDING_DOWN_MIN} min",
    "stages.min_dwell": f"{IN_FORCE_MIN} min",
    "stages.lifting": f"{LIFTING_MIN} min",
    "obligations.training-cap.limit": "1e18 FLOP",
    "obligations.coverage-floor.cure": "60 min",
}


def simulated_plot() -> Plot:
    """Return the story of which all telemetry is simulated; the same seed makes the same recordings each time."""
    declared = {
        f"parties.{party}.declared_h100e": f"{NODES * CHIPS} H100e" for party in _STRATEGIES
    }
    return Plot(
        title="Four labs would pause together. One keeps it, one trains on, one goes silent, one forges its counters.",
        telemetry="All telemetry is simulated: fitted by hand to published figures, see `stillwatch sim list`.",
        addition=_ADDITION,
        terms={**_TERMS, **declared},
        rate=60.0,
        minutes=43.0,
        audited_from_s=(NOTICE_MIN + WINDING_DOWN_MIN) * 60,
        audited_ms=IN_FORCE_MIN * 60_000,
        labs=_labs,
    )


def _labs(folder: Path, cast: Cast) -> tuple[Lab, ...]:
    parties = tuple(
        Party(
            party,
            strategy,
            (
                Site(
                    f"{party}-hall",
                    tuple(Node(f"{party}-{n}", CHIPS, H100) for n in range(1, NODES + 1)),
                ),
            ),
        )
        for party, strategy in _STRATEGIES.items()
    )
    world = World("demo", parties)
    return tuple(_lab(folder / party.name, cast, world, party) for party in parties)


def _lab(folder: Path, cast: Cast, world: World, party: Party) -> Lab:
    strategy = find_strategy(party.strategy)
    calendar = Calendar(
        wind_down_s=NOTICE_MIN * 60,
        in_force_s=(NOTICE_MIN + WINDING_DOWN_MIN) * 60,
        end_s=_TOLD_MIN * 60,
    )
    conduct = strategy.conduct(calendar)
    folder.mkdir(parents=True)
    metered = [_record(folder, world, party, node, conduct) for node in party.nodes]
    lab = Lab(
        party=party.name,
        folder=folder,
        key=cast.key(party.name),
        site=party.sites[0].name,
        nodes=tuple(
            LabNode(
                node.name,
                node.chips,
                node.spec.model,
                Replay(
                    {"kind": "replay", "path": f"{node.name}.csv.gz"},
                    SIMULATED,
                    f"simulated: the strategy {strategy.name}",
                ),
            )
            for node in party.nodes
        ),
        does=strategy.does,
        reports_until_s=conduct.reports_until_s,
        metered_j=tuple(map(sum, zip(*metered, strict=True))),
    )
    make_node_keys(lab)
    return lab


def _record(
    folder: Path, world: World, party: Party, node: Node, conduct: Conduct
) -> tuple[float, ...]:
    """Record what a node's driver tells, and return what a meter at its wall has truly counted, J by the second."""
    path = folder / f"{node.name}.csv.gz"
    told = record(path, world, party, node, conduct.told or conduct.shifts)
    return told if conduct.told is None else wall_energy(world, party, node, conduct.shifts)
