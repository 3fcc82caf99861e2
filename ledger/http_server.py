"""HTTP servers that nobody can use up: threads by connection, counted, each with a time by which it must be done.

They are meant for auditors and ledgers by the dozen; before the public stands a web server of its own kind. Each takes
:data:`MOST_CONNECTIONS` at once, and gives a request :data:`REQUEST_S` seconds from its first byte to its last answer.
When there is no room, the connection that was waited on for longest makes it, be it for a handshake or for the rest of
a request, so that those who only hold connections open hold up nobody who asks. Where one address holds more than half
of them, its oldest makes room for any other's, so that nobody keeps all others out by taking answers slowly.
"""

import contextlib
import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
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
HANDSHAKE_S: Final = 10.0
"""Seconds in which a connection must be secured."""
QUIET_S: Final = 1.0
"""Seconds that a connection has to ask something, whoever waits for its room."""
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

    def parse_request(self) -> bool:
        """Understand a request; one without a body is then whole."""
        understood = super().parse_request()
        if understood and "Content-Length" not in self.headers:
            self.server.hear_request(self.connection)
        return understood

    def read_body(self, length: int) -> bytes:
        """Return the body of a request, which is then whole."""
        body = self.rfile.read(length)
        self.server.hear_request(self.connection)
        return body

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

    ``context`` gives what each new connection is secured with; ``None``: they are plain.
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
        quiet_s: float = QUIET_S,
        context: Callable[[], ssl.SSLContext] | None = None,
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
        self._server.quiet_s = quiet_s
        self._server.context = context
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
    quiet_s = QUIET_S
    context: Callable[[], ssl.SSLContext] | None = None

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._due: dict[socket.socket, float] = {}
        self._quiet: dict[socket.socket, float] = {}  # those waited on, and since when
        self._hosts: dict[socket.socket, str] = {}
        self._counting = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind, and look up no name: that may take as long as a resolver pleases."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def verify_request(self, request: object, client_address: object) -> bool:
        """Take a connection when there is room, or when another can make it."""
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type checker
        host = str(client_address[0]) if isinstance(client_address, tuple) else ""
        now = time.monotonic()
        with self._counting:
            full = len(self._due) >= self.most_connections
            if full and not (self._end_quiet(now) or self._end_of_most(host)):
                return False
            self._due[request] = now + self.request_s
            self._quiet[request] = now
            self._hosts[request] = host
            return True

    def _end_quiet(self, now: float) -> bool:
        """End the connection that was quiet for longest, if that is long enough."""
        oldest = next(iter(self._quiet), None)
        if oldest is None or now - self._quiet[oldest] < self.quiet_s:
            return False
        self._let_go(oldest)
        return True

    def _end_of_most(self, host: str) -> bool:
        """End the oldest connection of another address that holds more than half of all, if there is one."""
        held = Counter(self._hosts.values())
        most = max(held, key=lambda one: held[one], default=host)
        if most == host or held[most] * 2 <= self.most_connections:
            return False
        self._let_go(next(one for one, whose in self._hosts.items() if whose == most))
        return True

    def _let_go(self, connection: socket.socket) -> None:
        """End a connection, whose thread then sees the end."""
        for known in (self._due, self._quiet, self._hosts):
            known.pop(connection, None)
        _end(connection)

    def begin_request(self, connection: socket.socket) -> None:
        """Give a connection its time for one more request."""
        now = time.monotonic()
        with self._counting:
            if self._due.pop(connection, None) is not None:
                self._due[connection] = now + self.request_s
                self._quiet.pop(connection, None)
                self._quiet[connection] = now

    def hear_request(self, connection: socket.socket) -> None:
        """Note that a connection has asked something, is being answered, and makes room for nobody."""
        with self._counting:
            self._quiet.pop(connection, None)

    def finish_request(self, request: object, client_address: object) -> None:
        """Secure a connection, on its own thread, and answer what it asks."""
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type checker
        if self.context is None:
            super().finish_request(request, client_address)
            return
        context = self.context()
        request.settimeout(HANDSHAKE_S)
        with self._counting:
            if request not in self._due:
                return
            secured = context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            self._due.pop(request)
            self._due[secured] = time.monotonic() + HANDSHAKE_S
            self._quiet[secured] = self._quiet.pop(request)
            self._hosts[secured] = self._hosts.pop(request)
        try:
            secured.do_handshake()
        except OSError as error:
            _log.debug("a connection was not secured", why=str(error))
        else:
            super().finish_request(secured, client_address)
        finally:
            self.shutdown_request(secured)

    def shutdown_request(self, request: object) -> None:
        """Forget a connection, and end it."""
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type checker
        with self._counting:
            for known in (self._due, self._quiet, self._hosts):
                known.pop(request, None)
        _end(request)
        self.close_request(request)

    def service_actions(self) -> None:
        """End the connections whose time is over; their threads then see the end."""
        now = time.monotonic()
        with self._counting:
            for connection, due in self._due.items():
                if due < now:
                    _end(connection)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Note a connection that broke off; anybody can break one off."""
        _log.debug("a connection broke off", exc_info=True)


def _end(connection: socket.socket) -> None:
    """End a connection, whoever reads from it or writes to it just now."""
    with contextlib.suppress(OSError):  # it ended by itself
        # Not SSLSocket's own: that would have a thread that still writes go on without encryption.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
