"""Handing a fork over: both headers in one batch, so that a ledger logs what proves it.

A ledger logs a second statement for a place only right after the first, which it logged before
(docs/adr/0006-both-headers-make-a-proof.md). Which of the two it holds is seen by trying; where it held neither and one
is next in its chain, it logs that, and the proof the time after.
"""

from dataclasses import dataclass

from statements.author import Statement
from statements.errors import RecordError, SubmissionError
from statements.ledger_client import LedgerClient, Receipt, Refusal
from statements.record import decode_record
from verifier.errors import VerifierError
from verifier.evidence.forks import Split, SplitStatement


@dataclass(frozen=True, slots=True)
class Proof:
    """Where a ledger holds both statements for one place: the one that it logged first, and the one that proves it."""

    first: int
    second: int


def hand_over(client: LedgerClient, split: Split) -> Proof:
    """Let a ledger log that a key contradicted itself; handing over again what it holds says where that is.

    Raises :class:`VerifierError` when it does not take the proof, and :class:`SubmissionError` when it cannot be
    reached, or answers what no honest ledger does.
    """
    said: list[Refusal] = []
    for pair in ((split.one, split.other), (split.other, split.one), (split.one, split.other)):
        answers = client.append([one.statement for one in pair])
        indices = [
            _index(one.statement, answer)
            for one, answer in zip(pair, answers, strict=True)
            if isinstance(answer, Receipt)
        ]
        if len(indices) == 2:
            return Proof(min(indices), max(indices))
        said += [answer for answer in answers if isinstance(answer, Refusal)]
    raise _explain(split, said)


def _index(sent: Statement, receipt: Receipt) -> int:
    """Return where a ledger holds a statement, whose record may bear another signature of the same key."""
    try:
        same = decode_record(receipt.record).header == sent.header
    except RecordError:
        same = False
    if not same:
        raise SubmissionError(
            "BAD_RECEIPT", "the ledger acknowledged another statement than the one sent"
        )
    return receipt.index


def _explain(split: Split, said: list[Refusal]) -> VerifierError:
    reasons = {refusal.reason for refusal in said}
    lacking = [one for one in (split.one, split.other) if not one.statement.stored]
    if "REVOKED_KEY" in reasons:
        why = "the key was replaced or revoked there before: what it signs proves nothing any more"
    elif "BODY_MISSING" in reasons and lacking:
        why = f"it wants the body, which is not held where you have it from: {_where(lacking[0])}"
    elif reasons == {"FORK"}:
        why = "a fork in this epoch is proved there already"
    else:
        words = "; ".join(dict.fromkeys(f"{one.message} [{one.reason}]" for one in said))
        why = f"it must hold one of the two, or be able to: {words}"
    return VerifierError("NOT_TAKEN", f"the ledger logged no proof: {why}")


def _where(one: SplitStatement) -> str:
    return f"record {one.place.index} of {one.place.source}"
