"""Admission: whether a screened statement may take its place in the log.

What it says and for when is never a reason to refuse it: an honest chain could wedge. Two nodes that claim one chip are
both logged. Judged are:

1. who speaks: the key is live, and may say statements of that kind;
2. where: the next place of its epoch, or a place that already holds this very statement;
3. after what: the statement that the place before holds.
"""

from ledger.chains import Chains
from ledger.keyring import Keyring, enrolled_digest
from ledger.refusal import Refusal
from ledger.screening import Screened
from protos.stillwatch.statement.v1 import identity_pb2
from statements.kinds import Kind


def judge(one: Screened, chains: Chains, keyring: Keyring) -> Refusal | int | None:
    """Return why a statement is refused, or the index of the record that holds its place, or ``None``: log it.

    The record at a returned index may hold another statement: whoever calls compares, and :func:`fork` words it.
    """
    return _refuse_speaker(one, keyring) or _judge_place(one, chains)


def fork(sequence: int, wanted: int) -> Refusal:
    """Return the refusal of a second statement for one place."""
    return Refusal(
        "FORK",
        f"another statement holds sequence {sequence}: both headers together prove equivocation; open a new epoch",
        wanted,
    )


def _refuse_speaker(one: Screened, keyring: Keyring) -> Refusal | None:
    # 1. Who.
    header = one.header
    if not keyring.is_live(header.key_id):
        return Refusal(
            "UNKNOWN_KEY",
            f"key {header.key_id.hex()} is neither pinned by the agreement nor enrolled: have its party enrol it first",
        )
    if header.kind == Kind.TICK and header.key_id != keyring.ledger:
        return Refusal("WRONG_AUTHOR", "only this ledger says the time of its log")
    if isinstance(one.content, identity_pb2.Enrolment):
        if not keyring.is_party(header.key_id):
            return Refusal("BAD_ENROLMENT", "only a party of the agreement enrols nodes")
        if enrolled_digest(one.content) in keyring.pins.by_key:
            return Refusal("BAD_ENROLMENT", "the agreement pins that key as somebody else's")
    return None


def _judge_place(one: Screened, chains: Chains) -> Refusal | int | None:
    # 2. Where.
    header = one.header
    chain = chains.epoch(header.author, header.epoch)
    wanted = 0 if chain is None else len(chain.indices)
    if header.sequence > wanted:
        return Refusal(
            "GAP", f"sequence {header.sequence} came, {wanted} is wanted: send from there", wanted
        )
    if chain is not None and header.sequence < wanted:
        return chain.indices[header.sequence]
    if (header.kind == Kind.OPENING) != (header.sequence == 0):
        return Refusal(
            "NOT_AN_OPENING",
            "the first statement of an epoch is an opening, and no other is: open a new epoch",
        )
    # 3. After what.
    if chain is not None and header.previous != chain.head:
        return Refusal(
            "WRONG_PREVIOUS",
            f"the statement at sequence {wanted - 1} is {chain.head.hex()}, not the previous one named",
            wanted,
        )
    return None
