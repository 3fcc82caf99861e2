"""Checkpoints: signed notes that name a tree, after C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint).

Extension lines are refused: nobody could audit them.
"""

import re
from dataclasses import dataclass

from tlog.errors import CheckpointError
from tlog.merkle import EMPTY_ROOT, HASH_LENGTH
from tlog.note import Note, Signer, Verifier, decode_base64, encode_base64, parse_note, verify_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LARGEST_SIZE = 2**63 - 1
"""Most leaves that a checkpoint may name: what a signed 64-bit number holds, as in other implementations."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree: the log's origin, the number of leaves, the root hash."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note's text."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """Return the signed note of a checkpoint.

    Raises :class:`NoteError` for one that nobody could read back.
    """
    note = signer.sign(checkpoint.text)
    parse_checkpoint(note)
    return note.encode()


def parse_checkpoint(note: Note) -> Checkpoint:
    """Return the tree that a note's text names; nothing is verified.

    Raises :class:`CheckpointError` when the text is not exactly origin, size and root.
    """
    lines = note.text.split("\n")
    if len(lines) != 4 or not lines[0]:
        raise CheckpointError("BAD_CHECKPOINT", "a checkpoint has the lines origin, size and root")
    if not _SIZE.fullmatch(lines[1]) or int(lines[1]) > _LARGEST_SIZE:
        raise CheckpointError("BAD_CHECKPOINT", f"not a tree size: {lines[1]!r}")
    root = decode_base64(lines[2])
    if len(root) != HASH_LENGTH:
        raise CheckpointError("BAD_CHECKPOINT", f"a root has {HASH_LENGTH} bytes")
    size = int(lines[1])
    if size == 0 and root != EMPTY_ROOT:
        raise CheckpointError("BAD_CHECKPOINT", "the empty tree has another root")
    return Checkpoint(lines[0], size, root)


def verify_checkpoint(data: bytes, origin: str, log: Verifier) -> Checkpoint:
    """Return the tree of a signed note, once the log's key has signed it.

    Raises :class:`NoteError` when it is not a note signed by ``log``, and :class:`CheckpointError` when it is not a
    checkpoint, or one of another log.
    """
    note = parse_note(data)
    verify_note(note, [log])
    checkpoint = parse_checkpoint(note)
    if checkpoint.origin != origin:
        raise CheckpointError(
            "OTHER_LOG", f"the checkpoint is of {checkpoint.origin!r}, not of {origin!r}"
        )
    return checkpoint
