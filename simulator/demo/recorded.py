"""The cast of the recorded story: real logs of training and of inference, replayed once, and a lab that idles.

Idle logs of nodes are not published: the idle lab is simulated, and labelled so.
"""

from functools import partial
from pathlib import Path
from typing import Final

from simulator.chip import H100
from simulator.demo.cast import Cast
from simulator.demo.lab import Lab, LabNode, Replay, make_node_keys
from simulator.demo.mlperf_run import (
    CHIPS,
    INFERENCE,
    INFERENCE_LEAD_S,
    TRAINING,
    TRAINING_NODES,
    TrainingRun,
    find_log,
)
from simulator.demo.narration import RECORDED, SIMULATED
from simulator.demo.plot import Plot
from simulator.world import Node, Party, Shift, Site, World, record

NOTICE_MIN, WINDING_DOWN_MIN, SETTLING_MIN, LIFTING_MIN = 8, 2, 2, 2
TRAINER, SERVER, IDLER = "aurora", "borealis", "cygnus"
_H100: Final = "NVIDIA H100 80GB HBM3"
_H200: Final = "NVIDIA H200"
_IDLE_NODES: Final = 2
_ORIGINS: Final = {
    TRAINER: "recorded: GPT-3 175B, MLCommons training_results_v4.0",
    SERVER: "recorded: Llama-2-70B Offline, MLCommons inference_results_v4.1",
    IDLER: "simulated: idle chips",
}
_LATE_GRACE_MIN: Final = 30
"""15 s on the wall at this story's rate: a disk that stalls for seconds makes no honest window late."""
_TERMS: Final = {
    "windows.late_grace": f"{_LATE_GRACE_MIN} min",
    "stages.notice": f"{NOTICE_MIN} min",
    "stages.winding_down": f"{WINDING_DOWN_MIN} min",
    "stages.min_dwell": "60 min",
    "stages.lifting": f"{LIFTING_MIN} min",
    "obligations.training-cap.limit": "1e19 FLOP",
    "obligations.coverage-floor.cure": "6 h",
    f"parties.{TRAINER}.declared_h100e": f"{TRAINING_NODES * CHIPS} H100e",
    f"parties.{SERVER}.declared_h100e": f"{CHIPS} H100e",
    f"parties.{IDLER}.declared_h100e": f"{_IDLE_NODES * CHIPS} H100e",
    f"parties.{SERVER}.accedes_if": f'{{ all_of = [{{ party = "{TRAINER}" }}, {{ party = "{IDLER}" }}] }}',
}


def recorded_plot(logs: Path, run: TrainingRun) -> Plot:
    """Return the story of the logs in ``logs``; the training run ``run`` spans the audited period exactly."""
    opens_s = (NOTICE_MIN + WINDING_DOWN_MIN + SETTLING_MIN) * 60
    length_min = run.duration_ms / 60_000
    return Plot(
        title="Three labs would pause together. One trains GPT-3 through the pause, one serves a model, one idles.",
        telemetry=(
            "Training and inference are recorded: wall power of real nodes, published by MLCommons, replayed once. "
            "The idle lab is simulated."
        ),
        addition="",
        terms=_TERMS,
        rate=120.0,
        minutes=12.0 + opens_s / 60 + length_min + _LATE_GRACE_MIN,
        audited_from_s=opens_s,
        audited_ms=run.duration_ms,
        labs=partial(_labs, logs, opens_s, opens_s + round(run.duration_ms / 1000)),
    )


def _labs(logs: Path, opens_s: int, ends_s: int, folder: Path, cast: Cast) -> tuple[Lab, ...]:
    trained = find_log(logs, TRAINING)
    training = [
        LabNode(
            f"{TRAINER}-{number}",
            CHIPS,
            _H100,
            _log(TRAINER, trained, opens_s, model=_H100, sensor=f"node_{number}"),
        )
        for number in range(1, TRAINING_NODES + 1)
    ]
    serving = LabNode(
        f"{SERVER}-1",
        CHIPS,
        _H200,
        _log(SERVER, find_log(logs, INFERENCE), opens_s + INFERENCE_LEAD_S, model=_H200),
    )
    idle = [
        LabNode(
            f"{IDLER}-{number}",
            CHIPS,
            H100.model,
            Replay(
                {"kind": "replay", "path": f"{IDLER}-{number}.csv.gz"}, SIMULATED, _ORIGINS[IDLER]
            ),
        )
        for number in range(1, _IDLE_NODES + 1)
    ]
    does = {
        TRAINER: "trains GPT-3 175B on 64 nodes of 8 H100 through the pause",
        SERVER: "serves Llama-2-70B on one node of 8 H200",
        IDLER: f"leaves {_IDLE_NODES} nodes of 8 H100 idle",
    }
    cast_nodes = {TRAINER: tuple(training), SERVER: (serving,), IDLER: tuple(idle)}
    labs = tuple(
        Lab(party, folder / party, cast.key(party), f"{party}-hall", nodes, does[party])
        for party, nodes in cast_nodes.items()
    )
    for lab in labs:
        make_node_keys(lab)
    _record_idling(labs[-1], ends_s + 30 * 60)
    return labs


def _log(party: str, path: Path, after_s: int, **source: str) -> Replay:
    table: dict[str, str | int] = {"kind": "mlperf", "path": str(path), "chips": CHIPS}
    return Replay(table | source, RECORDED, _ORIGINS[party], after_s)


def _record_idling(lab: Lab, seconds: int) -> None:
    nodes = tuple(Node(node.name, node.chips, H100) for node in lab.nodes)
    party = Party(lab.party, "idle", (Site(lab.site, nodes),))
    world = World("demo", (party,))
    for node in nodes:
        path = lab.folder / f"{node.name}.csv.gz"
        record(path, world, party, node, [Shift(0, seconds, "idle")])
