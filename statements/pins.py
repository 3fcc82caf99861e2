"""The root of trust: whose keys an agreement pins.

Everything else about an agreement is the verifier's; a ledger and an agent read only this much of its TOML.
"""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from statements.disclosure import Disclosures, read_disclosures
from statements.errors import PinsError
from tlog.errors import PolicyError
from tlog.policy import Policy, parse_policy

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_DURATION = re.compile(r"([0-9]{1,9}) ?(ms|s|min|h|d)")
_UNITS_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


class Role(Enum):
    """In what capacity a pinned key speaks; the value is its table in the TOML."""

    PARTY = "parties"
    EVALUATOR = "evaluators"
    ADJUDICATOR = "adjudicators"
    VERIFIER = "verifiers"
    METER = "meters"
    LEDGER = "ledgers"


@dataclass(frozen=True, slots=True)
class Pin:
    """A pinned key: its digest (SHA-256 of SPKI DER), whose it is, in what role, and the digest of its recovery key."""

    role: Role
    id: str
    key_id: bytes
    recovery: bytes | None = None


@dataclass(frozen=True, slots=True)
class PanelPin:
    """Who rules on lost keys: for each pinned author the adjudicators, authors all, of whom ``quorum`` must agree."""

    quorum: int
    able: Mapping[bytes, frozenset[bytes]]


@dataclass(frozen=True, slots=True)
class LedgerPin:
    """A ledger: its log's origin, the verifier key of its notes, and the digest of its statement key."""

    origin: str
    vkey: str
    key_id: bytes


@dataclass(frozen=True, slots=True)
class Pins:
    """The root of trust that an agreement's digest names.

    ``by_key`` are the pins by the digests of their keys, ``by_recovery`` by those of their recovery keys, where they
    have one.
    """

    digest: bytes
    agreement_id: str
    by_key: Mapping[bytes, Pin]
    ledgers: tuple[LedgerPin, ...]
    witness_policy: str
    window_ms: int
    late_grace_ms: int
    tick_ms: int
    disclosures: Disclosures = field(default_factory=Disclosures)
    by_recovery: Mapping[bytes, Pin] = field(default_factory=dict)
    panel: PanelPin | None = None

    @property
    def policy(self) -> Policy:
        """The witness policy, read."""
        return parse_policy(self.witness_policy)

    def ledger(self, origin: str) -> LedgerPin:
        """Return the ledger of that origin; raises :class:`PinsError` when the agreement lists none."""
        for ledger in self.ledgers:
            if ledger.origin == origin:
                return ledger
        listed = ", ".join(ledger.origin for ledger in self.ledgers)
        raise PinsError("UNKNOWN_LEDGER", f"the agreement lists no log {origin!r}, only {listed}")


def agreement_digest(text: bytes) -> bytes:
    """Return the SHA-256 that names an agreement; 32 bytes."""
    return hashlib.sha256(text).digest()


def read_pins(text: bytes) -> Pins:
    """Return the root of trust in an agreement's bytes.

    Raises :class:`PinsError` when the bytes are not TOML, a table that pins keys is malformed, or a key is pinned
    twice.
    """
    try:
        tree: dict[str, object] = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # what is no text or no TOML, or absurdly deep
        raise PinsError("NOT_TOML", f"the agreement is not TOML: {error}") from None
    pins: dict[bytes, Pin] = {}
    recoveries: dict[bytes, Pin] = {}
    for role in Role:
        for row in _rows(tree, role.value):
            pin = _pin(row, role)
            for key_id, table in ((pin.key_id, pins), (pin.recovery, recoveries)):
                if key_id is None:
                    continue
                other = pins.get(key_id) or recoveries.get(key_id)
                if other is not None:
                    raise PinsError(
                        "KEY_PINNED_TWICE",
                        f"{other.role.value} {other.id!r} and {role.value} {pin.id!r} share one key",
                    )
                table[key_id] = pin
    ledgers = tuple(
        LedgerPin(
            _text(row, "origin", "ledgers"),
            _text(row, "vkey", "ledgers"),
            _key(row, "key", Role.LEDGER),
        )
        for row in _rows(tree, "ledgers")
    )
    if not ledgers:
        raise PinsError("NO_LEDGER", "the agreement lists no ledger: add a [[ledgers]] table")
    witness_policy = _text(_table(tree, "witnesses"), "policy", "witnesses")
    try:
        parse_policy(witness_policy)
    except PolicyError as error:
        raise PinsError(error.reason, f"witnesses.policy: {error}") from None
    windows = _table(tree, "windows")
    return Pins(
        digest=agreement_digest(text),
        agreement_id=_text(_table(tree, "agreement"), "id", "agreement"),
        by_key=pins,
        ledgers=ledgers,
        witness_policy=witness_policy,
        window_ms=_duration(windows, "length"),
        late_grace_ms=_duration(windows, "late_grace"),
        tick_ms=_duration(windows, "tick"),
        disclosures=read_disclosures(tree),
        by_recovery=recoveries,
        panel=_panel(tree, pins),
    )


def _pin(row: Mapping[str, object], role: Role) -> Pin:
    name = _text(row, "origin" if role is Role.LEDGER else "id", role.value)
    key_id = _key(row, "key", role)
    if "recovery" not in row:
        return Pin(role, name, key_id)
    if role is Role.LEDGER:
        raise PinsError(
            "BAD_RECOVERY",
            f"ledgers {name!r}: a ledger's key is what the agreement pins, for good: remove recovery",
        )
    return Pin(role, name, key_id, _key(row, "recovery", role))


def _panel(tree: Mapping[str, object], pins: Mapping[bytes, Pin]) -> PanelPin | None:
    """Return who rules on lost keys: nobody on its own, nor on one of a party with which it has a conflict."""
    if "panel" not in tree:
        return None
    table = _table(tree, "panel")
    quorum = table.get("quorum")
    if type(quorum) is not int or quorum < 1:
        raise PinsError("BAD_PANEL", "quorum in panel must be a whole number above 0")
    known = {pin.id: pin.key_id for pin in pins.values() if pin.role is Role.ADJUDICATOR}
    members: dict[str, bytes] = {}
    for name in _names(table, "members", "panel"):
        if name not in known:
            raise PinsError("UNKNOWN_NAME", f"panel.members: {name!r} is not in adjudicators")
        members[name] = known[name]
    parted = {
        (_text(row, "adjudicator", "panel.conflicts"), party)
        for row in _rows(table, "conflicts")
        for party in _names(row, "parties", "panel.conflicts")
    }
    measured = {
        _text(row, "id", "meters"): str(row.get("party")) for row in _rows(tree, Role.METER.value)
    }
    able: dict[bytes, frozenset[bytes]] = {}
    for author, pin in pins.items():
        if pin.role is Role.LEDGER:
            continue
        party = measured[pin.id] if pin.role is Role.METER else pin.id
        of_party = pin.role in {Role.METER, Role.PARTY}
        able[author] = frozenset(
            member
            for name, member in members.items()
            if member != author and not (of_party and (name, party) in parted)
        )
    return PanelPin(quorum, able)


def _names(table: Mapping[str, object], key: str, where: str) -> list[str]:
    names = table.get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise PinsError("MISSING_VALUE", f"{key} in {where} must be a list of texts")
    return names


def _table(tree: Mapping[str, object], name: str) -> dict[str, object]:
    table = tree.get(name)
    if not isinstance(table, dict):
        raise PinsError("MISSING_TABLE", f"the agreement has no [{name}] table")
    return table


def _rows(tree: Mapping[str, object], name: str) -> list[dict[str, object]]:
    rows = tree.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PinsError("MISSING_TABLE", f"{name} must be written as [[{name}]] tables")
    return rows


def _text(table: Mapping[str, object], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise PinsError("MISSING_VALUE", f"{key} in {where} must be a text that is not empty")
    return value


def _key(row: Mapping[str, object], name: str, role: Role) -> bytes:
    found = _DIGEST.fullmatch(_text(row, name, role.value))
    if found is None:
        raise PinsError(
            "BAD_KEY_DIGEST", f"{name} in {role.value} must be sha256: and 64 hexadecimal digits"
        )
    return bytes.fromhex(found[1])


def _duration(table: Mapping[str, object], key: str) -> int:
    found = _DURATION.fullmatch(_text(table, key, "windows"))
    if found is None or int(found[1]) == 0:
        raise PinsError("BAD_DURATION", f'{key} in windows must be a duration like "60 s"')
    return int(found[1]) * _UNITS_MS[found[2]]
