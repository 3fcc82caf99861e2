"""The running ledger: its parts put together, its beat, and its end.

Three threads change things, each its own: the writer the journal's records, the publisher the files and the signature,
the event loop everything else. SIGTERM drains: no more batches, answers to what was sent, a last checkpoint.
"""

import asyncio
import gc
import json
import secrets
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ledger.address import Address
from ledger.errors import JournalError, ObjectError, SetupError
from ledger.folder import LedgerFolder
from ledger.founding import read_agreement
from ledger.journal.interface import Journal
from ledger.journal.registry import open_journal
from ledger.keyring import Keyring
from ledger.objects.registry import open_store
from ledger.publisher import Published, Publisher
from ledger.reading import Reading
from ledger.sequencer import Sequencer
from ledger.service import SERVICE, TRANSPORT_LIMIT, LedgerService
from ledger.ticks import Ticker
from ledger.web import WebServer
from ledger.writer import Writer
from statements.clock import Clock
from statements.pins import read_pins

_GRACE_S: Final = 3.0
"""Real seconds that calls get to end when the ledger stops."""

_log = structlog.get_logger("stillwatch.ledger")


@dataclass(frozen=True, slots=True)
class Serving:
    """How to serve: addresses, the beat in real seconds, the tick in clock milliseconds (``None``: the agreement's)."""

    grpc: Address
    http: Address
    beat_s: float
    tick_ms: int | None
    ready_file: Path | None


class Server:
    """One ledger from its opening to its end. ``run`` returns when it was told to stop, and has."""

    def __init__(self, folder: LedgerFolder, journal: Journal, clock: Clock, how: Serving) -> None:
        pins = read_pins(read_agreement(journal))
        folder.verify_pinned(pins)
        self._how = how
        self._journal = journal
        self._objects = open_store(folder.objects, folder.path)
        self._keyring = Keyring(pins, folder.key.key_id)
        self._sequencer = Sequencer.open(journal, self._keyring, clock)
        self._publisher = Publisher(journal, self._objects, folder.signer)
        self._publisher.open()
        self._publishing = ThreadPoolExecutor(1, "publisher")
        self._ticker = Ticker(
            self._sequencer,
            clock,
            key=folder.key,
            origin=folder.origin,
            every_ms=how.tick_ms or pins.tick_ms,
            draw=secrets.token_bytes,
        )
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises :class:`ForkError` when the log would fork: nothing is signed then."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        writer = Writer(self._sequencer)
        reading = Reading(self._sequencer, writer, self._journal, self._objects, self._publisher)
        service = LedgerService(writer, self._keyring, reading)
        server, port = self._listen(service)
        await self._publish()
        web = WebServer(self._how.http.host, self._how.http.port, self._objects)
        await server.start()
        self._tell(Address(self._how.grpc.host, port), Address(self._how.http.host, web.port))
        gc.collect()
        gc.freeze()
        tasks = [
            asyncio.create_task(work)
            for work in (writer.run(), self._beat(), self._ticker.run(lambda: self._tick(writer)))
        ]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
            _log.info("stopping")
            service.drain()
            await server.stop(_GRACE_S)
            if not any(task.done() for task in tasks):
                await writer.drain()
                await self._publish()
        finally:
            for task in (stopping, *tasks):
                task.cancel()
            web.close()
            writer.close()
            service.close()
            reading.close()
            self._publishing.shutdown()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        _log.info("stopped", size=self._sequencer.size)

    def _listen(self, service: LedgerService) -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", TRANSPORT_LIMIT),
                ("grpc.max_send_message_length", TRANSPORT_LIMIT),
                ("grpc.so_reuseport", 0),
            ]
        )
        server.add_generic_rpc_handlers((service.handlers(),))
        checks = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        reflection.enable_server_reflection(
            (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        self._checks = checks
        try:
            return server, server.add_insecure_port(str(self._how.grpc))
        except RuntimeError as error:
            raise SetupError(
                "ADDRESS_IN_USE", f"cannot listen on {self._how.grpc}: is it in use?"
            ) from error

    def _tell(self, rpc: Address, http: Address) -> None:
        places = {"grpc": str(rpc), "http": f"http://{http}"}
        _log.info("serving", size=self._sequencer.size, **places)
        if self._how.ready_file is not None:
            fresh = self._how.ready_file.with_name(self._how.ready_file.name + ".new")
            fresh.write_text(json.dumps(places) + "\n")
            fresh.replace(self._how.ready_file)

    async def _publish(self) -> Published | None:
        """Publish; a storage that fails is told, and tried again with the next beat."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._publishing, self._publisher.publish)
        except (JournalError, ObjectError) as error:
            _log.error("cannot publish", reason=error.reason, error=str(error))
            return None

    async def _beat(self) -> None:
        for service in ("", SERVICE):
            await self._checks.set(service, health_pb2.HealthCheckResponse.SERVING)
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._how.beat_s, loop.time())
            await asyncio.sleep(due - loop.time())
            await self._publish()

    async def _tick(self, writer: Writer) -> None:
        published = await self._publish()
        if published is None:
            return
        try:
            await writer.call(lambda: self._ticker.tick(published))
        except JournalError as error:
            _log.error("cannot tick", reason=error.reason, error=str(error))


def serve(folder: LedgerFolder, clock: Clock, how: Serving) -> None:
    """Run a ledger until it is told to stop."""

    async def run() -> None:
        await Server(folder, journal, clock, how).run()

    with folder.held():
        journal = open_journal(folder.journal, folder.private)
        try:
            asyncio.run(run())
        finally:
            journal.close()
