"""Frames: a length (uint32, big-endian), and so many bytes.

What is in them is never pickled: whoever took over a process that reads what strangers send shall not thereby have the
ledger.
"""

import socket
import struct
from typing import Final

LENGTH: Final = struct.Struct(">I")


def frame(data: bytes) -> bytes:
    """Return data as a frame."""
    return LENGTH.pack(len(data)) + data


def receive(connection: socket.socket) -> bytes | None:
    """Return what the next frame holds; ``None`` when the other side has hung up, or died."""
    head = _exactly(connection, LENGTH.size)
    return None if head is None else _exactly(connection, LENGTH.unpack(head)[0])


def _exactly(connection: socket.socket, length: int) -> bytes | None:
    data = bytearray(length)
    view, at = memoryview(data), 0
    while at < length:
        got = connection.recv_into(view[at:])
        if got == 0:
            return None
        at += got
    return bytes(data)
