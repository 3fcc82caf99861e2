"""What a node believes of the log: the newest checkpoint, once its signature and history fit."""

import hashlib
import threading
from collections.abc import Callable

from statements.author import Seen
from statements.ledger_client import InclusionProof
from statements.pins import LedgerPin


class LogView:
    """The log of one ledger, as far as it was verified. Several threads may read ``seen``."""

    def __init__(self, ledger: LedgerPin) -> None:
        self.log = hashlib.sha256(ledger.origin.encode()).digest()
        self._ledger = ledger
        self._lock = threading.Lock()
        self._seen = Seen()

    @property
    def seen(self) -> Seen:
        """The newest checkpoint that was verified; size 0 before any."""
        with self._lock:
            return self._seen

    def resume(self, seen: Seen | None) -> None:
        """Go on from what an earlier life of the agent had verified, if that is newer."""
        with self._lock:
            if seen is not None and seen.size > self._seen.size:
                self._seen = seen

    def advance(
        self, checkpoint: bytes, consistency: Callable[[int, int], tuple[bytes, ...]]
    ) -> bool:
        raise NotImplementedError

    def verify_inclusion(self, record: bytes, index: int, proof: InclusionProof) -> None:
        raise NotImplementedError
