"""Screening in processes beside the ledger: every core verifies signatures, and none waits for another's interpreter.

A process that dies is started again; what it had in hand is asked once more, elsewhere. Processes know no keys but
those that they were told of with a question.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

import structlog

from ledger.errors import ProcessError
from ledger.keyring import Keyring
from ledger.processes.child import Child
from ledger.processes.nursery import Nursery
from ledger.refusal import Refusal
from ledger.screeners.interface import Request
from ledger.screeners.questions import Answer, Question, decode_answer, encode_question
from ledger.screening import Parts, Screenable, Screened, hash_bodies, parts_of
from statements.author import Statement
from statements.header import KEY_ID
from statements.signing import VerifyingKey

_DEEP: Final = 2
"""Questions that a process has at once: one that it works on, and the next."""
_RESTART_S: Final = 1.0

_log = structlog.get_logger("stillwatch.ledger")


class ScreeningProcesses:
    """See :class:`ledger.screeners.interface.Screener`."""

    def __init__(self, nursery: Nursery, keyring: Keyring, agreement: bytes, count: int) -> None:
        self._nursery = nursery
        self._keyring = keyring
        self._agreement = agreement
        self._count = count
        self._free: asyncio.Queue[_Screening] = asyncio.Queue()
        self._running: set[_Screening] = set()
        self._restarting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """See :class:`Screener`."""
        started = [await self._begin() for _ in range(self._count)]
        for _ in range(_DEEP):
            for process in started:
                self._free.put_nowait(process)

    async def screen(self, request: Request) -> list[Screened | Refusal]:
        """See :class:`Screener`."""
        parts = parts_of(request.message)
        hashed = hash_bodies(parts)
        try:
            answer = await self._ask(hashed)
        except ProcessError:
            answer = await self._ask(hashed)
        for spki in answer.shown:
            # Batches that were sent without waiting for this one's answer may be signed by the key it shows.
            self._keyring.show(VerifyingKey.from_spki(spki))
        return list(_composed(parts, answer))

    async def close(self) -> None:
        """See :class:`Screener`."""
        for task in self._restarting:
            task.cancel()
        for process in self._running:
            await process.child.close()

    async def _ask(self, batch: list[Screenable]) -> Answer:
        process = await self._take()
        try:
            answer = await process.child.ask(self._question(process, batch))
            return decode_answer(answer, len(batch))
        finally:
            self._free.put_nowait(process)

    async def _take(self) -> "_Screening":
        """Return a process that has room; dead ones are let go, and started again."""
        while (process := await self._free.get()).child.is_dead:
            if process in self._running:
                self._running.discard(process)
                task = asyncio.create_task(self._replace(process))
                self._restarting.add(task)
                task.add_done_callback(self._restarting.discard)
        return process

    def _question(self, process: "_Screening", batch: list[Screenable]) -> bytes:
        """Return statements, with the keys that they name and the process does not know."""
        keys: list[tuple[bytes, bytes]] = []
        for digest in {header[KEY_ID] for header, _, _ in batch} - process.told:
            if self._keyring.may_appear(digest):
                key = self._keyring.known(digest)
                keys.append((digest, b"" if key is None else key.spki))
                if key is not None:
                    process.told.add(digest)
        return encode_question(Question(keys, batch))

    async def _begin(self) -> "_Screening":
        process = _Screening(await self._nursery.start("ledger.screeners.worker"))
        process.child.tell(self._agreement)
        self._running.add(process)
        return process

    async def _replace(self, dead: "_Screening") -> None:
        status = await dead.child.close()
        _log.error(
            "a screening process died: it is started again", reason="PROCESS_DIED", status=status
        )
        while True:
            await asyncio.sleep(_RESTART_S)
            try:
                process = await self._begin()
            except ProcessError as error:
                _log.error("cannot start a process", reason=error.reason, error=str(error))
                continue
            break
        for _ in range(_DEEP):
            self._free.put_nowait(process)


class _Screening:
    """One process, and the keys that it was told of."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.told: set[bytes] = set()


def _composed(parts: list[Parts], answer: Answer) -> Iterator[Screened | Refusal]:
    """Yield what became of each statement."""
    for at, (header, signature, stored) in enumerate(parts):
        refusal = answer.refusals.get(at)
        if refusal is not None:
            yield refusal
            continue
        yield Screened(Statement(header, signature, stored or b""), answer.ids[at])
