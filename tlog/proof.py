"""Offline proofs that a record is in a log, after C2SP tlog-proof (https://c2sp.org/tlog-proof). Pure."""

import re
from dataclasses import dataclass
from typing import Final

from tlog.checkpoint import Checkpoint, verify_checkpoint
from tlog.errors import ProofError, TlogError
from tlog.merkle import HASH_LENGTH, leaf_hash, verify_inclusion
from tlog.note import Verifier, decode_base64, encode_base64, parse_note
from tlog.policy import Policy, Quorum, verify_quorum

HEADER: Final = "c2sp.org/tlog-proof@v1"
PROOF_LIMIT: Final = 1 << 20
"""Most bytes of a proof that are read."""
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class LogProof:
    """An index, its audit path (leaf side first), the signed and cosigned note, and opaque extra data."""

    index: int
    hashes: tuple[bytes, ...]
    note: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """Return the proof's bytes."""
        extra = [] if self.extra is None else [f"extra {encode_base64(self.extra)}"]
        hashes = [encode_base64(value) for value in self.hashes]
        lines = [HEADER, *extra, f"index {self.index}", *hashes, "", ""]
        return "\n".join(lines).encode() + self.note


def parse_proof(data: bytes) -> LogProof:
    """Return the proof that bytes spell, not verified; raises :class:`ProofError` for anything else."""
    if len(data) > PROOF_LIMIT:
        raise ProofError("BAD_PROOF_FILE", f"the proof has {len(data)} bytes")
    head, separator, note = data.partition(b"\n\n")
    try:
        header, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ProofError("BAD_PROOF_FILE", "the proof's lines are not ASCII") from None
    if header != HEADER or not separator:
        raise ProofError("BAD_PROOF_FILE", f"a proof begins with the line {HEADER}")
    try:
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0).removeprefix("extra "))
        found = _INDEX.fullmatch(lines[0]) if lines else None
        if found is None:
            raise ProofError("BAD_PROOF_FILE", "the line `index N` is missing")
        hashes = tuple(decode_base64(line) for line in lines[1:])
    except TlogError as error:
        raise ProofError("BAD_PROOF_FILE", str(error)) from None
    if any(len(value) != HASH_LENGTH for value in hashes):
        raise ProofError("BAD_PROOF_FILE", f"a hash has {HASH_LENGTH} bytes")
    return LogProof(int(found[1]), hashes, note, extra)


def verify_proof(
    proof: LogProof, entry: bytes, log: Verifier, policy: Policy
) -> tuple[Checkpoint, Quorum]:
    """Return the checkpoint and the quorum that a proof rests on, when it shows an entry to be in a log.

    1. the log's key signed the checkpoint, and its origin is the key's name;
    2. the witnesses that cosigned it are a quorum;
    3. the entry is in the checkpoint's tree at the proof's index.

    Raises :class:`NoteError`, :class:`PolicyError` or :class:`ProofError`.
    """
    checkpoint = verify_checkpoint(proof.note, log.name, log)
    quorum = verify_quorum(parse_note(proof.note), policy)
    verify_inclusion(
        proof.index, checkpoint.size, leaf_hash(entry), list(proof.hashes), checkpoint.root
    )
    return checkpoint, quorum
