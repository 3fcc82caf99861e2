"""The ledger's side of a process beside it: asks it, and notices when it dies."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ledger.errors import ProcessError
from ledger.processes.frames import LENGTH, frame

_PATIENCE_S: Final = 5.0
"""How long a process may take to end once the ledger has hung up."""

_MOST_BYTES: Final = 64 << 20
"""No process answers at greater length."""


@dataclass(frozen=True, slots=True)
class Birth:
    """A process id, and its exit status, once it has one: negative for a signal."""

    pid: int
    end: "asyncio.Future[int]"


class Child:
    """One process: it answers what it is asked, in order. For one event loop."""

    def __init__(
        self,
        name: str,
        birth: Birth,
        kill: Callable[[int], None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.name = name
        self.pid = birth.pid
        self.is_dead = False
        self._end = birth.end
        self._kill = kill
        self._reader = reader
        self._writer = writer
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._reading = asyncio.create_task(self._read())

    async def ask(self, question: bytes) -> bytes:
        """Return the answer to a question; raises :class:`ProcessError` when the process dies over it."""
        if self.is_dead:
            raise self._death()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self.tell(question)
        return await answer

    def tell(self, data: bytes) -> None:
        """Send a frame that is not answered."""
        self._writer.write(frame(data))

    async def close(self) -> int:
        """Hang up, wait for the end, and return the exit status."""
        self._reading.cancel()
        self._writer.close()
        try:
            return await asyncio.wait_for(asyncio.shield(self._end), _PATIENCE_S)
        except TimeoutError:
            self._kill(self.pid)
            return await self._end

    async def _read(self) -> None:
        """Hand out answers until the process dies, or says what was not asked; it counts as dead then."""
        try:
            while True:
                (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
                if length > _MOST_BYTES or not self._waiting:
                    return
                answer = await self._reader.readexactly(length)
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.is_dead = True
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_exception(self._death())

    def _death(self) -> ProcessError:
        return ProcessError("PROCESS_DIED", f"the process {self.name} died")
