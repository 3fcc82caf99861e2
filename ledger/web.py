"""The static files over HTTP, as C2SP tlog-tiles wants them served, and nothing else of the folder.

Tiles and bundles never change under their path and may be cached for ever; the checkpoint may not.
"""

import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import structlog

from ledger.errors import ObjectError
from ledger.objects.interface import ObjectStore
from ledger.publisher import CHECKPOINT

_NUMBER: Final = r"(?:x\d{3}/)*\d{3}(?:\.p/(?:[1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-5]))?"
_SERVED: Final = re.compile(
    rf"checkpoint|tile/(?:[0-9]|[1-5][0-9]|6[0-3]|entries)/{_NUMBER}|bodies/{_NUMBER}"
)
_FOREVER: Final = "public, max-age=31536000, immutable"
_TIMEOUT_S: Final = 30

_log = structlog.get_logger("stillwatch.ledger")


class WebServer:
    """Serves a log's files on an address until it is closed."""

    def __init__(self, host: str, port: int, objects: ObjectStore) -> None:
        handler = type("Handler", (_Handler,), {"objects": objects})
        self._server = _Server((host, port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="web", daemon=True)
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
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    objects: ObjectStore
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT_S
    server_version = "stillwatch"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def _answer(self, *, send_body: bool) -> None:
        path = self.path.removeprefix("/")
        try:
            data = self.objects.get(path) if _SERVED.fullmatch(path) else None
        except ObjectError as error:
            _log.error("a file could not be read", path=path, reason=error.reason, error=str(error))
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, b"cannot be read\n", "no-store", send_body)
            return
        if data is None:
            self._send(HTTPStatus.NOT_FOUND, b"not here\n", "no-store", send_body)
        else:
            cache = "no-cache" if path == CHECKPOINT else _FOREVER
            self._send(HTTPStatus.OK, data, cache, send_body)

    def _send(self, status: HTTPStatus, data: bytes, cache: str, send_body: bool) -> None:
        is_text = status is not HTTPStatus.OK or cache == "no-cache"
        self.send_response(status)
        self.send_header(
            "Content-Type", "text/plain; charset=utf-8" if is_text else "application/octet-stream"
        )
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", cache)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if send_body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        _log.debug("served", line=format % args)
