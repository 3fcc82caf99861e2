"""Bundles of logs that are played in memory, honest or not: any records of them, correctly proved."""

from collections.abc import Iterable

from protos.stillwatch.statement.v1 import governance_pb2
from statements.offline_bundle import Everything, OfflineBundle, Selection
from tests.unit.verifier.logbook import IDLE, Logbook
from tlog.selection import selection_proof
from verifier.offline.bundle import verify_bundle
from verifier.offline.outcome import Outcome, Remark

NODE = "aurora/0"


def play() -> Logbook:
    """Return a short log: one party with one node, three windows, their ticks, and a fact.

    Leaves: 0 agreement, 1 the ledger's opening, 2 the party's opening, 3 the enrolment, 4 the node's opening, 5 its
    inventory, 6, 8, 10 windows, 7, 9, 11 ticks, 12 an evaluator's opening, 13 its fact.
    """
    book = Logbook.begin()
    book.enrol("aurora", NODE)
    for _ in range(3):
        book.minute({NODE: IDLE})
    fact = governance_pb2.Fact(indicator="task_horizon", value=16.0, agreement=book.pins.digest)
    book.say("meridian", fact)
    return book


def bundle_of(
    book: Logbook, indices: Iterable[int] | None = None, selection: Selection | None = None
) -> OfflineBundle:
    """Return a bundle of records of a log; whether they are what was selected is not looked at."""
    prefix = book.prefix()
    chosen = tuple(range(prefix.size)) if indices is None else tuple(sorted(indices))
    return OfflineBundle(
        selection=selection or Everything(),
        agreement=book.text.encode(),
        note=prefix.note,
        indices=chosen,
        records=tuple(book.records[at] for at in chosen),
        bodies=tuple(book.bodies[at] for at in chosen),
        hashes=tuple(selection_proof(chosen, prefix.size, prefix.subtree)),
    )


def verified(book: Logbook, bundle: OfflineBundle | None = None) -> Outcome:
    """Return what comes of a bundle; of the whole log where none is given."""
    return verify_bundle(bundle or bundle_of(book), book.pins.digest)


def told(remarks: Iterable[Remark]) -> list[tuple[str, int | None]]:
    """Return what is remarked, without the words."""
    return [(remark.reason, remark.index) for remark in remarks]
