"""Sends spooled statements to the ledger, in order, and frees what the log proved to have.

What a ledger answers decides what happens next:

- a receipt, whose record must be what was sent, body held: kept, until inclusion is proven; a receipt for anything
  else counts as none, and is told;
- a gap: the epoch is sent again from the sequence wanted, if that is still spooled;
- a fork, a wrong previous, or something that can never be accepted: the epoch cannot go on, and the
  chain is told to open another one;
- anything else (not enrolled yet, no room, draining): tried again later, by author.

Before a newer checkpoint is believed, the ledger is asked whether anybody else has opened an epoch with a node's key.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, Protocol

import structlog

from attestor.backoff import Backoff
from attestor.log_view import LogView
from attestor.spool import Spool, Spooled
from statements.author import NOTHING, Seen, Statement
from statements.errors import SubmissionError
from statements.ledger_client import Head, InclusionProof, Receipt, Refusal, verify_receipt

_log = structlog.get_logger("stillwatch.agent")

BATCH: Final = 1_000
BATCH_BYTES: Final = 8 << 20
"""Bytes of bodies in one batch: what has piled up must fit into messages that a ledger reads."""
PROOFS_A_ROUND: Final = 32
"""Inclusion proofs fetched in one round: freeing is not urgent, and must not crowd out sending."""
_WEDGED: Final = frozenset(
    {
        "FORK",
        "WRONG_PREVIOUS",
        "NOT_AN_OPENING",
        "WRONG_AUTHOR",
        "MALFORMED_HEADER",
        "MALFORMED_SIGNATURE",
        "HIGH_S",
        "BAD_SIGNATURE",
        "BODY_MISMATCH",
    }
)


class Ledger(Protocol):
    """What the uplink asks of a ledger; ``statements.ledger_client.LedgerClient`` is one.

    Each method raises SubmissionError when the ledger cannot be reached.
    """

    def append(self, statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        """Submit a batch; one result a statement."""
        ...

    def rest(self) -> None:
        """Expect no batch for a while."""
        ...

    def author(self, author: bytes) -> tuple[Head, ...]:
        """Return the logged heads of an author."""
        ...

    def checkpoint(self) -> bytes:
        """Return the newest checkpoint."""
        ...

    def inclusion(self, index: int) -> InclusionProof:
        """Return the proof for one record."""
        ...

    def consistency(self, from_size: int, to_size: int) -> tuple[bytes, ...]:
        """Return the proof that one tree extends another."""
        ...


@dataclass(frozen=True, slots=True)
class Wedge:
    """An author's epoch that cannot go on, and the statement after which to open another."""

    author: bytes
    previous: bytes
    reason: str


def newest_logged(heads: Sequence[Head]) -> bytes:
    """Return the id of an author's newest logged statement, zeros when nothing is logged."""
    return max(heads, key=lambda head: head.index).statement_id if heads else NOTHING


def _epochs(heads: Sequence[Head]) -> set[bytes]:
    return {head.epoch for head in heads}


class Uplink:
    """The sending side of an agent. ``round`` does one round of work; ``Uploader`` repeats it.

    ``authors`` gives each spool's authors. ``monotonic`` is seconds that never go back; ``draw``
    gives randomness in [0, 1) for the jitter. Authors whose epoch cannot go on are put into
    ``wedges``, and left alone until ``release``.
    """

    def __init__(
        self,
        ledger: Ledger,
        view: LogView,
        authors: Sequence[tuple[Spool, Sequence[bytes]]],
        *,
        monotonic: Callable[[], float],
        draw: Callable[[], float] = random.random,
        checkpoint_every_s: float = 15.0,
    ) -> None:
        self._ledger = ledger
        self._view = view
        self._authors = authors
        self._monotonic = monotonic
        self._draw = draw
        self._checkpoint_every_s = checkpoint_every_s
        self._checkpoint_due = monotonic()
        self._shown = b""
        self._patience: dict[bytes, Backoff] = {}
        self._not_before: dict[bytes, float] = {}
        self._held: set[bytes] = set()
        self.wedges: SimpleQueue[Wedge] = SimpleQueue()
        self.acknowledged = 0
        self.freed = 0

    @property
    def seen(self) -> Seen:
        """The newest checkpoint that was verified."""
        return self._view.seen

    def hold(self, author: bytes) -> None:
        """Send nothing of an author until its chain has opened another epoch."""
        self._held.add(author)

    def release(self, author: bytes) -> None:
        """Send an author's statements again: its chain has opened another epoch."""
        self._held.discard(author)
        self._not_before.pop(author, None)

    def round(self) -> bool:
        """Send one batch, look at the checkpoint when that is due, prove and free a few.

        Returns whether a batch was sent, so that there may be more at once. Raises SubmissionError
        when the ledger cannot be reached, UplinkError when it contradicts itself, SpoolError.
        """
        try:
            sent = self.send()
            if not sent:
                self._ledger.rest()
            return sent
        finally:
            if self._monotonic() >= self._checkpoint_due:
                self._checkpoint_due = self._monotonic() + self._checkpoint_every_s
                self.look()
                self.prove()

    def idle_s(self) -> float:
        """Return for how many seconds a round would find nothing to do, unless something is said meanwhile."""
        now = self._monotonic()
        due = [at for at in self._not_before.values() if at > now]
        return max(0.0, min([self._checkpoint_due, *due]) - now)

    def look(self) -> None:
        """Fetch and verify the newest checkpoint; remember it in each spool."""
        self._believe(self._ledger.checkpoint())

    def _believe(self, checkpoint: bytes) -> None:
        if checkpoint != self._shown:
            self._notice_clones()  # before what they said can be among what this node has seen
            self._shown = checkpoint
        if self._view.advance(checkpoint, self._ledger.consistency):
            for spool, _ in self._authors:
                spool.remember(self._view.seen)

    def _notice_clones(self) -> None:
        """Give up each epoch after which somebody else has opened another one with the same key.

        To speak on in it, having seen that, would be the author's contradiction.
        """
        for spool, authors in self._authors:
            for author in authors:
                own = spool.head(author)
                if own is None or author in self._held:
                    continue
                heads = self._ledger.author(author)
                if heads[-1:] and heads[-1].epoch != own.epoch and own.epoch in _epochs(heads):
                    _log.error(
                        "somebody else speaks with this node's key: find out who, and rotate it",
                        node=author.hex(),
                        reason="KEY_CLONED",
                        epoch=heads[-1].epoch.hex(),
                        index=heads[-1].index,
                    )
                    self._held.add(author)
                    self.wedges.put(Wedge(author, newest_logged(heads), "KEY_CLONED"))

    def send(self) -> bool:
        """Send up to a batch of unlogged statements, in order, and note what became of them."""
        batch = self._next_batch()
        if not batch:
            return False
        results = self._ledger.append([item.statement for _, item in batch])
        receipts: dict[int, list[tuple[int, int, bytes]]] = {}
        refused: set[bytes] = set()
        fault: SubmissionError | None = None
        for (spool, item), result in zip(batch, results, strict=True):
            if isinstance(result, Receipt):
                try:
                    verify_receipt(item.statement, result)
                except SubmissionError as error:
                    fault = fault or error
                    continue
                receipts.setdefault(id(spool), []).append((item.place, result.index, result.record))
                if item.author in self._patience:
                    self._patience[item.author].succeed()
            elif item.author not in refused:
                # What follows a refusal in the same chain is refused for it: the first one counts.
                refused.add(item.author)
                self._handle_refusal(spool, item, result)
        for spool, _ in self._authors:
            if noted := receipts.get(id(spool)):
                spool.acknowledge(noted)
                self.acknowledged += len(noted)
        if fault is not None:
            raise fault
        return bool(receipts)

    def _next_batch(self) -> list[tuple[Spool, Spooled]]:
        """Return what may be sent now: of each author the oldest, in order, at least one statement."""
        now = self._monotonic()
        batch: list[tuple[Spool, Spooled]] = []
        size = 0
        for spool, authors in self._authors:
            for author in authors:
                if author in self._held or self._not_before.get(author, now) > now:
                    continue
                for item in spool.unlogged(author, BATCH - len(batch)):
                    size += len(item.statement.stored)
                    if batch and size > BATCH_BYTES:
                        return batch
                    batch.append((spool, item))
        return batch

    def _handle_refusal(self, spool: Spool, item: Spooled, refusal: Refusal) -> None:
        if refusal.reason == "GAP" and refusal.wanted_sequence is not None:
            if spool.rewind(item.author, item.epoch, refusal.wanted_sequence) and (
                spool.unlogged(item.author, 1)[0].sequence <= refusal.wanted_sequence
            ):
                _log.warning("sending again", sequence=refusal.wanted_sequence, why=refusal.message)
                self._wait(item.author)
                return
            self._wedge(item.author, refusal)
        elif refusal.reason in _WEDGED or refusal.reason == "GAP":
            self._wedge(item.author, refusal)
        else:
            wait = self._wait(item.author)
            _log.warning(
                "refused",
                node=item.author.hex(),
                reason=refusal.reason,
                why=refusal.message,
                again_in_s=round(wait, 2),
            )

    def _wait(self, author: bytes) -> float:
        backoff = self._patience.setdefault(author, Backoff(0.2, 60.0, self._draw))
        wait = backoff.fail()
        self._not_before[author] = self._monotonic() + wait
        return wait

    def _wedge(self, author: bytes, refusal: Refusal) -> None:
        """Ask where the author stands, and hand that to whoever signs."""
        wait = self._wait(author)
        _log.error(
            "the epoch cannot go on: a new one will be opened",
            node=author.hex(),
            reason=refusal.reason,
            why=refusal.message,
            after_s=round(wait, 2),
        )
        previous = newest_logged(self._ledger.author(author))
        self._held.add(author)
        self.wedges.put(Wedge(author, previous, refusal.reason))

    def prove(self) -> None:
        """Verify the inclusion of a few acknowledged statements, and free them."""
        for spool, _ in self._authors:
            proven: list[int] = []
            for item in spool.unproven(self._view.seen.size, PROOFS_A_ROUND):
                if item.log_index is None or item.record is None:
                    continue
                proof = self._ledger.inclusion(item.log_index)
                self._believe(proof.checkpoint)
                self._view.verify_inclusion(item.record, item.log_index, proof)
                proven.append(item.place)
            if proven:
                spool.free(proven)
                self.freed += len(proven)
