"""The static files over HTTP, as C2SP tlog-tiles wants them served, and nothing else of the folder.

Tiles and bundles never change under their path and may be cached for ever; the checkpoint may not.
"""

import re
import ssl
from http import HTTPStatus
from io import BytesIO
from typing import BinaryIO, Final

import structlog

from ledger.access import AccessError, Permission
from ledger.errors import ObjectError
from ledger.http_server import (
    IDLE_S,
    MOST_CONNECTIONS,
    QUIET_S,
    REQUEST_S,
    BoundedServer,
    Handler,
)
from ledger.objects.interface import ObjectStore
from ledger.publisher import CHECKPOINT
from ledger.tls import ServerTls

_NUMBER: Final = r"(?:x\d{3}/)*\d{3}(?:\.p/(?:[1-9]|[1-9]\d|1\d\d|2[0-4]\d|25[0-5]))?"
_SERVED: Final = re.compile(
    rf"checkpoint|tile/(?:[0-9]|[1-5][0-9]|6[0-3]|entries)/{_NUMBER}|bodies/{_NUMBER}"
)
_FOREVER: Final = "public, max-age=31536000, immutable"

_log = structlog.get_logger("stillwatch.ledger")


class WebServer(BoundedServer):
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
        quiet_s: float = QUIET_S,
        tls: ServerTls | None = None,
    ) -> None:
        handler = type("Files", (_Files,), {"objects": objects, "timeout": idle_s, "tls": tls})
        super().__init__(
            host,
            port,
            handler,
            most_connections=most_connections,
            request_s=request_s,
            quiet_s=quiet_s,
            context=None if tls is None else tls.context,
        )


class _Files(Handler):
    objects: ObjectStore
    tls: ServerTls | None

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        self._answer(send_body=True)

    def do_HEAD(self) -> None:  # noqa: N802 - http.server's name
        self._answer(send_body=False)

    def _answer(self, *, send_body: bool) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # what follows is not a request, and nobody asked for it
        try:
            self._verify_may_read()
        except AccessError as error:
            words = BytesIO(f"{error} [{error.reason}]\n".encode())
            self._send(HTTPStatus.FORBIDDEN, words, "no-store", send_body)
            return
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

    def _verify_may_read(self) -> None:
        clients = None if self.tls is None else self.tls.clients()
        if clients is None or clients.tiles_for_anybody:
            return
        shown = None
        if isinstance(self.connection, ssl.SSLSocket):
            shown = self.connection.getpeercert(binary_form=True)
        certificate = b"" if shown is None else ssl.DER_cert_to_PEM_cert(shown).encode()
        clients.verify_may(certificate, frozenset({Permission.READ}))

    def _send(self, status: HTTPStatus, file: BinaryIO, cache: str, send_body: bool) -> None:
        is_text = status is not HTTPStatus.OK or cache == "no-cache"
        headers = {
            "Content-Type": "text/plain; charset=utf-8" if is_text else "application/octet-stream",
            "Cache-Control": cache,
            "Access-Control-Allow-Origin": "*",
        }
        self.send(status, file, headers, send_body=send_body)
