"""The nursery, as the ledger sees it: a small process that imports what its children need, once, and forks them.

It is started before the ledger imports what itself needs, so that both are ready at about the same time. A nursery that
dies takes its children along (the kernel kills them); the next child that is asked for comes from a new one.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from ledger.errors import ProcessError
from ledger.processes.child import Birth, Child
from ledger.processes.forking import MOST_BYTES

_MODULES: Final = ("ledger.screeners.worker", "ledger.integrator")
"""What children run: the first is what the ledger asks for first."""
_PATIENCE_S: Final = 5.0


class Nursery:
    """One nursery after the other. To be made and used in the main thread; for one event loop."""

    def __init__(self, *modules: str) -> None:
        self._modules = modules or _MODULES
        self._births: deque[asyncio.Future[Birth]] = deque()
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._listening: asyncio.AbstractEventLoop | None = None
        self._launch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def start(self, module: str, *arguments: str) -> Child:
        """Start a module's ``main`` with its socket's descriptor, and arguments.

        Raises :class:`ProcessError` when there is no process to be had; asked again, there may be.
        """
        ours, theirs = socket.socketpair()
        with ExitStack() as unwanted:
            unwanted.callback(ours.close)  # whoever was started sees that nobody wants it
            with theirs:
                birth = await self._bear(theirs, [module, *arguments])
            reader, writer = await asyncio.open_unix_connection(sock=ours)
            unwanted.pop_all()
        return Child(module, birth, self.kill, reader, writer)

    def kill(self, pid: int) -> None:
        """Kill a child that has not ended; one that the nursery cannot kill is killed with it."""
        try:
            self._socket.send(json.dumps({"kill": pid}).encode())
        except OSError:
            self._process.kill()

    async def _bear(self, theirs: socket.socket, command: list[str]) -> Birth:
        if self._socket.fileno() < 0:
            self._launch()
        if self._listening is None:
            self._listening = asyncio.get_running_loop()
            self._listening.add_reader(self._socket, self._hear)
        birth: asyncio.Future[Birth] = asyncio.get_running_loop().create_future()
        question = json.dumps({"start": command}).encode()
        try:
            socket.send_fds(self._socket, [question], [theirs.fileno()])
        except OSError:
            self._lose()
            raise _death() from None
        self._births.append(birth)
        return await birth

    def _launch(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        words = [str(theirs.fileno()), str(os.getpid()), *self._modules]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ledger.processes.forking", *words],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def _hear(self) -> None:
        """Take what the nursery tells."""
        try:
            told = json.loads(self._socket.recv(MOST_BYTES))
        except BlockingIOError:
            return
        except (ConnectionError, ValueError):
            self._lose()
            return
        if "ended" in told:
            self._ends.pop(told["ended"]).set_result(told["status"])
            return
        pid, birth = told["started"], self._births.popleft()
        if pid is None:
            if not birth.done():
                birth.set_exception(ProcessError("PROCESS_DIED", f"cannot fork: {told['why']}"))
            return
        self._ends[pid] = asyncio.get_running_loop().create_future()
        if not birth.done():
            birth.set_result(Birth(pid, self._ends[pid]))

    def _lose(self) -> None:
        """Give a nursery up: it and its children are dead, or will be."""
        if self._listening is not None:
            self._listening.remove_reader(self._socket)
            self._listening = None
        self._socket.close()
        self._process.kill()
        self._process.wait()
        for birth in self._births:
            if not birth.done():
                birth.set_exception(_death())
        for end in self._ends.values():
            end.set_result(-signal.SIGKILL)
        self._births.clear()
        self._ends.clear()


def _death() -> ProcessError:
    return ProcessError("PROCESS_DIED", "the process that starts the ledger's others died")
