"""What it takes to believe a log's checkpoint: its own signature, and the cosignatures that the agreement asks for."""

from dataclasses import dataclass

from statements.pins import LedgerPin, Pins
from tlog.checkpoint import Checkpoint, verify_checkpoint
from tlog.note import Verifier, parse_note
from tlog.policy import Policy, Quorum, verify_quorum


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A checkpoint that may be believed, and who cosigned it when."""

    checkpoint: Checkpoint
    quorum: Quorum


@dataclass(frozen=True, slots=True)
class LogTrust:
    """The keys by which one log is believed. Under ``quorum none`` its own signature is all that there is."""

    key: Verifier
    policy: Policy

    @classmethod
    def of(cls, pins: Pins, ledger: LedgerPin) -> "LogTrust":
        """Return what an agreement pins of one of its logs; raises :class:`NoteError` for a key that is none."""
        return cls(Verifier.from_vkey(ledger.vkey), pins.policy)

    def believe(self, note: bytes) -> Witnessed:
        """Return the checkpoint of a signed note, once the log and a quorum of witnesses signed it.

        Raises :class:`NoteError`, :class:`CheckpointError` or :class:`PolicyError`.
        """
        checkpoint = verify_checkpoint(note, self.key.name, self.key)
        return Witnessed(checkpoint, verify_quorum(parse_note(note), self.policy))
