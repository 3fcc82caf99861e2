"""Disclosure: who may read what, as an agreement says, and the statements that give them the keys.

``[disclosure]`` names for each kind that may be sealed either ``public`` or one of ``[[disclosure.classes]]``, each of
which lists its readers. The n-th class has the number n + 1 in headers; 1 is public.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from protos.stillwatch.statement.v1 import identity_pb2
from statements.errors import BodyError, PinsError, SealError
from statements.kinds import PUBLIC, Kind
from statements.reading_keys import PREFIX
from statements.sealing import COMMITMENT_LENGTH, ContentKey, ReaderKey, seal_content_key

TABLE: Final = "disclosure"
PUBLIC_NAME: Final = "public"
SEALABLE_NAMES: Final[Mapping[str, Kind]] = {
    "summaries": Kind.SUMMARY,
    "meter_readings": Kind.METER_READING,
    "responses": Kind.RESPONSE,
}
"""The keys of ``[disclosure]``, and the kinds that they are about."""
MOST_CLASSES: Final = 16
MOST_READERS: Final = 64

_READER_KEY: Final = re.compile(re.escape(PREFIX) + "([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who may read a class: a name, and the key to which content keys are sealed."""

    id: str
    key: ReaderKey


@dataclass(frozen=True, slots=True)
class DisclosureClass:
    """A class of readers: its name, and its number in headers."""

    id: str
    number: int
    readers: tuple[Reader, ...]


@dataclass(frozen=True, slots=True)
class Disclosures:
    """An agreement's classes, and which of them the kinds that may be sealed are sealed to."""

    classes: tuple[DisclosureClass, ...] = ()
    of_kind: Mapping[Kind, DisclosureClass] = field(default_factory=dict)

    def numbered(self, number: int) -> DisclosureClass | None:
        """Return the class that a header's number means; ``None`` when there is none."""
        at = number - 1 - PUBLIC
        return self.classes[at] if 0 <= at < len(self.classes) else None

    def allows(self, kind: Kind, number: int) -> bool:
        """Return whether a body of that kind may have that disclosure: public, or its kind's class."""
        sealed_to = self.of_kind.get(kind)
        return number == PUBLIC or (sealed_to is not None and number == sealed_to.number)


def read_disclosures(tree: Mapping[str, object]) -> Disclosures:
    """Return what an agreement's ``[disclosure]`` says; without the table everything is public.

    Raises :class:`PinsError` when a class is named twice or not at all, or a key is no key or is listed twice.
    """
    table = tree.get(TABLE, {})
    if not isinstance(table, dict):
        raise _refused("MISSING_TABLE", "must be written as a [disclosure] table")
    rows = table.get("classes", [])
    if not isinstance(rows, list) or len(rows) > MOST_CLASSES:
        raise _refused(
            "MISSING_TABLE", f"classes are [[disclosure.classes]] tables, at most {MOST_CLASSES}"
        )
    classes = tuple(_class(row, PUBLIC + 1 + at) for at, row in enumerate(rows))
    by_name = {one.id: one for one in classes}
    if len(by_name) < len(classes) or PUBLIC_NAME in by_name:
        raise _refused("DUPLICATE_ID", "each class has a name of its own, and none is 'public'")
    of_kind: dict[Kind, DisclosureClass] = {}
    for key, kind in SEALABLE_NAMES.items():
        name = table.get(key, PUBLIC_NAME)
        if name == PUBLIC_NAME:
            continue
        if not isinstance(name, str) or name not in by_name:
            listed = ", ".join([PUBLIC_NAME, *by_name])
            raise _refused("UNKNOWN_NAME", f"{key} is {name!r}, and must be one of {listed}")
        of_kind[kind] = by_name[name]
    return Disclosures(classes, of_kind)


def disclose(content_key: ContentKey, to: DisclosureClass) -> identity_pb2.ContentKey:
    """Return what an author says so that a class can open what it seals under ``content_key``."""
    return identity_pb2.ContentKey(
        day=content_key.day,
        sealed=[
            identity_pb2.SealedKey(
                reader=reader.key.key_id, sealed=seal_content_key(content_key, reader.key)
            )
            for reader in to.readers
        ],
        disclosure=to.number,
        commitment=content_key.commitment,
    )


def verify_content_key(message: identity_pb2.ContentKey, disclosures: Disclosures) -> None:
    """Refuse a content key that names no day or class, or is not sealed to each of the class's readers, once.

    Raises :class:`BodyError`. Whether it opens only a reader can tell.
    """
    to = disclosures.numbered(message.disclosure)
    if not message.HasField("day") or to is None:
        raise BodyError(
            "MALFORMED_BODY", "the content key names no day, or no class of the agreement"
        )
    if len(message.commitment) != COMMITMENT_LENGTH:
        raise BodyError("MALFORMED_BODY", f"a commitment has {COMMITMENT_LENGTH} bytes")
    if sorted(one.reader for one in message.sealed) != sorted(r.key.key_id for r in to.readers):
        raise BodyError(
            "MALFORMED_BODY",
            f"the content key is not sealed to each reader of the class {to.id!r}, and to nobody else",
        )


def _class(row: object, number: int) -> DisclosureClass:
    if not isinstance(row, dict):
        raise _refused("MISSING_TABLE", "classes are [[disclosure.classes]] tables")
    name, rows = row.get("id"), row.get("readers")
    if not isinstance(name, str) or not name:
        raise _refused("MISSING_VALUE", "each class has an id")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_READERS:
        raise _refused("MISSING_VALUE", f"{name} must have 1 to {MOST_READERS} readers")
    readers = tuple(_reader(one, name) for one in rows)
    if len({one.id for one in readers}) < len(readers):
        raise _refused("DUPLICATE_ID", f"{name} lists a reader twice")
    if len({one.key.key_id for one in readers}) < len(readers):
        raise _refused("KEY_PINNED_TWICE", f"two readers of {name} share one key")
    return DisclosureClass(name, number, readers)


def _reader(row: object, of: str) -> Reader:
    if not isinstance(row, dict):
        raise _refused("MISSING_TABLE", f"readers of {of} are tables of an id and a key")
    name, key = row.get("id"), row.get("key")
    if not isinstance(name, str) or not name:
        raise _refused("MISSING_VALUE", f"each reader of {of} has an id")
    found = _READER_KEY.fullmatch(key) if isinstance(key, str) else None
    try:
        if found is not None:
            return Reader(name, ReaderKey.from_raw(bytes.fromhex(found[1])))
    except SealError:
        pass
    raise _refused(
        "BAD_READER_KEY",
        f"the key of {name} in {of} must be {PREFIX} and the 64 hexadecimal digits of a usable key, as "
        "`stillwatch audit keygen` prints it",
    )


def _refused(reason: str, message: str) -> PinsError:
    return PinsError(reason, f"{TABLE}: {message}")
