"""What the ledger asks a screening process, and what it hears.

The first frame to a process is the agreement's text. Each further one is a question: keys that it was not told of yet,
and an AppendRequest as it came. It is answered by the ids of the statements that are good, the refusals of the others,
and the keys that openings showed.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.errors import ProcessError
from ledger.refusal import Refusal

ID_LENGTH: Final = 32
_KEY: Final = struct.Struct(">32sH")
_COUNT: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Question:
    """Keys by digest, their SPKI where it is known (else empty: the digest may appear), and a request's bytes."""

    keys: Sequence[tuple[bytes, bytes]]
    request: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An id a statement (of refused ones anything), refusals by position, and the SPKI of keys that were shown."""

    ids: Sequence[bytes]
    refusals: dict[int, Refusal]
    shown: Sequence[bytes]


def encode_question(question: Question) -> bytes:
    """Return the bytes of a question."""
    parts = [_COUNT.pack(len(question.keys))]
    for digest, spki in question.keys:
        parts += (_KEY.pack(digest, len(spki)), spki)
    return b"".join([*parts, question.request])


def decode_question(data: bytes) -> Question:
    """Return the question that bytes hold."""
    (count,) = _COUNT.unpack_from(data)
    at = _COUNT.size
    keys: list[tuple[bytes, bytes]] = []
    for _ in range(count):
        digest, length = _KEY.unpack_from(data, at)
        at += _KEY.size
        keys.append((digest, data[at : at + length]))
        at += length
    return Question(keys, data[at:])


def encode_answer(answer: Answer) -> bytes:
    """Return the bytes of an answer."""
    words = json.dumps(
        {
            "refusals": [
                [at, one.reason, one.message, one.wanted_sequence]
                for at, one in answer.refusals.items()
            ],
            "shown": [spki.hex() for spki in answer.shown],
        }
    ).encode()
    return b"".join([_COUNT.pack(len(words)), words, *answer.ids])


def decode_answer(data: bytes, count: int) -> Answer:
    """Return the answer about ``count`` statements that bytes hold; raises :class:`ProcessError` if they hold none."""
    try:
        (length,) = _COUNT.unpack_from(data)
        ids = data[_COUNT.size + length :]
        if len(ids) != count * ID_LENGTH:
            raise ValueError("the ids are not as many as the statements")  # noqa: TRY301
        words = json.loads(data[_COUNT.size : _COUNT.size + length])
        refusals = {
            int(at): Refusal(str(why), str(say), wanted)
            for at, why, say, wanted in words["refusals"]
        }
        shown = [bytes.fromhex(spki) for spki in words["shown"]]
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise ProcessError(
            "PROCESS_CONFUSED", f"a screening process answered nonsense: {error}"
        ) from error
    return Answer(
        [ids[at : at + ID_LENGTH] for at in range(0, len(ids), ID_LENGTH)], refusals, shown
    )
