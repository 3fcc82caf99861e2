"""Verifying one record by a C2SP tlog-proof: that it is in a log, and as much about it as is at hand.

1. The agreement is the one that was named, where it was.
2. The proof's checkpoint is of a log that it lists, signed by the log's key, and cosigned as it asks.
3. The record is in the checkpoint's tree, at the proof's index.
4. The body, where it is at hand, has the digest in the record's header.
5. The record is signed by its author, where the author's key is at hand: given, or shown by the record's own opening.
6. The agreement pins the author's key. The standing of a node, and of a later key, is shown by another record: a bundle
   brings both.

What is not at hand is told as not verified; what is, and does not hold, refutes.
"""

from dataclasses import dataclass

from statements.body import verify_stored
from statements.log_trust import Witnessed
from statements.signing import VerifyingKey
from tlog.proof import LogProof, verify_proof
from verifier.errors import VerifierError
from verifier.instants import rfc3339
from verifier.offline.outcome import Outcome, Remark
from verifier.offline.root_of_trust import read_root, tell_root
from verifier.offline.said import Said, read_said, shown_key, verify_plain, verify_said


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A record as somebody hands it over: the leaf, its proof, and what there is of its body and its author's key."""

    leaf: bytes
    proof: LogProof
    body: bytes | None = None
    key: VerifyingKey | None = None


def verify_record(exhibit: Exhibit, agreement: bytes, digest: bytes | None) -> Outcome:
    """Return what came of verifying a record, in the steps of this module; ``digest`` is the agreement's, 32 bytes.

    Raises :class:`VerifierError`, :class:`StatementError` or :class:`TlogError` when something that is at hand does not
    hold.
    """
    proof = exhibit.proof
    # 1 and 2. The agreement, and the checkpoint; 3. the record is in the tree.
    root = read_root(agreement, proof.note, digest)
    checkpoint, quorum = verify_proof(proof, exhibit.leaf, root.trust.key, root.trust.policy)
    outcome = Outcome(subject=f"record {proof.index} of {checkpoint.origin}")
    tell_root(outcome, root, Witnessed(checkpoint, quorum), named=digest is not None)
    outcome.hold("INCLUSION", f"the record is in its tree, at index {proof.index}")
    # 4. The body.
    said = read_said(proof.index, exhibit.leaf, exhibit.body)
    if exhibit.body is None:
        outcome.miss("BODY_NOT_GIVEN", "the body: give it with --body")
    else:
        verify_stored(exhibit.body, said.header.stored_digest)
        verify_plain(said)
        outcome.hold("BODY", f"the body is the one of this {said.kind}, {len(exhibit.body)} bytes")
    # 5. The signature.
    key = exhibit.key or shown_key(said)
    if key is None:
        words = f"the author's signature: give the key {said.header.key_id.hex()} with --key"
        outcome.miss("KEY_NOT_GIVEN", words)
    elif key.key_id != said.header.key_id:
        raise VerifierError(
            "OTHER_KEY",
            f"the key given is {key.key_id.hex()}, the record's {said.header.key_id.hex()}",
        )
    else:
        verify_said(said, key)
        outcome.hold("SIGNATURE", f"its author signed it, {_what(said)}")
    # 6. The standing.
    header = said.header
    pins = root.pins
    pin = pins.by_key.get(header.key_id) or pins.by_recovery.get(header.key_id)
    if pin is None:
        outcome.miss(
            "STANDING_NOT_SHOWN",
            f"whether key {header.key_id.hex()} may speak for {header.author.hex()}: the agreement does not pin it, "
            "and its enrolment or the rotation to it is another record",
        )
    elif header.author != header.key_id:
        raise VerifierError("WRONG_AUTHOR", "its author is not the holder of the key")
    else:
        key_of = "recovery key of " if header.key_id in pins.by_recovery else ""
        outcome.hold(
            "STANDING", f"the agreement pins its author's key: {key_of}{pin.role.value} {pin.id}"
        )
    outcome.beyond += [
        Remark("CHAIN", "what its author said before and after it, and that its key had not ended"),
        Remark(
            "LOGGED_AT",
            f"when exactly it was logged: {rfc3339(said.record.logged_at_ms)} is the ledger's hint",
        ),
    ]
    return outcome


def _what(said: Said) -> str:
    header = said.header
    period = f"{rfc3339(header.start_ms)}/{rfc3339(header.end_ms)}"
    return f"as its {said.kind} at sequence {header.sequence} about {period}, id {said.id.hex()}"
