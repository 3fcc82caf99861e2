"""The agent's process: polls, closes windows, signs, spools, and lets the uplink send.

Three threads: the poller reads sources, the uplink talks to the ledger, and the one that calls
``run`` does the rest, so that neither a slow driver nor a slow ledger holds up a window.
"""

import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from attestor.chain import Chain, Draw
from attestor.config import AgentConfig
from attestor.errors import AttestorError, SpoolError
from attestor.log_view import LogView
from attestor.node import Node, Windows
from attestor.sampler import NodeSampler, Poller
from attestor.spool import Spool
from attestor.uplink import Backoff, Ledger, Uplink, Uploader, newest_logged
from statements.clock import Clock
from statements.errors import SubmissionError

_log = structlog.get_logger("stillwatch.agent")

SOFTWARE: Final = "stillwatch-agent 0.1.0"
_TICK_S: Final = 0.05
"""Real time between two looks at whether a window is over."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: windows closed, statements acknowledged, and those left in the spools."""

    windows: int
    acknowledged: int
    unlogged: int


class Agent:
    """The nodes of one configuration, on one clock, against one ledger.

    ``draw`` gives randomness for salts and epochs, ``jitter`` for backoff; ``monotonic`` is real
    seconds.
    """

    def __init__(
        self,
        config: AgentConfig,
        ledger: Ledger,
        clock: Clock,
        *,
        draw: Draw = secrets.token_bytes,
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._clock = clock
        self._jitter = jitter
        self._monotonic = monotonic
        self._stopping = threading.Event()
        spools = {node.spool: Spool(node.spool) for node in config.nodes}
        window_ms = config.pins.window_ms
        self.nodes: list[Node] = [
            Node(
                node.name,
                Windows.begin(
                    NodeSampler(node.name, node.sources, window_ms),
                    Chain(
                        node.key,
                        origin=config.log.origin,
                        agreement=config.pins.digest,
                        software=SOFTWARE,
                        draw=draw,
                    ),
                    window_ms=window_ms,
                    now_ms=clock.now_ms(),
                ),
                spools[node.spool],
            )
            for node in config.nodes
        ]
        authors = [
            (spool, [n.author for n in self.nodes if n.spool is spool]) for spool in spools.values()
        ]
        view = LogView(config.log)
        for spool, _ in authors:
            view.resume(spool.seen(view.log))
        self._authors = authors
        self._uplink = Uplink(
            ledger,
            view,
            authors,
            monotonic=monotonic,
            draw=jitter,
            checkpoint_every_s=config.checkpoint_every_s,
        )

    def stop(self) -> None:
        """Ask ``run`` to drain and return. Safe in a signal handler."""
        self._stopping.set()

    def run(self, until_ms: int | None = None) -> Outcome:
        """Work until stopped, or until every window that ends by ``until_ms`` was closed; drain."""
        poller = Poller(
            [node.windows.sampler for node in self.nodes],
            self._clock,
            max(10, self._config.pins.window_ms // 10),
        )
        poller.start()
        self._await_heads()
        uploader = Uploader(self._uplink, idle_s=0.25, draw=self._jitter)
        uploader.start()
        spooling = Backoff(0.2, 10.0, self._jitter)
        not_before = 0.0
        while not self._stopping.is_set() and not self._is_done(until_ms):
            self._reopen()
            self._close_windows(until_ms)
            if self._monotonic() >= not_before:
                try:
                    if self._spool(self.nodes):
                        uploader.wake()
                    spooling.succeed()
                except SpoolError as error:
                    wait = spooling.fail()
                    not_before = self._monotonic() + wait
                    _log.error("spool", reason=error.reason, why=str(error), again_in_s=wait)
            self._stopping.wait(_TICK_S)
        poller.stop()
        outcome = self._drain(uploader)
        uploader.stop()
        uploader.join(timeout=5.0)
        return outcome

    def _is_done(self, until_ms: int | None) -> bool:
        return until_ms is not None and all(
            node.windows.span.end_ms > until_ms for node in self.nodes
        )

    def _await_heads(self) -> None:
        """Find after which statement each node goes on: what its spool says, else the ledger.

        A node that has never spooled anything must not open its chain before the ledger has said
        what is logged of it, or a lost spool would look like a first start.
        """
        backoff = Backoff(0.1, 10.0, self._jitter)
        for node in self.nodes:
            author = node.author
            while node.chain.waiting and not self._stopping.is_set():
                head = node.spool.head(author)
                if head is not None and node.spool.unlogged(author, 1):
                    node.chain.begin(head.id)  # logged before the opening is: order is kept
                    break
                try:
                    node.chain.begin(newest_logged(self._ledger.author(author)))
                    backoff.succeed()
                except SubmissionError as error:
                    if head is not None:
                        node.chain.begin(head.id)
                        break
                    wait = backoff.fail()
                    _log.warning(
                        "waiting for the ledger",
                        reason=error.reason,
                        why=str(error),
                        again_in_s=round(wait, 2),
                    )
                    self._stopping.wait(wait)

    def _close_windows(self, until_ms: int | None) -> None:
        for node in self.nodes:
            while node.windows.is_due(
                self._clock.now_ms(), self._monotonic(), self._config.patience_s
            ) and not (until_ms is not None and node.windows.span.end_ms > until_ms):
                node.windows.close_one()

    def _spool(self, nodes: Sequence[Node]) -> bool:
        """Sign and commit all that is pending, one transaction a spool. True if there was any."""
        any_said = False
        for spool, _ in self._authors:
            speaking = [node for node in nodes if node.spool is spool]
            for node in speaking:
                node.chain.settle(spool.head(node.author))
            now = self._clock.now_ms()
            signed = {
                node.name: node.chain.sign(now, self._uplink.seen, node.windows.life)
                for node in speaking
            }
            said = [item for items in signed.values() for item in items]
            if not said:
                continue
            spool.add(
                said,
                forsaking=[node.author for node in speaking if node.chain.forsakes],
            )
            any_said = True
            for node in speaking:
                if signed[node.name]:
                    reopened = node.chain.forsakes
                    node.chain.keep()
                    if reopened:
                        self._uplink.release(node.author)
        return any_said

    def _reopen(self) -> None:
        """Open new epochs for chains that the ledger says cannot go on."""
        by_author = {node.author: node for node in self.nodes}
        while not self._uplink.wedges.empty():
            wedge = self._uplink.wedges.get()
            node = by_author[wedge.author]
            unlogged = node.spool.unlogged(wedge.author, 1_000_000)
            node.chain.reopen(wedge.previous, [item.statement for item in unlogged])

    def _drain(self, uploader: Uploader) -> Outcome:
        """Spool what is pending and wait for the uplink to send it, for as long as is allowed."""
        deadline = self._monotonic() + self._config.drain_s
        unlogged = 1
        while unlogged and self._monotonic() < deadline:
            try:
                self._reopen()
                if self._spool(self.nodes):
                    uploader.wake()
                unlogged = sum(spool.count()[0] for spool, _ in self._authors)
            except AttestorError as error:
                _log.error("draining", reason=error.reason, why=str(error))
            if unlogged:
                time.sleep(_TICK_S)
        return Outcome(
            windows=sum(node.windows.closed for node in self.nodes),
            acknowledged=self._uplink.acknowledged,
            unlogged=unlogged,
        )
