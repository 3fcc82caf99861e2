"""A screening process, forked by the nursery.

It holds no key of the ledger's, and can open no file once it runs: what verifies signatures is loaded before.
"""

import gc

from ledger.processes.parent import Parent, confine, parent
from ledger.refusal import Refusal
from ledger.screeners.questions import (
    ID_LENGTH,
    Answer,
    Question,
    decode_question,
    encode_answer,
)
from ledger.screening import screen
from statements.pins import Pins, read_pins
from statements.signing import VerifyingKey
from statements.verification.registry import chosen

_GARBAGE_AT = 50_000
"""Objects between two looks for cycles, of which a batch leaves none."""
_REFUSED = bytes(ID_LENGTH)


class Worker:
    """What one screening process knows: the agreement, and the keys that it was told of."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._appears: set[bytes] = set()
        self._known: dict[bytes, VerifyingKey] = {}

    def answer(self, question: Question) -> Answer:
        """Screen a request."""
        for digest, spki in question.keys:
            self._appears.add(digest)
            if spki:
                self._known[digest] = VerifyingKey.from_spki(spki)
        results, shown = screen(
            question.statements,
            self._known.get,
            self._appears.__contains__,
            self._pins.digest,
            self._pins.disclosures,
        )
        refusals = {at: one for at, one in enumerate(results) if isinstance(one, Refusal)}
        ids = [_REFUSED if isinstance(one, Refusal) else one.id for one in results]
        return Answer(ids, refusals, [key.spki for key in shown])


def work(ledger: Parent) -> None:
    """Answer the ledger's questions, after its agreement."""
    questions = ledger.questions()
    agreement = next(questions, None)
    if agreement is None:
        return
    worker = Worker(read_pins(agreement))
    chosen()
    confine()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_AT)
    for data in questions:
        ledger.answer(encode_answer(worker.answer(decode_question(data))))


def main(descriptor: int) -> None:
    """Screen for the ledger at the other end of a socket."""
    with parent(descriptor) as ledger:
        work(ledger)
