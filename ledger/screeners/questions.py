"""What the ledger asks a screening process, and what it hears.

The first frame to a process is the agreement's text. Each further one is a question: keys that it was not told of yet,
and the statements of a request, each with its body, or where nobody reads that there, with what stands for it. It is
answered by the ids of the statements that are good, the refusals of the others, and the keys that openings showed.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.errors import ProcessError
from ledger.refusal import Refusal
from ledger.screening import Hashed, Screenable

ID_LENGTH: Final = 32
_KEY: Final = struct.Struct(">32sH")
_COUNT: Final = struct.Struct(">I")
_STATEMENT: Final = struct.Struct(">IIcI")
"""Lengths of header and signature; how the body is given; its length. The three follow, of a hashed one its digest."""
_WITHHELD, _GIVEN, _HASHED = b"w", b"g", b"h"


@dataclass(frozen=True, slots=True)
class Question:
    """Keys by digest, their SPKI where it is known (else empty: the digest may appear), and statements."""

    keys: Sequence[tuple[bytes, bytes]]
    statements: Sequence[Screenable]


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
    for header, signature, body in question.statements:
        if body is None:
            how, size, data = _WITHHELD, 0, b""
        elif isinstance(body, bytes):
            how, size, data = _GIVEN, len(body), body
        else:
            how, (size, data) = _HASHED, body
        parts += (_STATEMENT.pack(len(header), len(signature), how, size), header, signature, data)
    return b"".join(parts)


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
    statements: list[Screenable] = []
    while at < len(data):
        header, signature, how, size = _STATEMENT.unpack_from(data, at)
        begin = at + _STATEMENT.size
        middle = begin + header
        end = middle + signature
        at = end + (size if how == _GIVEN else ID_LENGTH if how == _HASHED else 0)
        body: bytes | Hashed | None = None
        if how != _WITHHELD:
            body = data[end:at] if how == _GIVEN else Hashed(size, data[end:at])
        statements.append((data[begin:middle], data[middle:end], body))
    return Question(keys, statements)


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
