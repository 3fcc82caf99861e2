"""From a text to an agreement of one's own: keys and logs filled in, terms changed by name, the rest as it stands.

Used for rehearsals, where keys and logs are made for the occasion. The output is TOML in one form: the same arguments
give the same bytes, hence the same digest.
"""

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import TypedDict, cast

from verifier.agreement.errors import AgreementError
from verifier.agreement.parse import parse_agreement

_NAMED = ("id", "origin")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_TABLES = ("parties", "evaluators", "adjudicators", "verifiers", "meters")


class LedgerEntry(TypedDict):
    """A row of ``[[ledgers]]``: the log's origin, its note verifier key, and ``sha256:…`` of its statement key."""

    origin: str
    vkey: str
    key: str


def pin(
    agreement_text: str,
    *,
    keys: Mapping[str, Mapping[str, str]],
    ledgers: Sequence[LedgerEntry],
    overrides: Mapping[str, str],
    rehearsal: bool,
    recovery_keys: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Return an agreement with other keys, logs and terms.

    ``keys`` maps a table (``parties``, ``evaluators``, ``adjudicators``, ``verifiers``, ``meters``) to ids to key
    digests; ``recovery_keys`` likewise. Who gets another key keeps no recovery key of the one before.
    ``overrides`` maps a dotted place to the value there, written as TOML, or a bare text: ``stages.notice`` to
    ``"60 s"``, ``parties.aurora.declared_h100e`` to ``"512 H100e"``, ``obligations.training-cap.aspirational`` to
    ``"true"``. Rows are named by their id. The place of a party's ``id`` renames it, and every mention in
    ``accedes_if``, ``panel.conflicts`` and obligations follows.

    Raises :class:`AgreementError` when a place or id does not exist, or what comes out is not an agreement.
    """
    tree = tomllib.loads(agreement_text)
    tree["agreement"]["rehearsal"] = rehearsal
    for table, entries in keys.items():
        if table not in _TABLES:
            raise AgreementError("UNKNOWN_PLACE", f"keys go to {', '.join(_TABLES)}, not {table!r}")
        for name, digest in entries.items():
            row = _row(tree.get(table), name, table)
            row["key"] = digest
            row.pop("recovery", None)
    for table, entries in (recovery_keys or {}).items():
        for name, digest in entries.items():
            _row(tree.get(table), name, table)["recovery"] = digest
    if ledgers:
        tree["ledgers"] = [dict(ledger) for ledger in ledgers]
    # Renames go last, so that every other place is named as the given text names it.
    for place, value in sorted(overrides.items(), key=lambda item: item[0].endswith(".id")):
        _override(tree, place, value)
    written = _write(tree)
    parse_agreement(written.encode())
    return written


def _override(tree: dict[str, object], place: str, text: str) -> None:
    *path, last = place.split(".")
    node: object = tree
    for step in path:
        if isinstance(node, list):
            node = _row(node, step, place)
        elif isinstance(node, dict) and step in node:
            node = node[step]
        else:
            raise AgreementError("UNKNOWN_PLACE", f"{place}: there is no {step!r} in the agreement")
    if not isinstance(node, dict):
        raise AgreementError("UNKNOWN_PLACE", f"{place}: does not name a value in a table")
    value = _value(text)
    if last == "id" and path[:1] == ["parties"]:
        _rename(tree, str(node["id"]), str(value))
    node[last] = value


def _value(text: str) -> object:
    """Read a value written as TOML, or take the text as it stands."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _row(rows: object, name: str, place: str) -> dict[str, object]:
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and any(row.get(key) == name for key in _NAMED):
            return row
    raise AgreementError("UNKNOWN_PLACE", f"{place}: the agreement has no row {name!r} there")


def _rename(tree: dict[str, object], old: str, new: str) -> None:
    for row in cast("list[dict[str, object]]", tree["parties"]):
        _rename_in(row.get("accedes_if"), old, new)
    _rename_in(tree.get("panel"), old, new)
    _rename_in(tree.get("obligations"), old, new)


def _rename_in(node: object, old: str, new: str) -> None:
    if isinstance(node, list):
        for inner in node:
            _rename_in(inner, old, new)
    if isinstance(node, dict):
        for key, inner in node.items():
            if key == "party" and inner == old:
                node[key] = new
            elif key == "parties" and isinstance(inner, list):
                node[key] = [new if name == old else name for name in inner]
            else:
                _rename_in(inner, old, new)


def _write(tree: Mapping[str, object]) -> str:
    """Write TOML: tables in the order given, anything nested inline."""
    lines: list[str] = []
    for name, table in tree.items():
        if isinstance(table, list):
            for row in table:
                lines += [f"[[{_name(name)}]]", *_pairs(row), ""]
        elif isinstance(table, dict):
            lines += [f"[{_name(name)}]", *_pairs(table), ""]
        else:
            raise AgreementError("NOT_A_TABLE", f"{name}: must be a table")
    return "\n".join(lines)


def _pairs(table: Mapping[str, object]) -> list[str]:
    return [f"{_name(key)} = {_literal(value)}" for key, value in table.items()]


def _name(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _literal(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case str():
            return _string(value)
        case list():
            return "[" + ", ".join(_literal(inner) for inner in value) + "]"
        case dict():
            return "{ " + ", ".join(_pairs(value)) + " }" if value else "{}"
        case _:
            raise AgreementError("NOT_A_VALUE", f"{value!r} has no place in an agreement")


def _string(text: str) -> str:
    """Write a basic string; JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)
