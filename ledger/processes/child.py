"""The ledger's side: starts a module in a process of its own, asks it, and notices when it dies."""

import asyncio
import socket
import subprocess
import sys
from collections import deque
from typing import Final, Self

from ledger.errors import ProcessError
from ledger.processes.frames import LENGTH, frame

_PATIENCE_S: Final = 5.0
"""How long a process may take to end once the ledger has hung up."""

_MOST_BYTES: Final = 64 << 20
"""No process answers at greater length."""


class Child:
    """One process: it answers what it is asked, in order. For one event loop."""

    def __init__(
        self,
        name: str,
        process: "subprocess.Popen[bytes]",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.name = name
        self.is_dead = False
        self._process = process
        self._reader = reader
        self._writer = writer
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, module: str, *arguments: str) -> Self:
        """Start a module, with its socket's descriptor as the first argument."""
        ours, theirs = socket.socketpair()
        with theirs:
            number = str(theirs.fileno())
            process = subprocess.Popen(
                [sys.executable, "-m", module, number, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return cls(module, process, reader, writer)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

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
            return await asyncio.to_thread(self._process.wait, _PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return await asyncio.to_thread(self._process.wait)

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
