"""One lab of the demo: its nodes' keys, their enrolment by the lab, and its agent's configuration."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from attestor.identity import (
    enrolment,
    party_author,
    request_enrolment,
    token_digest,
    verify_request,
)
from simulator.demo.narration import rfc3339
from statements.keys import read_signing_key, write_signing_key
from statements.pins import Pins
from statements.signing import SigningKey


@dataclass(frozen=True, slots=True)
class Replay:
    """Where a node's telemetry comes from: the agent's source table, and how it is labelled.

    ``telemetry`` is "recorded" or "simulated"; ``origin`` says from where, for people. Its start falls ``after_s``
    seconds after the instant from which the lab's agent replays.
    """

    source: Mapping[str, str | int]
    telemetry: str
    origin: str
    after_s: int = 0


@dataclass(frozen=True, slots=True)
class LabNode:
    """A node of a lab: name, chips, their model, and what it replays."""

    name: str
    chips: int
    chip_model: str
    replay: Replay


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab with its folder. ``party`` is its id in the agreement, ``key`` its party key, ``does`` its conduct.

    ``reports_until_s``: so long after its replay began its agent is stopped; None: never. ``metered_j`` is what a meter
    that others hold has counted of its site at each second since, J; empty where there is none.
    """

    party: str
    folder: Path
    key: Path
    site: str
    nodes: tuple[LabNode, ...]
    does: str
    reports_until_s: int | None = None
    metered_j: tuple[float, ...] = ()

    @property
    def config(self) -> Path:
        """Its agent's configuration."""
        return self.folder / "agent.toml"

    @property
    def chips(self) -> int:
        """All of its chips."""
        return sum(node.chips for node in self.nodes)

    @property
    def telemetry(self) -> str:
        """How its telemetry is labelled; all nodes of a lab alike."""
        return self.nodes[0].replay.telemetry


Say = Callable[[Path, Message], object]
"""Says a message with the key in a file, and has it logged."""


def make_node_keys(lab: Lab) -> None:
    """Draw a key for every node; each is a file only its owner can read."""
    lab.folder.mkdir(parents=True, exist_ok=True)
    for node in lab.nodes:
        write_signing_key(_key_path(lab, node), SigningKey.generate())


def enrol(lab: Lab, pins: Pins, say: Say, from_ms: int) -> None:
    """Have every node ask, and the lab sign: the same requests and checks as ``agent enrol``.

    The nodes are accounted for from ``from_ms`` (Unix milliseconds) on.
    """
    party = party_author(pins, lab.party)
    for node in lab.nodes:
        token = secrets.token_hex(16)
        request = request_enrolment(
            read_signing_key(_key_path(lab, node)),
            token=token,
            name=node.name,
            agreement=pins.digest,
            party=party,
            chips=node.chips,
            chip_model=node.chip_model,
        )
        verify_request(request, agreement=pins.digest, party=party, tokens={token_digest(token)})
        say(lab.key, enrolment(request, site=lab.site, accounted_from_ms=from_ms))


def write_config(lab: Lab, *, ledger: str, agreement: Path, at_ms: int) -> None:
    """Write the agent's configuration; its sources are replayed from ``at_ms`` on."""
    lines = [
        f"ledger = {json.dumps(ledger)}",
        f"agreement = {json.dumps(str(agreement))}",
        'spool = "spool.sqlite"',
        'checkpoint_every = "1 s"',
    ]
    for node in lab.nodes:
        begins = rfc3339(at_ms + node.replay.after_s * 1000)
        source = {**node.replay.source, "at": begins}
        inner = ", ".join(f"{key} = {json.dumps(value)}" for key, value in source.items())
        lines += [
            "",
            "[[nodes]]",
            f"name = {json.dumps(node.name)}",
            f"key = {json.dumps(_key_path(lab, node).name)}",
            f"source = {{ {inner} }}",
        ]
    lab.config.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _key_path(lab: Lab, node: LabNode) -> Path:
    return lab.folder / f"{node.name}.key"
