"""The side of a process beside the ledger: it answers until the ledger hangs up, or has died."""

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ledger.processes.frames import frame, receive


def confine() -> None:
    """Give up what somebody who takes this process over would want first: opening files or sockets, and writing."""
    for what in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(what, (0, 0))


class Parent:
    """The ledger, as the process beside it sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def questions(self) -> Iterator[bytes]:
        """Yield what the ledger sends, until it hangs up or dies."""
        while (data := receive(self._connection)) is not None:
            yield data

    def answer(self, data: bytes) -> None:
        """Send an answer."""
        self._connection.sendall(frame(data))


@contextmanager
def parent(descriptor: int) -> Iterator[Parent]:
    """Speak with the ledger over the socket with that descriptor."""
    with socket.socket(fileno=descriptor) as connection:
        try:
            yield Parent(connection)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)
