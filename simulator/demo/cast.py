"""Who takes part in the demo: everybody's keys, and the agreement that pins them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from statements.keys import write_signing_key
from statements.reading_keys import pinned_as, write_reading_key
from statements.sealing import ReadingKey
from statements.signing import SigningKey
from verifier.agreement.pinning import LedgerEntry, pin

TEMPLATE: Final = "frontier-pause.toml"
_ROLES: Final = ("parties", "evaluators", "adjudicators", "verifiers", "meters")


@dataclass(frozen=True, slots=True)
class Cast:
    """The key files of everybody who signs, by id; made for this rehearsal alone."""

    folder: Path
    text: str
    """The agreement to start from."""
    digests: Mapping[str, Mapping[str, str]]
    """By table of the agreement and id: the digest of the key, as agreements write it."""
    recovery: Mapping[str, Mapping[str, str]]
    """Likewise of the recovery keys of those who have one."""
    readers: Mapping[str, str]
    """By dotted place of the agreement: the key of somebody to whom bodies are sealed."""

    def key(self, name: str) -> Path:
        """Return the file of a person's key."""
        return self.folder / f"{name}.key"

    def recovery_key(self, name: str) -> Path:
        """Return the file of the key with which a person's lost key is replaced."""
        return self.folder / f"{name}.recovery.key"

    def reading_key(self, name: str) -> Path:
        """Return the file of the key with which somebody reads what is sealed."""
        return self.folder / f"{name}.reading.key"


def template() -> str:
    """Return the agreement to start from, as it is published."""
    return (files("policies") / "agreements" / TEMPLATE).read_text(encoding="utf-8")


def make_keys(folder: Path, addition: str = "") -> Cast:
    """Draw the keys of everybody whom the agreement names; each is a file only its owner can read.

    ``addition`` is TOML that is added to the published agreement: further parties, meters, duties.
    """
    folder.mkdir(parents=True)
    text = template() + addition
    tree = tomllib.loads(text)
    digests: dict[str, dict[str, str]] = {role: {} for role in _ROLES}
    recovery: dict[str, dict[str, str]] = {role: {} for role in _ROLES}
    for role in _ROLES:
        for row in tree.get(role, ()):
            digests[role][row["id"]] = _draw(folder / f"{row['id']}.key")
            if "recovery" in row:
                recovery[role][row["id"]] = _draw(folder / f"{row['id']}.recovery.key")
    readers: dict[str, str] = {}
    for to in tree.get("disclosure", {}).get("classes", ()):
        for row in to["readers"]:
            reading = ReadingKey.generate()
            write_reading_key(folder / f"{row['id']}.reading.key", reading)
            place = f"disclosure.classes.{to['id']}.readers.{row['id']}.key"
            readers[place] = pinned_as(reading.public)
    return Cast(folder, text, digests, recovery, readers)


def _draw(path: Path) -> str:
    """Draw a key into a file, and return its digest as agreements write it."""
    key = SigningKey.generate()
    write_signing_key(path, key)
    return f"sha256:{key.key_id.hex()}"


def pin_agreement(cast: Cast, ledger: LedgerEntry, terms: Mapping[str, str], path: Path) -> None:
    """Write the agreement with the cast's keys, the ledger, and ``terms`` by dotted place, else as the template."""
    given = {**terms, **cast.readers}
    text = pin(
        cast.text,
        keys=cast.digests,
        ledgers=[ledger],
        overrides=given,
        rehearsal=True,
        recovery_keys=cast.recovery,
    )
    path.write_text(text, encoding="utf-8")
