"""Admission: whether a screened statement may take its place in the log.

What it says and for when is never a reason to refuse it: an honest chain could wedge. Two nodes that claim one chip are
both logged. Judged are:

1. who speaks: the key is live, and its author's; what was logged before the key ended may come again, nothing else;
2. where: the next place of its epoch, or a place that already holds this very statement;
3. after what: the statement that the place before holds;
4. whether whoever speaks may do what statements of that kind do to keys and time.
"""

from ledger.chains import Chains
from ledger.keyring import Keyring
from ledger.refusal import Refusal
from ledger.screening import Screened
from statements.errors import KeyLifeError
from statements.kinds import Kind


def judge(one: Screened, chains: Chains, keyring: Keyring) -> Refusal | int | None:
    """Return why a statement is refused, or the index of the record that holds its place, or ``None``: log it.

    The record at a returned index may hold another statement: whoever calls compares, and :func:`taken` words it.
    """
    refusal = _refuse_speaker(one, keyring)
    if refusal is not None:
        return refusal
    place = _judge_place(one, chains)
    if not keyring.is_live(one.header.key_id):
        return place if isinstance(place, int) else _ended(one)
    return _refuse_deed(one, keyring) if place is None else place


def taken(one: Screened, chains: Chains, keyring: Keyring) -> Refusal:
    """Return the refusal of a statement whose place another one holds."""
    if not keyring.is_live(one.header.key_id):
        return _ended(one)
    chain = chains.epoch(one.header.author, one.header.epoch)
    return fork(one.header.sequence, 0 if chain is None else len(chain.indices))


def proves(one: Screened, place: int, before: int | None, chains: Chains) -> bool:
    """Return whether a second statement for the place that record ``place`` holds is to be logged as a proof.

    It is when it was handed over right after the first, whose index is ``before`` and which was logged before: an
    author that lost its way sends the second alone, and shall go on in a new epoch; whoever hands over both knows what
    they are. Once an epoch is enough (docs/adr/0006-both-headers-make-a-proof.md).
    """
    chain = chains.epoch(one.header.author, one.header.epoch)
    return before == place and chain is not None and chain.proof is None


def fork(sequence: int, wanted: int) -> Refusal:
    """Return the refusal of a second statement for one place."""
    return Refusal(
        "FORK",
        f"another statement holds sequence {sequence}: both headers together prove equivocation, and are logged when "
        "somebody hands over the two in one batch, the logged one first; to go on, open a new epoch",
        wanted,
    )


def _ended(one: Screened) -> Refusal:
    return Refusal(
        "REVOKED_KEY",
        f"key {one.header.key_id.hex()} was replaced or revoked: speak with the key that follows it; where none does, "
        "a node's party or a recovery key lets its author go on under a fresh one (stillwatch agent recover)",
    )


def _refuse_speaker(one: Screened, keyring: Keyring) -> Refusal | None:
    # 1. Who.
    header = one.header
    if not keyring.may_appear(header.key_id):
        return Refusal(
            "UNKNOWN_KEY",
            f"key {header.key_id.hex()} is neither pinned by the agreement nor enrolled: have its party enrol it first",
        )
    if keyring.author_of(header.key_id) != header.author:
        return Refusal("WRONG_AUTHOR", "the author is not the holder of the key")
    return None


def _judge_place(one: Screened, chains: Chains) -> Refusal | int | None:
    # 2. Where.
    header = one.header
    chain = chains.epoch(header.author, header.epoch)
    if chain is not None and chain.key_id != header.key_id:
        return Refusal(
            "NOT_AN_OPENING", "the epoch was opened with another key: a new key opens a new epoch"
        )
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


def _refuse_deed(one: Screened, keyring: Keyring) -> Refusal | None:
    # 4. What it does.
    if one.header.kind == Kind.TICK and one.header.author != keyring.ledger:
        return Refusal("WRONG_AUTHOR", "only this ledger says the time of its log")
    try:
        keyring.judge(one.header, one.content)
    except KeyLifeError as error:
        return Refusal(error.reason, str(error))
    return None
