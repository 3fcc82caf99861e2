"""The agent's configuration: a TOML file, parsed once into dataclasses.

ledger = "127.0.0.1:7701"          # gRPC address of the ledger
tls = "tls"                        # folder of ca.pem, cert.pem, key.pem; for any ledger not on this machine
agreement = "agreement.toml"       # relative paths start at this file's folder
origin = "log.example"             # which of the agreement's logs; may be left out if it has one
spool = "spool.sqlite"             # for nodes that do not name their own
patience = "2 s"                   # real time for which a window waits for slow sources
drain = "10 s"                     # real time to finish uploading when told to stop
checkpoint_every = "15 s"          # real time between two looks at the log's checkpoint

[[nodes]]
name = "rack1-node1"
key = "rack1-node1.key"
source = { kind = "nvml" }         # or several [[nodes.source]]
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from attestor.errors import ConfigError
from attestor.settings import Settings
from attestor.sources.registry import Opener, configure
from statements.clock import REHEARSAL_PREFIX
from statements.errors import StatementError
from statements.keys import read_author, read_signing_key
from statements.pins import LedgerPin, Pins, read_pins
from statements.signing import SigningKey
from statements.tls import ClientTls

_SHORTEST_MS, _LONGEST_MS = 1_000, 86_400_000


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node: name, key and its file, spool file, and its sources by kind.

    ``author`` is the digest of its first key, when ``key`` is a later one.
    """

    name: str
    key: SigningKey
    key_path: Path
    spool: Path
    sources: tuple[tuple[str, Opener], ...]
    author: bytes | None = None


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What ``agent run`` needs to know. Durations are seconds of real time."""

    ledger: str
    pins: Pins
    log: LedgerPin
    nodes: tuple[NodeConfig, ...]
    patience_s: float
    drain_s: float
    checkpoint_every_s: float
    tls: ClientTls | None = None


def read_agreement(path: Path) -> Pins:
    """Return the root of trust in an agreement file; raises ConfigError when it cannot be read."""
    try:
        return read_pins(path.read_bytes())
    except OSError as error:
        raise ConfigError("NO_AGREEMENT", f"{path}: {error.strerror}") from error
    except StatementError as error:
        raise ConfigError(error.reason, f"{path}: {error}") from error


def choose_log(pins: Pins, origin: str | None) -> LedgerPin:
    """Return the agreement's log of that origin, or its only one."""
    if origin is None and len(pins.ledgers) != 1:
        listed = ", ".join(ledger.origin for ledger in pins.ledgers)
        raise ConfigError("WHICH_LOG", f"the agreement lists several logs ({listed}): set origin")
    try:
        return pins.ledgers[0] if origin is None else pins.ledger(origin)
    except StatementError as error:
        raise ConfigError(error.reason, str(error)) from error


def _node(settings: Settings, default_spool: Path | None, log: LedgerPin, pins: Pins) -> NodeConfig:
    name = settings.text("name")
    own = settings.path("spool") if settings.has("spool") or default_spool is None else None
    try:
        key_path = settings.path("key")
        key = read_signing_key(key_path)
        author = read_author(key_path, key)
    except StatementError as error:
        raise ConfigError(error.reason, f"{settings.where}: {error}") from error
    sources: list[tuple[str, Opener]] = []
    for table in settings.tables("source"):
        kind, replays, opener = configure(table, pins.window_ms)
        if replays and not log.origin.startswith(REHEARSAL_PREFIX):
            raise ConfigError(
                "NOT_A_REHEARSAL",
                f"{table.where}: {kind} replays telemetry, which only logs whose origin begins "
                f"with {REHEARSAL_PREFIX!r} accept; this one is {log.origin!r}",
            )
        sources.append((kind, opener))
    settings.finish()
    return NodeConfig(name, key, key_path, own or default_spool or Path(), tuple(sources), author)


def _tls(settings: Settings) -> ClientTls | None:
    if not settings.has("tls"):
        return None
    try:
        return ClientTls(settings.path("tls"))
    except StatementError as error:
        raise ConfigError(error.reason, f"{settings.where}: tls: {error}") from error


def read_config(path: Path) -> AgentConfig:
    """Return the configuration in a TOML file; raises ConfigError that names what is wrong."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("NO_CONFIG", f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # what is no text or no TOML, or absurdly deep
        raise ConfigError("NOT_TOML", f"{path}: {error}") from error
    settings = Settings(table, str(path), path.parent)
    pins = read_agreement(settings.path("agreement"))
    if not _SHORTEST_MS <= pins.window_ms <= _LONGEST_MS:
        raise ConfigError(
            "WINDOW_LENGTH",
            f"{path}: the agreement's windows are {pins.window_ms} ms long: from 1 s to 1 d can be attested",
        )
    log = choose_log(pins, settings.text("origin") if settings.has("origin") else None)
    spool = settings.path("spool") if settings.has("spool") else None
    nodes = tuple(_node(node, spool, log, pins) for node in settings.tables("nodes"))
    config = AgentConfig(
        ledger=settings.text("ledger"),
        pins=pins,
        log=log,
        nodes=nodes,
        patience_s=settings.duration_ms("patience", "2 s") / 1000,
        drain_s=settings.duration_ms("drain", "10 s") / 1000,
        tls=_tls(settings),
        checkpoint_every_s=settings.duration_ms("checkpoint_every", "15 s", least=50) / 1000,
    )
    settings.finish()
    seen: dict[bytes, str] = {}
    names: set[str] = set()
    for node in nodes:
        if node.name in names:
            raise ConfigError("NAME_TWICE", f"{path}: two nodes are named {node.name!r}")
        names.add(node.name)
        if node.key.key_id in seen:
            raise ConfigError(
                "KEY_TWICE", f"{path}: {node.name} and {seen[node.key.key_id]} share one key"
            )
        seen[node.key.key_id] = node.name
    return config
