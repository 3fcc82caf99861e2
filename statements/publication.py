"""Saying one thing from a command line: a person's chain, kept in a file beside the key.

A person's key speaks rarely and from anywhere, but never twice at one place of its chain: the place is written to
``KEY.chain`` before the statement is sent, and a statement that was not acknowledged is sent again, unchanged,
before the next. While one process speaks, it holds the key, and others wait.
"""

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from protos.stillwatch.statement.v1 import identity_pb2
from statements.author import EPOCH_LENGTH, NOTHING, Author, Statement
from statements.body import SALT_LENGTH
from statements.disclosure import disclose
from statements.errors import KeyFileError, SubmissionError
from statements.keys import hold_key, read_author, read_signing_key, sync_folder
from statements.kinds import kind_of
from statements.ledger_client import LedgerClient, Receipt, verify_receipt
from statements.pins import Pins
from statements.sealing import CONTENT_KEY_LENGTH, ContentKey, day_of

Draw = Callable[[int], bytes]
"""Draws that many random bytes."""

_TRANSIENT = frozenset({"STORAGE", "DRAINING", "BUSY"})
"""Refusals after which the same statement may still be logged."""


@dataclass(frozen=True, slots=True)
class Published:
    """A logged statement: its id, its index in the log, and the record."""

    statement_id: bytes
    index: int
    record: bytes


def publish(
    client: LedgerClient,
    key_path: Path,
    message: Message,
    *,
    now_ms: int,
    pins: Pins,
    origin: str,
    period: tuple[int, int] | None = None,
    draw: Draw = secrets.token_bytes,
) -> Published:
    """Sign ``message`` with the key in a file, and log it: sealed, where the agreement has its kind sealed.

    ``period`` is what it speaks of, [start, end) in Unix ms; by default the instant at which it is said.

    Raises :class:`KeyFileError` when the key or its chain file cannot be used, and :class:`SubmissionError` when the
    ledger refuses, cannot be reached, or acknowledges something else; what was not acknowledged is sent first next
    time.
    """
    with hold_key(key_path, wait=True):
        key = read_signing_key(key_path)
        chain = _Chain(key_path.with_name(key_path.name + ".chain"))
        author, unsent = chain.read(key.key_id)
        if author is None:
            first = read_author(key_path, key)
            heads = client.author(first)
            newest = max(heads, key=lambda head: head.index).statement_id if heads else NOTHING
            place = Author.opening(key, draw(EPOCH_LENGTH), newest, first)
            opening = identity_pb2.Opening(
                key=key.spki, logs=[origin], agreements=[pins.digest], software="stillwatch"
            )
            said, place = place.say(opening, now_ms, now_ms, salt=draw(SALT_LENGTH))
            unsent = [said]
        else:
            place = Author(key, author.author, author.epoch, author.sequence, author.previous)
        start, end = (now_ms, now_ms) if period is None else period
        content_key = None
        to = pins.disclosures.of_kind.get(kind_of(message))
        if to is not None:
            # A key for this one statement: it replaces what was said of the day before, and nothing has to be kept.
            secret = draw(CONTENT_KEY_LENGTH)
            content_key = ContentKey(place.author, day_of(start), to.number, secret)
            said, place = place.say(
                disclose(content_key, to), now_ms, now_ms, salt=draw(SALT_LENGTH)
            )
            unsent.append(said)
        statement, place = place.say(
            message, start, end, salt=draw(SALT_LENGTH), content_key=content_key
        )
        unsent.append(statement)
        chain.write(place, unsent)
        last: Receipt | None = None
        for sent, result in zip(unsent, client.append(unsent), strict=True):
            if not isinstance(result, Receipt):
                if result.reason not in _TRANSIENT:
                    chain.forget()
                raise SubmissionError(result.reason, result.message, result.wanted_sequence)
            verify_receipt(sent, result)
            last = result
        chain.write(place, [])
        assert last is not None  # noqa: S101 - at least one was sent, and refusals were raised above
        return Published(statement.id, last.index, last.record)


@dataclass(frozen=True, slots=True)
class _Place:
    author: bytes
    epoch: bytes
    sequence: int
    previous: bytes


@dataclass(frozen=True, slots=True)
class _Chain:
    path: Path

    def read(self, key_id: bytes) -> tuple[_Place | None, list[Statement]]:
        try:
            tree = json.loads(self.path.read_text())
        except FileNotFoundError:
            return None, []
        except (OSError, ValueError) as error:
            raise self._unusable(str(error)) from None
        try:
            if bytes.fromhex(tree["key_id"]) != key_id:
                raise self._unusable("it is of another key")
            place = _Place(
                bytes.fromhex(tree["author"]),
                bytes.fromhex(tree["epoch"]),
                int(tree["sequence"]),
                bytes.fromhex(tree["previous"]),
            )
            unsent = [Statement(*(bytes.fromhex(part) for part in row)) for row in tree["unsent"]]
        except (KeyError, TypeError, ValueError) as error:
            raise self._unusable(f"{type(error).__name__}: {error}") from None
        return place, unsent

    def write(self, place: Author, unsent: list[Statement]) -> None:
        text = json.dumps(
            {
                "key_id": place.key.key_id.hex(),
                "author": place.author.hex(),
                "epoch": place.epoch.hex(),
                "sequence": place.sequence,
                "previous": place.previous.hex(),
                "unsent": [[s.header.hex(), s.signature.hex(), s.stored.hex()] for s in unsent],
            }
        )
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise KeyFileError(
                "CHAIN_UNWRITABLE", f"cannot write {self.path}: {error.strerror}"
            ) from None

    def forget(self) -> None:
        """Give up a chain whose next statement was refused for good: the next one opens a new epoch."""
        self.path.unlink(missing_ok=True)

    def _unusable(self, why: str) -> KeyFileError:
        return KeyFileError(
            "BAD_CHAIN_FILE",
            f"{self.path} cannot be used ({why}): move it away, and the next statement opens a new epoch",
        )
