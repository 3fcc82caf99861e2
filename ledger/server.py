"""The running ledger: its parts put together, its beat, and its end.

The event loop answers clients, a thread writes the journal's records; screening, and the integrator that writes the
served files and signs, are processes beside this one. SIGTERM drains: no more batches, answers to what was sent, a last
checkpoint.
"""

import asyncio
import gc
import resource
import secrets
import signal
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ledger.address import Address
from ledger.appending import Appending
from ledger.errors import JournalError, ObjectError, ProcessError, QuorumError, SetupError
from ledger.folder import LedgerFolder
from ledger.following import Announcer, Following
from ledger.founding import FOUNDED, read_agreement
from ledger.guard import Guard
from ledger.journal.interface import Journal
from ledger.journal.registry import open_journal
from ledger.keyring import Keyring
from ledger.limits import Limits
from ledger.objects.registry import open_store
from ledger.output import tell_ready
from ledger.processes.nursery import Nursery
from ledger.publisher import Published
from ledger.publishing import Publishing
from ledger.quotas import Quotas
from ledger.reading import Reading
from ledger.screeners.interface import Screener
from ledger.screeners.processes import ScreeningProcesses
from ledger.screeners.threads import ScreeningThreads
from ledger.sequencer import Sequencer
from ledger.service import SERVICE, service_handlers
from ledger.ticks import Ticker
from ledger.tls import ServerTls, open_port
from ledger.web import WebServer
from ledger.writer import Writer
from statements.clock import Clock
from statements.pins import read_pins
from statements.verification.registry import chosen

_GRACE_S: Final = 3.0
"""Real seconds that calls, and then the last checkpoint, get when the ledger stops."""

_GARBAGE_AT: Final = 50_000
"""Objects between two looks for cycles, of which a batch leaves none: looking at each is what costs."""

_OWN_FILES: Final = 400
"""Open files that connections must leave to the journal, the object store and the web server."""

_log = structlog.get_logger("stillwatch.ledger")


@dataclass(frozen=True, slots=True)
class Serving:
    """How to serve: addresses, the beat in real seconds, the tick in clock milliseconds (``None``: the agreement's).

    ``screeners`` processes verify signatures beside the ledger's own; with none, threads of it do.
    """

    grpc: Address
    http: Address
    beat_s: float
    tick_ms: int | None
    ready_file: Path | None
    screeners: int
    limits: Limits = field(default_factory=Limits)
    tls: Path | None = None
    """The folder of what connections are secured with; ``None``: they are not, and stay on this machine."""


class Server:
    """One ledger from its opening to its end. ``run`` returns when it was told to stop, and has."""

    def __init__(
        self,
        folder: LedgerFolder,
        journal: Journal,
        clock: Clock,
        how: Serving,
        nursery: Nursery,
    ) -> None:
        self._agreement = read_agreement(journal)
        pins = read_pins(self._agreement)
        folder.verify_pinned(pins)
        self._how = how
        self._nursery = nursery
        self._signatures = chosen()
        self._tls = None if how.tls is None else ServerTls(how.tls)
        self._journal = journal
        self._objects = open_store(folder.objects, folder.path)
        self._keyring = Keyring(pins, folder.key.key_id)
        if journal.size() < FOUNDED:
            raise SetupError(
                "HALF_FOUNDED",
                f"the log in {folder.path} was begun, and stopped half-way: "
                f"`stillwatch ledger init {folder.path} --agreement FILE` goes on",
            )
        self._sequencer = Sequencer(journal, self._keyring, clock, Quotas.of(how.limits))
        self._publishing = Publishing(nursery, folder.path, how.tls)
        self._announcer = Announcer()
        self._ticker = Ticker(
            self._sequencer,
            clock,
            key=folder.key,
            origin=folder.origin,
            every_ms=how.tick_ms or pins.tick_ms,
            draw=secrets.token_bytes,
        )
        self._checks = health.aio.HealthServicer()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises :class:`ForkError` when the log would fork: nothing is signed then."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        writer = Writer(self._sequencer)
        reading = Reading(self._sequencer, writer, self._journal, self._objects, self._publishing)
        screener = self._screener()
        appending = Appending(writer, screener, self._how.limits)
        following = Following(self._announcer, self._how.limits)
        async with AsyncExitStack() as closing:
            for part in (writer.close, reading.close):
                closing.callback(part)
            for process in (screener, self._publishing):
                closing.push_async_callback(process.close)
            await screener.start()
            await self._open()
            server, port = self._listen(appending, reading, following)
            await self._publish()
            web = WebServer(self._how.http.host, self._how.http.port, self._objects, tls=self._tls)
            closing.callback(web.close)
            await server.start()
            self._tell(Address(self._how.grpc.host, port), Address(self._how.http.host, web.port))
            gc.collect()
            gc.freeze()
            ticking = self._ticker.run(lambda: self._tick(writer))
            tasks = [asyncio.create_task(work) for work in (writer.run(), self._beat(), ticking)]
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
                _log.info("stopping")
                await self._checks.enter_graceful_shutdown()
                appending.drain()
                following.drain()
                await server.stop(_GRACE_S)
                draining = asyncio.create_task(writer.drain())
                await asyncio.wait([draining, *tasks], return_when=asyncio.FIRST_COMPLETED)
                if not any(task.done() for task in tasks):
                    await self._publish_last()
            finally:
                for task in (stopping, *tasks):
                    task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
        _log.info("stopped", size=self._sequencer.size)

    async def _open(self) -> None:
        """Have the journal read twice at once: here for the chains, by the integrator for the tree."""
        opening = asyncio.create_task(self._publishing.start())
        try:
            await asyncio.to_thread(self._sequencer.catch_up)
            await opening
        finally:
            opening.cancel()

    def _screener(self) -> Screener:
        if self._how.screeners == 0:
            return ScreeningThreads(self._keyring)
        return ScreeningProcesses(
            self._nursery, self._keyring, self._agreement, self._how.screeners
        )

    def _listen(
        self, appending: Appending, reading: Reading, following: Following
    ) -> tuple[grpc.aio.Server, int]:
        limits = self._how.limits
        server = grpc.aio.server(
            options=limits.server_options(_room_for(limits.connections)),
            maximum_concurrent_rpcs=limits.calls,
            interceptors=[] if self._tls is None else [Guard(self._tls.clients, limits)],
        )
        server.add_generic_rpc_handlers((service_handlers(appending, reading, following, limits),))
        health_pb2_grpc.add_HealthServicer_to_server(self._checks, server)
        reflection.enable_server_reflection(
            (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        return server, open_port(server, self._how.grpc, self._tls)

    def _tell(self, rpc: Address, http: Address) -> None:
        scheme = "http" if self._tls is None else "https"
        places = {"grpc": str(rpc), "http": f"{scheme}://{http}"}
        backend, slower = self._signatures.backend.name, self._signatures.passed_over
        why = {"because": slower} if slower else {}
        _log.info("serving", size=self._sequencer.size, **places, signatures=backend, **why)
        tell_ready(self._how.ready_file, places)

    async def _publish(self, *, anew: bool = False) -> Published | None:
        """Publish; storage or witnesses that fail are told, and tried again with the next beat."""
        try:
            return await self._publishing.publish(anew=anew)
        except (JournalError, ObjectError, ProcessError, QuorumError, SetupError) as error:
            _log.error("cannot publish", reason=error.reason, error=str(error))
            return None
        finally:
            if self._publishing.published is not None:
                self._announcer.announce(self._publishing.published.note)

    async def _publish_last(self) -> None:
        """Publish what was acknowledged, unless disks or witnesses take their time: the journal has it all."""
        try:
            await asyncio.wait_for(self._publish(), _GRACE_S)
        except TimeoutError:
            _log.warning("stopping without a last checkpoint: the next start publishes it")

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
        published = await self._publish(anew=True)
        if published is None:
            return
        try:
            await writer.call(lambda: self._ticker.tick(published))
        except JournalError as error:
            _log.error("cannot tick", reason=error.reason, error=str(error))


def serve(folder: LedgerFolder, clock: Clock, how: Serving, nursery: Nursery) -> None:
    """Run a ledger until it is told to stop; the nursery has its other processes."""

    async def run() -> None:
        await Server(folder, journal, clock, how, nursery).run()

    gc.set_threshold(_GARBAGE_AT)
    with folder.held():
        journal = open_journal(folder.journal, folder.private)
        try:
            asyncio.run(run())
        finally:
            # It ends, and says why; told to end now, it would end without a word.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            journal.close()


def _room_for(connections: int) -> int:
    """Raise the limit of open files to what so many connections need, or return for how many there is room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OWN_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(connections, soft - _OWN_FILES))
