"""The agent's process: polls, closes windows, signs, spools, and lets the uplink send.

Three threads: the poller reads sources, the uplink talks to the ledger, and the one that calls
``run`` does the rest, so that neither a slow driver nor a slow ledger holds up a window. A source
that hangs keeps the poller that asked it, and another one goes on with the others.
"""

import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from attestor.backoff import Backoff, Patience
from attestor.bell import Bell
from attestor.chain import Chain, Draw, signs
from attestor.config import AgentConfig, NodeConfig
from attestor.errors import AttestorError, SpoolError
from attestor.log_view import LogView
from attestor.node import Node, Windows
from attestor.poller import Polling
from attestor.sampler import NodeSampler
from attestor.sealer import Sealer
from attestor.spool import Spool, Spooled
from attestor.uplink import Ledger, Uplink, newest_logged
from attestor.uploader import Uploader
from statements.author import Seen, Statement
from statements.clock import Clock
from statements.errors import SubmissionError
from statements.kinds import Kind
from statements.log_trust import LogTrust
from statements.pins import Pins

_log = structlog.get_logger("stillwatch.agent")

SOFTWARE: Final = "stillwatch-agent 0.1.0"
_TICK_S: Final = 0.05
"""Real time between two looks while something waits: for a source, the ledger, or the disk."""
_LOOK_S: Final = 1.0
"""Real time between two looks when nobody rings."""
_TELL_EVERY_S: Final = 60.0
"""Real time between two lines of progress in the agent's own log."""
_WINDOWS_AT_ONCE: Final = 60
"""Windows of a node closed before they are spooled: after a long sleep of the machine there are many."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: windows closed, statements acknowledged, those left in the spools, and those lost.

    Lost is what was never spooled: a disk that stayed full, a first start that never reached its ledger.
    """

    windows: int
    acknowledged: int
    unlogged: int
    lost: int = 0


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
        self._stopping = False
        self._bell = Bell()
        self._inherited: dict[bytes, tuple[bytes, list[Statement]]] = {}
        self._tell_at = monotonic() + _TELL_EVERY_S
        self._asking = Patience(Backoff(0.1, 10.0, jitter))
        self._spooling = Patience(Backoff(0.2, 10.0, jitter))
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
                        author=node.author,
                        sealer=_sealer(config.pins, spools[node.spool], node, draw),
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
        view = LogView(LogTrust.of(config.pins, config.log))
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
        self._stopping = True
        self._bell.ring()

    def run(self, until_ms: int | None = None) -> Outcome:
        """Work until stopped, or until every window that ends by ``until_ms`` was closed; drain.

        Raises AttestorError, drained as well as it can be, when a thread of it has died.
        """
        polling = Polling(
            [node.windows.sampler for node in self.nodes],
            self._clock,
            self._bell,
            window_ms=self._config.pins.window_ms,
            monotonic=self._monotonic,
        )
        uploader = Uploader(self._uplink, draw=self._jitter)
        _log.info(
            "attesting",
            ledger=self._config.ledger,
            log=self._config.log.origin,
            agreement=f"sha256:{self._config.pins.digest.hex()}",
            nodes=[node.name for node in self.nodes],
            window_s=self._config.pins.window_ms / 1000,
        )
        polling.start()
        while not self._stopping and not self._is_done(until_ms):
            polling.give_up_on(self._config.patience_s / 2)  # so that the others make their window
            self._close_windows(until_ms)
            self._bring_on(uploader)
            self._tell_progress()
            if not polling.is_alive or uploader.has_died:
                break
            polling.ring_at_ms = min(node.windows.span.end_ms for node in self.nodes)
            self._bell.wait(_TICK_S if self._is_waiting() else _LOOK_S)
        dead = [] if polling.is_alive else ["poller"]
        dead += [uploader.name] if uploader.has_died else []
        polling.stop()
        _log.info("stopping: what was said is sent first", within_s=self._config.drain_s)
        outcome = self._drain(uploader)
        uploader.stop()
        if uploader.ident:
            uploader.join(timeout=5.0)
        if dead:
            raise AttestorError(
                "THREAD_DIED",
                f"the agent's {dead[0]} ended on its own: this is a defect, its trace is above; start the agent again",
            )
        return outcome

    def _is_waiting(self) -> bool:
        """Return whether there is something to do that could not be done yet."""
        return any(
            node.chain.waiting or node.chain.pending or node.windows.waiting_since is not None
            for node in self.nodes
        )

    def _is_done(self, until_ms: int | None) -> bool:
        return until_ms is not None and all(
            node.windows.span.end_ms > until_ms for node in self.nodes
        )

    def _tell_progress(self) -> None:
        if self._monotonic() < self._tell_at:
            return
        self._tell_at = self._monotonic() + _TELL_EVERY_S
        unlogged, unsaid = self._left()
        _log.info(
            "progress",
            windows=sum(node.windows.closed for node in self.nodes),
            acknowledged=self._uplink.acknowledged,
            in_memory=unsaid,
            unlogged=unlogged,
            proven=self._uplink.freed,
            log_size=self._uplink.seen.size,
        )

    def _bring_on(self, uploader: Uploader) -> None:
        """Get what was said into the spools, and the uplink going, as far as that can be done now."""
        self._try("waiting for the ledger", self._asking, self._begin_chains)
        if not uploader.ident and not any(node.chain.waiting for node in self.nodes):
            uploader.start()  # not before: the ledger's client is one thread's at a time

        def spool() -> None:
            seen = (
                self._uplink.seen
            )  # first: an epoch whose successor is in there is given up before it is used
            self._restate_inherited()
            self._reopen()
            if self._spool(seen):
                uploader.wake()

        self._try("spool", self._spooling, spool)

    def _try(self, what: str, patience: Patience, work: Callable[[], None]) -> None:
        """Do something that may fail for a while: then say so, and leave it alone for ever longer."""
        if self._monotonic() < patience.not_before:
            return
        try:
            work()
        except (SpoolError, SubmissionError) as error:
            wait = patience.backoff.fail()
            patience.not_before = self._monotonic() + wait
            _log.warning(what, reason=error.reason, why=str(error), again_in_s=round(wait, 2))
        else:
            patience.backoff.succeed()

    def _begin_chains(self) -> None:
        """Find after which statement each node goes on: what its spool says, else the ledger.

        A node that has never spooled anything must not open its chain before the ledger has said
        what is logged of it, or a lost spool would look like a first start. Its windows wait in memory.
        """
        for node in self.nodes:
            if not node.chain.waiting:
                continue
            unlogged = node.spool.unlogged(node.author, 1_000_000)
            if unlogged and not signs(node.chain.key, unlogged[-1].statement):
                self._inherit(node, unlogged)
            else:
                node.chain.begin(self._previous(node))

    def _inherit(self, node: Node, unlogged: Sequence[Spooled]) -> None:
        """Go on after the node's last key, and take up what that left unlogged: the ledger takes it no more."""
        heads = self._ledger.author(node.author)
        newest = newest_logged(heads)
        lost = [
            item.statement
            for item in unlogged
            if not any(h.epoch == item.epoch and h.sequence >= item.sequence for h in heads)
        ]
        self._inherited[node.author] = newest, lost
        self._uplink.hold(node.author)
        node.chain.begin(newest)

    def _restate_inherited(self) -> None:
        """Say again what another key left, once it is known what to say of the node."""
        for node in self.nodes:
            if node.author in self._inherited and (
                node.windows.life.telemetry or node.chain.pending
            ):
                node.chain.reopen(*self._inherited.pop(node.author))

    def _previous(self, node: Node) -> bytes:
        own = node.spool.head(node.author)
        if own is not None and node.spool.unlogged(node.author, 1):
            return own.id  # logged before the opening is: order is kept
        try:
            heads = self._ledger.author(node.author)
        except SubmissionError:
            if own is None:
                raise
            return own.id
        if own is not None and not any(
            head.epoch == own.epoch and head.sequence >= own.sequence for head in heads
        ):
            _log.error(
                "the ledger does not show what it acknowledged: the chain goes on after that all the same",
                node=node.name,
                reason="LOG_SHRANK",
                statement=own.id.hex(),
            )
            return own.id
        return newest_logged(heads)

    def _close_windows(self, until_ms: int | None) -> None:
        for node in self.nodes:
            dropped = node.chain.dropped
            node.windows.follow(self._clock.now_ms())
            for _ in range(_WINDOWS_AT_ONCE):
                if until_ms is not None and node.windows.span.end_ms > until_ms:
                    break
                if not node.windows.is_due(
                    self._clock.now_ms(), self._monotonic(), self._config.patience_s
                ):
                    break
                node.windows.close_one()
            else:
                self._bell.ring()  # there are more
            if node.chain.dropped > dropped:
                _log.error(
                    "too much waits to be spooled: the oldest is lost",
                    node=node.name,
                    reason="WINDOWS_LOST",
                    lost=node.chain.dropped,
                )

    def _spool(self, seen: Seen) -> bool:
        """Sign and commit all that is pending, one transaction a spool. True if there was any."""
        any_said = False
        for spool, _ in self._authors:
            speaking = [n for n in self.nodes if n.spool is spool and n.chain.pending]
            for node in speaking:
                node.chain.settle(spool.head(node.author))
            now = self._clock.now_ms()
            signed = [(node, node.chain.sign(now, seen, node.windows.life)) for node in speaking]
            said = [item for _, items in signed for item in items]
            if not said:
                continue
            spool.add(
                said,
                forsaking=[node.author for node in speaking if node.chain.forsakes],
            )
            any_said = True
            for node, items in signed:
                if items:
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
            try:
                unlogged = node.spool.unlogged(wedge.author, 1_000_000)
            except SpoolError:
                self._uplink.wedges.put(wedge)
                raise
            dropped = node.chain.dropped
            node.chain.reopen(wedge.previous, [item.statement for item in unlogged])
            if node.chain.dropped > dropped:
                _log.error(
                    "statements in the spool are no longer what was signed: they are lost; check the disk",
                    node=node.name,
                    reason="WINDOWS_LOST",
                    lost=node.chain.dropped,
                )

    def _drain(self, uploader: Uploader) -> Outcome:
        """Spool what is pending and wait for the uplink to send it, for as long as is allowed."""
        deadline = self._monotonic() + self._config.drain_s
        while True:
            self._bring_on(uploader)
            unlogged, unsaid = self._left()
            if not unlogged and not unsaid:
                break
            if self._monotonic() >= deadline or uploader.has_died:
                break
            time.sleep(_TICK_S)
        return Outcome(
            windows=sum(node.windows.closed for node in self.nodes),
            acknowledged=self._uplink.acknowledged,
            unlogged=unlogged,
            lost=unsaid + sum(node.chain.dropped for node in self.nodes),
        )

    def _left(self) -> tuple[int, int]:
        """Return how many statements are spooled and unlogged, and how many sayings were never spooled."""
        unsaid = sum(node.chain.pending for node in self.nodes)
        try:
            return sum(spool.count()[0] for spool, _ in self._authors), unsaid
        except SpoolError as error:
            _log.error("draining", reason=error.reason, why=str(error))
            return 1, unsaid


def _sealer(pins: Pins, spool: Spool, node: NodeConfig, draw: Draw) -> Sealer | None:
    """Return what seals a node's summaries, where the agreement has them sealed."""
    to = pins.disclosures.of_kind.get(Kind.SUMMARY)
    return None if to is None else Sealer(to, spool.secret(draw), node.author or node.key.key_id)
