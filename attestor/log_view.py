"""What a node believes of the log: the newest checkpoint, once its signature and history fit.

Under the witness policy ``quorum none`` a checkpoint is believed when the log's own key signed it,
under any other when a quorum of witnesses cosigned it besides.
History is RFC 6962: each checkpoint must extend the one believed before.
"""

import hashlib
import threading
from collections.abc import Callable
from typing import Final

from attestor.errors import UplinkError
from statements.author import Seen
from statements.ledger_client import InclusionProof
from statements.log_trust import LogTrust
from tlog.errors import TlogError
from tlog.merkle import leaf_hash, verify_consistency, verify_inclusion

Consistency = Callable[[int, int], tuple[bytes, ...]]
"""Fetches the proof that the tree of the second size extends that of the first."""

_NOTHING: Final = Seen()


class LogView:
    """The log of one ledger, as far as it was verified. Several threads may read ``seen``."""

    def __init__(self, trust: LogTrust) -> None:
        self._origin = trust.key.name
        self.log = hashlib.sha256(self._origin.encode()).digest()
        self._trust = trust
        self._lock = threading.Lock()
        self._seen = _NOTHING

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

    def advance(self, checkpoint: bytes, consistency: Consistency) -> bool:
        """Believe a checkpoint once it is signed by the log and extends what was believed.

        Returns whether it is newer. Raises UplinkError when the log contradicts itself: another root
        for a size, a smaller tree than before, or no proof that one extends the other.
        """
        before = self.seen
        try:
            found = self._trust.believe(checkpoint).checkpoint
            if found.size < before.size:
                raise UplinkError(
                    "LOG_SHRANK",
                    f"the log {self._origin} shows {found.size} records after it showed "
                    f"{before.size}: it lost or hides records; keep the spool, and tell its auditors",
                )
            if before.size:
                hashes = () if found.size == before.size else consistency(before.size, found.size)
                verify_consistency(before.size, found.size, hashes, before.root, found.root)
        except TlogError as error:
            raise UplinkError(
                error.reason,
                f"the log {self._origin} shows a checkpoint that does not follow from what it "
                f"showed before, size {before.size}: {error}",
            ) from error
        if found.size == before.size:
            return False
        with self._lock:
            self._seen = Seen(self.log, found.size, found.root)
        return True

    def verify_inclusion(self, record: bytes, index: int, proof: InclusionProof) -> None:
        """Refuse a proof that the record is at ``index`` in the tree believed: UplinkError."""
        seen = self.seen
        try:
            if proof.size != seen.size:
                raise UplinkError(
                    "OTHER_TREE", f"the proof is for size {proof.size}, not {seen.size}"
                )
            verify_inclusion(index, seen.size, leaf_hash(record), proof.hashes, seen.root)
        except TlogError as error:
            raise UplinkError(
                error.reason,
                f"the log {self._origin} does not hold record {index} that it acknowledged: {error}",
            ) from error
