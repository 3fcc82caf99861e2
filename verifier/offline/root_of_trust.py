"""Where believing begins: an agreement that somebody named by its digest, and the checkpoint of a log that it pins."""

from dataclasses import dataclass

from statements.clock import REHEARSAL_PREFIX
from statements.log_trust import LogTrust, Witnessed
from statements.pins import Pins, agreement_digest, read_pins
from tlog.checkpoint import parse_checkpoint
from tlog.note import parse_note
from verifier.errors import VerifierError
from verifier.instants import rfc3339
from verifier.offline.outcome import Outcome, Remark


@dataclass(frozen=True, slots=True)
class Root:
    """An agreement's pins, and by what its log is believed."""

    pins: Pins
    trust: LogTrust


def read_root(agreement: bytes, note: bytes, digest: bytes | None) -> Root:
    """Return by what the log of a signed note is believed.

    Raises :class:`VerifierError` when the agreement is not the one with that digest, :class:`PinsError` when it does
    not parse or lists no such log, and :class:`NoteError` when the note is no checkpoint.
    """
    found = agreement_digest(agreement)
    if digest is not None and found != digest:
        raise VerifierError(
            "OTHER_AGREEMENT", f"the agreement is sha256:{found.hex()}, not the one named"
        )
    pins = read_pins(agreement)
    origin = parse_checkpoint(parse_note(note)).origin
    return Root(pins, LogTrust.of(pins, pins.ledger(origin)))


def tell_root(outcome: Outcome, root: Root, seen: Witnessed, *, named: bool) -> None:
    """Note what the agreement and the checkpoint are worth."""
    pins, checkpoint, quorum = root.pins, seen.checkpoint, seen.quorum
    agreement = f"{pins.agreement_id}, sha256:{pins.digest.hex()}"
    if named:
        outcome.hold("AGREEMENT", f"the agreement is the one named: {agreement}")
    else:
        outcome.beyond.append(
            Remark("AGREEMENT_NOT_NAMED", f"that {agreement} is the agreement that you mean")
        )
    tree = f"the checkpoint of {checkpoint.size} records, root {checkpoint.root.hex()}"
    outcome.hold("LOG_SIGNATURE", f"{checkpoint.origin} signed {tree}")
    if checkpoint.origin.startswith(REHEARSAL_PREFIX):
        words = "anything about real hardware: by its origin this log is a rehearsal"
        outcome.beyond.append(Remark("REHEARSAL", words))
    if root.trust.policy.quorum is None:
        outcome.beyond.append(
            Remark(
                "QUORUM_NONE",
                "that others are shown the same log: the agreement asks for no witness, and has its time on its "
                "operator's word",
            )
        )
        return
    names = ", ".join(sorted(quorum.times_s))
    when = "" if quorum.time_ms is None else f", median time {rfc3339(quorum.time_ms)}"
    outcome.hold("WITNESSES", f"a quorum of witnesses cosigned it: {names}{when}")
