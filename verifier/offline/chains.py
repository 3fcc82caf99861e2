"""The places that records take in their authors' chains: each after the one before, none taken twice."""

from collections.abc import Iterable, Sequence

from statements.kinds import Kind
from statements.offline_bundle import Everything, RangeOf, Selection
from verifier.offline.outcome import Outcome
from verifier.offline.said import Said

_NOTHING = bytes(32)


def follow_chains(outcome: Outcome, heard: Sequence[Said], selection: Selection) -> None:
    """Note how records follow one another, where they do not, and which are missing of what was selected.

    ``heard`` are records that their authors said: nobody else's words contradict an author. Where an author is there
    whole, its chains begin with an opening, and each opening follows a statement that is there.
    """
    chains: dict[tuple[bytes, bytes], list[Said]] = {}
    for said in sorted(heard, key=lambda said: (said.header.sequence, said.index)):
        chains.setdefault((said.header.author, said.header.epoch), []).append(said)
    known = {said.id for said in heard} | {_NOTHING}
    before = len(outcome.refuted)
    for (author, _), chain in chains.items():
        _follow(outcome, chain)
        if isinstance(selection, RangeOf):
            chosen = [said for said in chain if selection.first <= said.index <= selection.last]
            _find_gaps(outcome, chosen, chosen[0].header.sequence if chosen else 0)
        elif isinstance(selection, Everything) or selection.author == author:
            _find_gaps(outcome, chain, 0)
            _find_lost_epoch(outcome, chain[0], known)
    if len(outcome.refuted) == before and heard:
        outcome.hold(
            "CHAINS",
            f"{len(heard)} records stand in {len(chains)} chains; none contradicts another",
        )


def _follow(outcome: Outcome, chain: Sequence[Said]) -> None:
    """Follow one chain; where a place was taken twice, it goes on from what was logged there first."""
    before: Said | None = None
    for said in chain:
        if (said.header.sequence == 0) != _opens(said):
            words = "the first statement of an epoch is an opening, and no other is"
            outcome.refute("NOT_AN_OPENING", words, said.index)
        if before is not None and before.header.sequence == said.header.sequence:
            _contradict(outcome, before, said)
            continue
        if before is not None:
            _follow_one(outcome, before, said)
        before = said


def _contradict(outcome: Outcome, first: Said, second: Said) -> None:
    if first.id == second.id:
        outcome.refute("LOGGED_TWICE", f"it repeats record {first.index}", second.index)
        return
    words = (
        f"its author signed another statement for the same place, record {first.index}: "
        "the two are the proof"
    )
    outcome.refute("EQUIVOCATION", words, second.index)


def _follow_one(outcome: Outcome, before: Said, said: Said) -> None:
    if said.header.key_id != before.header.key_id:
        words = "another key than the one that opened its epoch signs it: a new key opens a new one"
        outcome.refute("NOT_AN_OPENING", words, said.index)
    if said.header.sequence == before.header.sequence + 1 and said.header.previous != before.id:
        words = f"it follows another statement than record {before.index}"
        outcome.refute("WRONG_PREVIOUS", words, said.index)
    elif before.index > said.index:
        words = f"record {before.index} was said before it"
        outcome.refute("LOGGED_OUT_OF_ORDER", words, said.index)


def _find_gaps(outcome: Outcome, chain: Iterable[Said], wanted: int) -> None:
    """Note the places that nothing takes."""
    for said in chain:
        missing = said.header.sequence - wanted
        if missing > 0:
            outcome.miss("CHAIN_GAP", f"{missing} statements before it are not here", said.index)
        wanted = said.header.sequence + 1


def _find_lost_epoch(outcome: Outcome, first: Said, known: set[bytes]) -> None:
    """Note when the statement that an opening follows is not there."""
    if first.header.sequence == 0 and first.header.previous not in known:
        words = "it opens an epoch after a statement that is not here"
        outcome.miss("CHAIN_GAP", words, first.index)


def _opens(said: Said) -> bool:
    """Return whether a statement opens an epoch; leaf 0, the agreement, does so for the ledger."""
    if said.index == 0 and said.header.kind == Kind.AGREEMENT:
        return said.header.sequence == 0
    if said.index == 1 and said.header.sequence == 1:
        return False
    return said.header.kind == Kind.OPENING
