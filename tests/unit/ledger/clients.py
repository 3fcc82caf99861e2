"""Clients that keep a ledger busy, whatever becomes of it, and remember what it promised them."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ledger.examination import Examination
from ledger.fsck import examine
from ledger.objects.directory import DirectoryStore
from ledger.proofs import Prover
from statements.author import Statement
from statements.errors import SubmissionError
from statements.ledger_client import LedgerClient, Receipt, Refusal
from statements.record import decode_record
from tests.unit.ledger.cast import ORIGIN, Cast, Person
from tlog.checkpoint import Checkpoint, verify_checkpoint
from tlog.merkle import verify_consistency
from tlog.note import Verifier
from tlog.tile import bundle_path, bundles_of, decode_bundle

BATCH: Final = 40
_TRY_AGAIN: Final = 0.05


@dataclass
class Client:
    """One author's stream: sends batch after batch, and what was not acknowledged again.

    ``acknowledged`` holds the index of each statement by its header; ``wrong`` whatever a ledger must never answer.
    """

    person: Person
    target: str
    size: int = 60
    acknowledged: dict[bytes, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    checkpoints: list[bytes] = field(default_factory=list)
    sent: list[Statement] = field(default_factory=list)

    def start(self, stop: threading.Event) -> threading.Thread:
        thread = threading.Thread(target=self.run, args=(stop,), daemon=True)
        thread.start()
        return thread

    def run(self, stop: threading.Event) -> None:
        """Send until told to stop, and then until all that was said is acknowledged."""
        pending = [self.person.open()]
        while True:
            try:
                with LedgerClient(self.target, deadline=10) as client:
                    while pending or not stop.is_set():
                        pending = pending or self.person.summaries(BATCH, self.size)
                        self.take(pending, client.append(pending))
                        pending = []
                        self.checkpoints.append(client.checkpoint())
                    return
            except SubmissionError as error:
                self.failures.append(error.reason)
                if stop.is_set() and len(self.failures) > 2_000:
                    self.wrong.append("the ledger did not come back")
                    return
                time.sleep(_TRY_AGAIN)

    def take(self, sent: Sequence[Statement], answers: Sequence[Receipt | Refusal]) -> None:
        for said, answer in zip(sent, answers, strict=True):
            if isinstance(answer, Refusal):
                self.wrong.append(f"{answer.reason}: {answer.message}")
            elif decode_record(answer.record).header != said.header:
                self.wrong.append("a receipt for another statement")
            elif self.acknowledged.setdefault(said.header, answer.index) != answer.index:
                self.wrong.append("two receipts that differ")
            else:
                self.sent.append(said)


def verify_log(folder: Path, cast: Cast, clients: Sequence[Client]) -> Checkpoint:
    """Refuse a served folder that does not keep what the ledger promised its clients.

    Every acknowledged statement is in the log once, at its index; fsck finds nothing; every checkpoint that anybody
    saw is of a tree that the last one extends.
    """
    objects = DirectoryStore(folder)
    found: Examination = examine(objects, folder, None)
    assert found.flaws == []
    verifier = Verifier.from_vkey(cast.signer.vkey)
    note = objects.get("checkpoint")
    assert note is not None
    last = verify_checkpoint(note, ORIGIN, verifier)
    headers: list[bytes] = []
    for index, width in bundles_of(last.size):
        bundle = objects.get(bundle_path(index, width))
        assert bundle is not None
        headers += [decode_record(entry).header for entry in decode_bundle(bundle, width)]
    assert len(set(headers)) == len(headers), "nothing is logged twice"
    for client in clients:
        assert client.wrong == []
        for header, index in client.acknowledged.items():
            assert headers[index] == header
    verify_seen({seen for client in clients for seen in client.checkpoints}, folder, last, verifier)
    return last


def verify_seen(notes: set[bytes], folder: Path, last: Checkpoint, verifier: Verifier) -> None:
    """Refuse a last tree that does not extend every one that was seen; and two roots for one size."""
    prover = Prover(DirectoryStore(folder), last.size)
    roots: dict[int, bytes] = {}
    for note in notes:
        seen = verify_checkpoint(note, ORIGIN, verifier)
        assert roots.setdefault(seen.size, seen.root) == seen.root
    for size, root in roots.items():
        verify_consistency(size, last.size, prover.consistency(size, last.size), root, last.root)
