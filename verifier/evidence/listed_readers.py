"""The keys of readers in files, held to the classes of an agreement."""

from collections.abc import Sequence
from pathlib import Path

from statements.pins import Pins
from statements.reading_keys import read_reading_key
from statements.sealing import ReadingKey
from verifier.evidence.errors import EvidenceError


def read_listed_readers(pins: Pins, paths: Sequence[Path]) -> list[ReadingKey]:
    """Return the keys in files; one that the agreement lists as nobody's opens nothing, and is a mistake.

    Raises :class:`EvidenceError` for such a one, and :class:`KeyFileError` for a file that holds no reader's key.
    """
    listed = {reader.key.key_id for one in pins.disclosures.classes for reader in one.readers}
    readers: list[ReadingKey] = []
    for path in paths:
        key = read_reading_key(path)
        if key.public.key_id not in listed:
            raise EvidenceError(
                "UNLISTED_READER",
                f"{path}: the agreement lists this key in no class of [disclosure]: it opens nothing",
            )
        readers.append(key)
    return readers
