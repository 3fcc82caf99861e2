"""The witness over HTTP: ``POST add-checkpoint``, after C2SP tlog-witness, until it is told to stop."""

import signal
import threading
from collections.abc import Callable
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Final

import structlog

from ledger.address import Address
from ledger.errors import WitnessStoreError
from ledger.http_server import BoundedServer, Handler
from ledger.output import tell_ready
from ledger.tls import ServerTls
from ledger.witness.folder import WitnessFolder
from ledger.witness.memory import UNSYNCED_MEMORY
from ledger.witness.witness import Witness
from statements.clock import Clock
from tlog.errors import WitnessError
from tlog.witness import ADD_CHECKPOINT, REQUEST_LIMIT, SIZE_TYPE

_TEXT: Final = "text/plain; charset=utf-8"

_log = structlog.get_logger("stillwatch.witness")


class WitnessServer(BoundedServer):
    """Answers for a witness on an address until it is closed.

    ``give_up`` is told of the error after which the memory answers no more. Raises :class:`SetupError` when the address
    cannot be listened on.
    """

    def __init__(
        self,
        address: Address,
        witness: Witness,
        give_up: Callable[[WitnessStoreError], None] = lambda _: None,
        tls: ServerTls | None = None,
    ) -> None:
        parts = {"witness": witness, "give_up": staticmethod(give_up)}
        super().__init__(
            address.host,
            address.port,
            type("Asking", (_Asking,), parts),
            context=None if tls is None else tls.context,
        )


class _Asking(Handler):
    witness: Witness
    give_up: Callable[[WitnessStoreError], None]

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        body = self._body()
        if body is None:
            return
        if self.path.strip("/") != ADD_CHECKPOINT:
            self._say(HTTPStatus.NOT_FOUND, f"only {ADD_CHECKPOINT} is answered here\n")
            return
        try:
            lines = self.witness.add_checkpoint(body)
        except WitnessError as error:
            _log.info("refused", reason=error.reason, why=str(error))
            if error.known_size is not None:
                self._say(error.status, f"{error.known_size}\n", SIZE_TYPE)
            else:
                self._say(error.status, f"{error} [{error.reason}]\n")
        except WitnessStoreError as error:
            _log.error("cannot remember", reason=error.reason, why=str(error))
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, f"cannot remember [{error.reason}]\n")
            if error.reason == UNSYNCED_MEMORY:
                self.give_up(error)
        else:
            self._say(HTTPStatus.OK, "".join(line.encode() for line in lines))

    def _body(self) -> bytes | None:
        """Read the request's body; ``None`` when there is none that can be read, and that was answered."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self._say(HTTPStatus.LENGTH_REQUIRED, "a request names its length\n")
            return None
        if int(length) > REQUEST_LIMIT:
            self.close_connection = True
            self._say(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {REQUEST_LIMIT} bytes are read\n"
            )
            return None
        return self.read_body(int(length))

    def _say(self, status: HTTPStatus, text: str, kind: str = _TEXT) -> None:
        headers = {"Content-Type": kind, "Cache-Control": "no-store"}
        self.send(status, BytesIO(text.encode()), headers)


def serve_witness(
    folder: WitnessFolder,
    clock: Clock,
    address: Address,
    ready_file: Path | None,
    tls: ServerTls | None,
) -> None:
    """Run a witness until SIGTERM or SIGINT; raises :class:`WitnessStoreError` once its memory is in doubt."""
    stopping = threading.Event()
    lost: list[WitnessStoreError] = []

    def give_up(error: WitnessStoreError) -> None:
        lost.append(error)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with folder.held():
        memory = folder.memory()
        try:
            server = WitnessServer(address, Witness(memory, folder.keys, clock), give_up, tls)
            scheme = "http" if tls is None else "https"
            place = f"{scheme}://{Address(address.host, server.port)}/"
            _log.info("serving", name=folder.name, http=place, logs=list(memory.origins()))
            tell_ready(ready_file, {"http": place})
            stopping.wait()
            server.close()
        finally:
            memory.close()
    if lost:
        raise lost[0]
    _log.info("stopped")
