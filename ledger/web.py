"""The static files over HTTP, as C2SP tlog-tiles wants them served, and nothing else of the folder.

Tiles and bundles never change under their path and may be cached for ever; the checkpoint may not. The server is meant
for auditors by the dozen; before the public stands a web server of its own kind. So that nobody can use it up, it takes
:data:`MOST_CONNECTIONS` at once, reads files in pieces, and gives a request :data:`REQUEST_S` seconds from its first
byte to its last answer.
"""

import os
import re
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from socketserver import TCPServer
from typing import BinaryIO, Final

import structlog

from ledger.errors import ObjectError, SetupError
from ledger.objects.interface import ObjectStore
from ledger.publisher import CHECKPOINT

MOST_CONNECTIONS: Final = 128
"""Connections at once; further ones are closed unanswered."""
REQUEST_S: Final = 120.0
"""Seconds in which a request must be read and answered."""
IDLE_S: Final = 30.0
"""Seconds that a connection may wait for its next bytes, or its client to take some."""

_NUMBER: Final = r"(?:x\d{3}/)*\d{3}(?:\.p/(?:[1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-5]))?"
_SERVED: Final = re.compile(
    rf"checkpoint|tile/(?:[0-9]|[1-5][0-9]|6[0-3]|entries)/{_NUMBER}|bodies/{_NUMBER}"
)
_FOREVER: Final = "public, max-age=31536000, immutable"
_PIECE: Final = 1 << 18

_log = structlog.get_logger("stillwatch.ledger")


class WebServer:
    """Serves a log's files on an address until it is closed.

    Raises :class:`SetupError` when the address cannot be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        objects: ObjectStore,
        *,
        most_connections: int = MOST_CONNECTIONS,
        request_s: float = REQUEST_S,
        idle_s: float = IDLE_S,
    ) -> None:
        handler = type("Handler", (_Handler,), {"objects": objects, "timeout": idle_s})
        server = type("Server", (_Server,), {"address_family": _family(host)})
        try:
            self._server: _Server = server((host, port), handler)
        except OSError as error:
            raise SetupError(
                "ADDRESS_IN_USE", f"cannot listen on {host} port {port}: {error.strerror}"
            ) from error
        self._server.most_connections = most_connections
        self._server.request_s = request_s
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="web", daemon=True
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


class _Server(ThreadingHTTPServer):
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


class _Handler(BaseHTTPRequestHandler):
    objects: ObjectStore
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    server_version = "stillwatch"
    sys_version = ""

    def handle_one_request(self) -> None:
        self.server.begin_request(self.connection)
        super().handle_one_request()

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def _answer(self, *, send_body: bool) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # what follows is not a request, and nobody asked for it
        path = self.path.removeprefix("/")
        try:
            file = self.objects.open(path) if _SERVED.fullmatch(path) else None
        except ObjectError as error:
            _log.error("a file could not be read", path=path, reason=error.reason, error=str(error))
            self._send(
                HTTPStatus.SERVICE_UNAVAILABLE, BytesIO(b"cannot be read\n"), "no-store", send_body
            )
            return
        if file is None:
            self._send(HTTPStatus.NOT_FOUND, BytesIO(b"not here\n"), "no-store", send_body)
            return
        with file:
            cache = "no-cache" if path == CHECKPOINT else _FOREVER
            self._send(HTTPStatus.OK, file, cache, send_body)

    def _send(self, status: HTTPStatus, file: BinaryIO, cache: str, send_body: bool) -> None:
        is_text = status is not HTTPStatus.OK or cache == "no-cache"
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        self.send_response(status)
        self.send_header(
            "Content-Type", "text/plain; charset=utf-8" if is_text else "application/octet-stream"
        )
        self.send_header("Content-Length", str(size))
        self.send_header("Cache-Control", cache)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        while send_body and (piece := file.read(_PIECE)):
            self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        _log.debug("served", line=format % args)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
