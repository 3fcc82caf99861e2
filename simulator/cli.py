"""``stillwatch sim``: look at workloads and strategies, and record what a strategy's nodes would read."""

import json
from pathlib import Path

import click

from simulator.chip import H100
from simulator.demo.cli import demo
from simulator.strategies.interface import Calendar
from simulator.strategies.registry import STRATEGIES, find_strategy
from simulator.workloads.registry import WORKLOADS
from simulator.world import Node, Party, Site, World, record
from statements.options import output_option

__all__ = ["demo", "sim"]


@click.group()
def sim() -> None:
    """Look at workloads and strategies. All that they make is labelled as simulated.

    \b
    Example:
      stillwatch sim list
      stillwatch sim record open_training --out /tmp/recordings
    """


@sim.command("list")
@output_option
def list_models(output: str) -> None:
    """List the strategies and the workload models, with what they rest on.

    \b
    Example:
      stillwatch sim list -o json
    """
    listed = {
        "strategies": [
            {"name": s.name, "does": s.does, "costs": s.costs, "seen_by": s.seen_by}
            for s in STRATEGIES.values()
        ],
        "workloads": [
            {
                "name": w.name,
                "does": w.does,
                "parameters": [
                    {"name": p.name, "value": p.value, "source": p.source} for p in w.parameters
                ],
            }
            for w in WORKLOADS.values()
        ],
    }
    if output == "json":
        click.echo(json.dumps(listed, indent=2))
        return
    click.echo("Strategies: what a party does under an agreement")
    for strategy in STRATEGIES.values():
        click.echo(f"\n  {strategy.name}: {strategy.does}")
        click.echo(f"    costs:   {strategy.costs}")
        click.echo(f"    seen by: {strategy.seen_by}")
    click.echo("\nWorkloads: what its chips do (simulated)")
    for workload in WORKLOADS.values():
        click.echo(f"\n  {workload.name}: {workload.does}")
        for parameter in workload.parameters:
            click.echo(f"    {parameter.name}: {parameter.value}")
            click.echo(f"      from: {parameter.source}")


@sim.command("record")
@click.argument("strategy")
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the recordings; made if it is not there.",
)
@click.option("--nodes", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--minutes", type=click.IntRange(10, 240), default=30, show_default=True)
@click.option("--seed", default="0", show_default=True, help="The same seed gives the same bytes.")
@output_option
def record_strategy(
    *, strategy: str, folder: Path, nodes: int, minutes: int, seed: str, output: str
) -> None:
    """Write recordings of nodes of 8 H100 that follow STRATEGY; the pause binds after a third of the time.

    The files can be replayed by an ordinary agent: `source = { kind = "replay", … }`.

    \b
    Example:
      stillwatch sim record honest --out /tmp/recordings --minutes 20
    """
    chosen = find_strategy(strategy)
    party = Party(
        "lab",
        chosen.name,
        (Site("site", tuple(Node(f"node-{n}", 8, H100) for n in range(1, nodes + 1))),),
    )
    world = World(seed, (party,))
    end_s = minutes * 60
    conduct = chosen.conduct(Calendar(wind_down_s=end_s // 4, in_force_s=end_s // 3, end_s=end_s))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for node in party.nodes:
        path = folder / f"{node.name}.csv.gz"
        record(path, world, party, node, conduct.told or conduct.shifts)
        paths.append(str(path))
    if output == "json":
        made: dict[str, object] = {"telemetry": "simulated", "files": paths}
        made |= {"reports_until_s": conduct.reports_until_s, "forged": conduct.told is not None}
        click.echo(json.dumps(made, indent=2))
        return
    for path_text in paths:
        click.echo(f"{path_text}  (simulated)")
    if conduct.told is not None:
        click.echo(
            "This strategy's drivers lie: the files say what they tell, not what runs.", err=True
        )
    if conduct.reports_until_s is not None:
        click.echo(f"This strategy stops its agents after {conduct.reports_until_s} s.", err=True)
