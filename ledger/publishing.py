"""Publishing, as the process that answers clients sees it: it asks the integrator's process, and starts it anew.

What they say to each other is JSON: whether witnesses shall cosign even what did not grow; and what is published, with
the error that kept it from being more.
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.errors import (
    ForkError,
    JournalError,
    LedgerError,
    ObjectError,
    ProcessError,
    QuorumError,
    SetupError,
    UnsyncedError,
)
from ledger.processes.child import Child
from ledger.processes.nursery import Nursery
from ledger.publisher import Published

_ERRORS: Final = {
    kind.__name__: kind
    for kind in (ForkError, UnsyncedError, JournalError, ObjectError, QuorumError, SetupError)
}
_OPEN: Final = b"open"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is published, and the error that kept it from being more."""

    published: Published | None
    error: LedgerError | None


class Publishing:
    """One integrator's process. For one event loop."""

    def __init__(self, nursery: Nursery, folder: Path, tls: Path | None = None) -> None:
        self._nursery = nursery
        self._arguments = [str(folder), *([] if tls is None else [str(tls)])]
        self._child: Child | None = None
        self._starting = asyncio.Lock()
        self.published: Published | None = None

    async def start(self) -> None:
        """Start the process, and have it open the log; raises what :meth:`Publisher.open` does."""
        self._child = await self._nursery.start("ledger.integrator", *self._arguments)
        self._take(await self._child.ask(_OPEN))

    async def publish(self, *, anew: bool = False) -> Published:
        """Publish as :meth:`Publisher.publish` does, and raise what it does.

        Raises :class:`ProcessError` when the process died over it: the next call starts another.
        """
        async with (
            self._starting
        ):  # beat and tick ask at once: a second process would wait for the first
            if self._child is None or self._child.is_dead:
                await self.close()
                await self.start()
            child = self._child
        assert child is not None  # noqa: S101 - it was started
        self._take(await child.ask(encode_question(anew)))
        if self.published is None:
            raise ProcessError(
                "PROCESS_CONFUSED", "the integrator published nothing, and gave no reason"
            )
        return self.published

    async def close(self) -> None:
        """End the process."""
        if self._child is not None:
            await self._child.close()
            self._child = None

    def _take(self, data: bytes) -> None:
        answer = decode_answer(data)
        if answer.published is not None:
            self.published = answer.published
        if answer.error is not None:
            raise answer.error


def encode_question(anew: bool) -> bytes:
    """Return the question for a checkpoint."""
    return json.dumps({"anew": anew}).encode()


def decode_question(data: bytes) -> bool:
    """Return whether witnesses shall cosign even what did not grow."""
    return bool(json.loads(data)["anew"])


def encode_answer(answer: Answer) -> bytes:
    """Return the bytes of an answer."""
    published, error = answer.published, answer.error
    return json.dumps(
        {
            "published": published
            and {
                "note": published.note.decode(),
                "size": published.size,
                "root": published.root.hex(),
                "time_ms": published.time_ms,
            },
            "error": error and [type(error).__name__, error.reason, str(error)],
        }
    ).encode()


def decode_answer(data: bytes) -> Answer:
    """Return the answer that bytes hold; raises :class:`ProcessError` if they hold none."""
    try:
        tree = json.loads(data)
        told, error = tree["published"], tree["error"]
        return Answer(
            told
            and Published(
                told["note"].encode(), told["size"], bytes.fromhex(told["root"]), told["time_ms"]
            ),
            error and _ERRORS.get(error[0], ProcessError)(error[1], error[2]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProcessError(
            "PROCESS_CONFUSED", f"the integrator's process answered nonsense: {error}"
        ) from error
