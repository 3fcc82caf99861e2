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
    """A pinned key: its digest (SHA-256 of SPKI DER), whose it is, and in what role."""

    role: Role
    id: str
    key_id: bytes


@dataclass(frozen=True, slots=True)
class LedgerPin:
    """A ledger: its log's origin, the verifier key of its notes, and the digest of its statement key."""

    origin: str
    vkey: str
    key_id: bytes


@dataclass(frozen=True, slots=True)
class Pins:
    """The root of trust that an agreement's digest names."""

    digest: bytes
    agreement_id: str
    by_key: Mapping[bytes, Pin]
    ledgers: tuple[LedgerPin, ...]
    witness_policy: str
    window_ms: int
    late_grace_ms: int
    tick_ms: int
    disclosures: Disclosures = field(default_factory=Disclosures)

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
    for role in Role:
        for row in _rows(tree, role.value):
            pin = Pin(
                role,
                _text(row, "origin" if role is Role.LEDGER else "id", role.value),
                _key(row, role),
            )
            if pin.key_id in pins:
                other = pins[pin.key_id]
                raise PinsError(
                    "KEY_PINNED_TWICE",
                    f"{other.role.value} {other.id!r} and {role.value} {pin.id!r} share one key",
                )
            pins[pin.key_id] = pin
    ledgers = tuple(
        LedgerPin(
            _text(row, "origin", "ledgers"), _text(row, "vkey", "ledgers"), _key(row, Role.LEDGER)
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
    )


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


def _key(row: Mapping[str, object], role: Role) -> bytes:
    found = _DIGEST.fullmatch(_text(row, "key", role.value))
    if found is None:
        raise PinsError(
            "BAD_KEY_DIGEST", f"key in {role.value} must be sha256: and 64 hexadecimal digits"
        )
    return bytes.fromhex(found[1])


def _duration(table: Mapping[str, object], key: str) -> int:
    found = _DURATION.fullmatch(_text(table, key, "windows"))
    if found is None or int(found[1]) == 0:
        raise PinsError("BAD_DURATION", f'{key} in windows must be a duration like "60 s"')
    return int(found[1]) * _UNITS_MS[found[2]]
