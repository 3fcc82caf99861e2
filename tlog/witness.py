"""What logs and witnesses say to one another, after C2SP tlog-witness (https://c2sp.org/tlog-witness). Pure.

``POST add-checkpoint``: a request names the size that the witness is thought to know, proves that the new checkpoint
extends it, and gets signature lines back, or the size that the witness does know.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from tlog.checkpoint import Checkpoint, parse_checkpoint
from tlog.errors import NoteError, ProofError, TlogError, WitnessError
from tlog.merkle import EMPTY_ROOT, HASH_LENGTH, verify_consistency
from tlog.note import (
    Note,
    SignatureLine,
    Verifier,
    decode_base64,
    encode_base64,
    parse_note,
    parse_signature,
    verify_note,
)

ADD_CHECKPOINT: Final = "add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"
"""Content type of the body that tells the size a witness knows."""
REQUEST_LIMIT: Final = 1 << 16
"""Most bytes of a request that a witness reads, and of an answer that a log reads."""
PROOF_LIMIT: Final = 63
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n?")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: the size that the witness is thought to know, the consistency proof, and the signed note."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """Return the request's body."""
        lines = [f"old {self.old_size}", *(encode_base64(value) for value in self.proof)]
        return "\n".join([*lines, "", ""]).encode() + self.note


@dataclass(frozen=True, slots=True)
class Known:
    """What a witness cosigned last of a log: size and root."""

    size: int
    root: bytes


UNKNOWN: Final = Known(0, EMPTY_ROOT)
"""What is known of a log before its first checkpoint."""


def parse_request(body: bytes) -> AddCheckpoint:
    """Return the request that a body spells; raises :class:`WitnessError` with status 400 for anything else."""
    head, separator, note = body.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise _bad("the request is not text") from None
    old = _OLD.fullmatch(first)
    if old is None or not separator or int(old[1]) > 2**63 - 1:
        raise _bad("a request begins with `old SIZE`, proof lines, and an empty line")
    if len(lines) > PROOF_LIMIT:
        raise _bad(f"a proof has at most {PROOF_LIMIT} lines, not {len(lines)}")
    try:
        proof = tuple(decode_base64(line) for line in lines)
    except NoteError as error:
        raise _bad(str(error)) from None
    if any(len(value) != HASH_LENGTH for value in proof):
        raise _bad(f"a hash has {HASH_LENGTH} bytes")
    return AddCheckpoint(int(old[1]), proof, note)


def origin_of(request: AddCheckpoint) -> str:
    """Return the origin that a request's checkpoint names, not verified; raises :class:`WitnessError`."""
    return _read(request)[1].origin


def verify_request(request: AddCheckpoint, log: Verifier, known: Known) -> Checkpoint:
    """Return the checkpoint to cosign, when a request by ``log`` extends what is known.

    Raises :class:`WitnessError`, whose status is the one that tlog-witness asks for:

    1. 403: the log's key has not signed;
    2. 400: the old size is beyond the new;
    3. 409: the old size is not the one known, or two trees of one size differ;
    4. 422: the proof does not lead from the one to the other.
    """
    note, checkpoint = _read(request)
    try:
        verify_note(note, [log])
    except NoteError as error:
        raise WitnessError(HTTPStatus.FORBIDDEN, "NOT_SIGNED", str(error)) from None
    if request.old_size > checkpoint.size:
        raise _bad(f"the old size {request.old_size} is beyond the new, {checkpoint.size}")
    if request.old_size != known.size:
        raise WitnessError(
            HTTPStatus.CONFLICT,
            "OTHER_SIZE",
            f"{known.size} is known, not {request.old_size}",
            known.size,
        )
    if known.size == checkpoint.size and known.root != checkpoint.root:
        raise WitnessError(
            HTTPStatus.CONFLICT,
            "SPLIT_VIEW",
            f"the log signed two trees of {checkpoint.size} records",
            known.size,
        )
    _verify_proof(request, known, checkpoint)
    return checkpoint


def _verify_proof(request: AddCheckpoint, known: Known, new: Checkpoint) -> None:
    if known.size == 0:
        if request.proof:
            raise _unproved("PROOF_LENGTH", "from nothing, there is nothing to prove")
        return
    try:
        verify_consistency(known.size, new.size, request.proof, known.root, new.root)
    except ProofError as error:
        raise _unproved(error.reason, str(error)) from None


def _read(request: AddCheckpoint) -> tuple[Note, Checkpoint]:
    try:
        note = parse_note(request.note)
        return note, parse_checkpoint(note)
    except TlogError as error:
        raise _bad(str(error)) from None


def parse_answer(body: bytes) -> tuple[SignatureLine, ...]:
    """Return the signature lines of a witness's answer, not verified; raises :class:`NoteError`."""
    try:
        lines = body.decode().splitlines()
    except UnicodeDecodeError:
        raise NoteError("BAD_NOTE", "the answer is not UTF-8") from None
    if not lines:
        raise NoteError("BAD_NOTE", "the answer has no signature line")
    return tuple(parse_signature(line) for line in lines)


def parse_size(body: bytes) -> int | None:
    """Return the size that the body of a conflict names; ``None`` for the empty body that some witnesses send."""
    found = _SIZE.fullmatch(body)
    return None if found is None else int(found[1])


def _bad(why: str) -> WitnessError:
    return WitnessError(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", why)


def _unproved(reason: str, why: str) -> WitnessError:
    return WitnessError(HTTPStatus.UNPROCESSABLE_ENTITY, reason, why)
