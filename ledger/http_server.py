"""HTTP servers that nobody can use up: threads by connection, counted, each with a time by which it must be done.

They are meant for auditors and ledgers by the dozen; before the public stands a web server of its own kind. Each takes
:data:`MOST_CONNECTIONS` at once, and gives a request :data:`REQUEST_S` seconds from its first byte to its last answer.
"""

import os
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import BinaryIO, Final

import structlog

from ledger.errors import SetupError

MOST_CONNECTIONS: Final = 128
"""Connections at once; further ones are closed unanswered."""
REQUEST_S: Final = 120.0
"""Seconds in which a request must be read and answered."""
IDLE_S: Final = 30.0
"""Seconds that a connection may wait for its next bytes, or its client to take some."""
_PIECE: Final = 1 << 18

_log = structlog.get_logger("stillwatch.ledger")


class Handler(BaseHTTPRequestHandler):
    """What answers the requests of one connection; a subclass has ``do_GET`` and the like."""

    server: "_Counted"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = (
        True  # else an answer's last bytes wait 40 ms for the acknowledgement of the first
    )
    timeout = IDLE_S
    server_version = "stillwatch"
    sys_version = ""

    def handle_one_request(self) -> None:
        """Read and answer a request, in its time."""
        self.server.begin_request(self.connection)
        super().handle_one_request()

    def send(
        self,
        status: HTTPStatus,
        file: BinaryIO,
        headers: dict[str, str],
        *,
        send_body: bool = True,
    ) -> None:
        """Answer with a file, read in pieces."""
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        while send_body and (piece := file.read(_PIECE)):
            self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Note what was served, for whoever asks for so much."""
        _log.debug("served", line=format % args)


class BoundedServer:
    """Serves on an address, with handlers of one kind, until it is closed.

    Raises :class:`SetupError` when the address cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        handler: type[Handler],
        *,
        most_connections: int = MOST_CONNECTIONS,
        request_s: float = REQUEST_S,
    ) -> None:
        server = type("Server", (_Counted,), {"address_family": _family(host)})
        try:
            self._server: _Counted = server((host, port), handler)
        except OSError as error:
            raise SetupError(
                "ADDRESS_IN_USE", f"cannot listen on {host} port {port}: {error.strerror}"
            ) from error
        self._server.most_connections = most_connections
        self._server.request_s = request_s
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="http", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Counted(ThreadingHTTPServer):
    """Threads by connection, counted, each with a time by which its request must be done."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    most_connections = MOST_CONNECTIONS
    request_s = REQUEST_S

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._due: dict[socket.socket, float] = {}
        self._counting = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind, and look up no name: that may take as long as a resolver pleases."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002
        """Take a connection when there is room."""
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type checker
        with self._counting:
            if len(self._due) >= self.most_connections:
                return False
            self._due[request] = time.monotonic() + self.request_s
            return True

    def begin_request(self, connection: socket.socket) -> None:
        """Give a connection its time for one more request."""
        with self._counting:
            self._due[connection] = time.monotonic() + self.request_s

    def shutdown_request(self, request: object) -> None:
        """Forget a connection, and end it."""
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type checker
        with self._counting:
            self._due.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End the connections whose time is over; their threads then see the end."""
        now = time.monotonic()
        with self._counting:
            for connection, due in self._due.items():
                if due < now:
                    try:
                        connection.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        continue  # it ended by itself

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Note a connection that broke off; anybody can break one off."""
        _log.debug("a connection broke off", exc_info=True)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
