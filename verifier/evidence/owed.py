"""Chips that nobody shows, and that somebody owes: declared and never enrolled, or shown once and shown no more. Pure.

Whoever declares compute must show it, and whoever has shown a chip goes on to: a chip that leaves its node's inventory,
and appears in none of the party's, may run anywhere. Each is a node of its own that accounts for nothing.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Final

from verifier.accounts.chips import ChipTable
from verifier.accounts.expected import ExpectedNode
from verifier.evidence.statement import EnrolledNode

NOT_ENROLLED: Final = "declared, not enrolled"
"""Stands for the node of chips that the agreement declares and no enrolment names."""
DEPARTED: Final = "shown before, shown no more"
"""Stands for the node of chips that an inventory named, and no later one does."""
_ROUNDING: Final = 1e-6
"""H100e by which sums of a table's figures may miss what was declared."""

Span = tuple[int, int | None]
"""From an instant to another, Unix ms; ``None``: without an end."""
_Change = tuple[int, int, int]
"""When, the model of chips that go or come back, and how many; or places that a node lacks."""
_PLACE: Final = -1


@dataclass(frozen=True, slots=True)
class Roster:
    """What a node's inventory lists from an instant on (Unix ms): each chip's uuid, and its row in the chip table."""

    node: int
    from_ms: int
    models: dict[str, int]


def undeclared(
    nodes: Sequence[EnrolledNode], declared_h100e: float, table: ChipTable
) -> Iterator[tuple[int, Span]]:
    """Yield how many H100e are declared and not enrolled, and for how long: from 0 on in each case."""
    held, short = Fraction(0), math.floor(declared_h100e + _ROUNDING)
    lookup = cache(table.lookup)
    for from_ms, enrolled in groupby(
        sorted(nodes, key=lambda node: node.accounted_from_ms), lambda node: node.accounted_from_ms
    ):
        held += sum(Fraction(lookup(node.chip_model).h100e) * node.chips for node in enrolled)
        left = math.floor(Fraction(declared_h100e) - held + Fraction(_ROUNDING))
        if max(left, 0) < short:
            yield short - max(left, 0), (0, from_ms)
            short = max(left, 0)
    if short > 0:
        yield short, (0, None)


def departed(
    rosters: Sequence[Roster], enrolled: Sequence[int], table: ChipTable
) -> Iterator[tuple[tuple[int, ...], Span]]:
    """Yield the models of chips that were shown before and are not, and from when until when.

    ``rosters`` are a party's, in log order; ``enrolled`` is the number of chips of each of its nodes. Where a node
    shows fewer chips than it enrolled, those that it lacks are accounted for there, and not again here.
    """
    of_node = {
        node: list(group)
        for node, group in groupby(sorted(rosters, key=lambda one: one.node), lambda one: one.node)
    }
    if all(
        before.models.keys() <= after.models.keys()
        for one in of_node.values()
        for before, after in pairwise(one)
    ):
        return
    changes: list[_Change] = []
    best = _most_capable(rosters, table)
    for uuid, shown in _shown(of_node.values()).items():
        for start, end in _complement(shown):
            changes.append((start, best[uuid], 1))
            if end is not None:
                changes.append((end, best[uuid], -1))
    for node, listed in of_node.items():
        lacking = 0
        for roster in listed:
            lacks = max(0, enrolled[node] - len(roster.models))
            changes.append((roster.from_ms, _PLACE, lacks - lacking))
            lacking = lacks
    yield from _sweep(changes, table)


def _most_capable(rosters: Sequence[Roster], table: ChipTable) -> dict[str, int]:
    """Return the most capable model that each chip was ever shown as."""
    best: dict[str, int] = {}
    for roster in rosters:
        for uuid, model in roster.models.items():
            known = best.get(uuid)
            if known is None or _capacity(model, table) > _capacity(known, table):
                best[uuid] = model
    return best


def _capacity(model: int, table: ChipTable) -> tuple[float, int]:
    return table.chips[model].peak_flop_per_s, -model


def _shown(of_node: Iterable[Sequence[Roster]]) -> dict[str, list[Span]]:
    """Return when each chip was shown by any node, unordered."""
    shown: dict[str, list[Span]] = {}
    for listed in of_node:
        ends: list[int | None] = [after.from_ms for after in listed[1:]]
        for roster, end in zip(listed, [*ends, None], strict=True):
            for uuid in roster.models:
                shown.setdefault(uuid, []).append((roster.from_ms, end))
    return shown


def _complement(shown: list[Span]) -> Iterator[Span]:
    """Yield when a chip was not shown, from when it first was."""
    reached: int | None = min(start for start, _ in shown)
    for start, end in sorted(shown, key=itemgetter(0)):
        if reached is None:
            return
        if start > reached:
            yield reached, start
        reached = None if end is None else max(reached, end)
    if reached is not None:
        yield reached, None


def _sweep(changes: list[_Change], table: ChipTable) -> Iterator[tuple[tuple[int, ...], Span]]:
    """Yield chips with the time for which they are owed: each change begins or ends no more than it is of.

    Of those that are gone, as many as nodes lack are owed there already: the least capable ones.
    """
    gone: Counter[int] = Counter()
    lacking = 0
    open_since: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for at, found in groupby(sorted(changes), itemgetter(0)):
        for _, model, step in found:
            if model == _PLACE:
                lacking += step
            else:
                gone[model] += step
        excused = lacking
        for model in sorted(gone, key=lambda one: _capacity(one, table)):
            owed = gone[model] - min(gone[model], excused)
            excused -= gone[model] - owed
            for start, count in _settle(open_since[model], owed, at):
                yield (model,) * count, (start, at)
    for model, spans in open_since.items():
        for start, count in spans:
            yield (model,) * count, (start, None)


def _settle(spans: list[tuple[int, int]], owed: int, at: int) -> Iterator[tuple[int, int]]:
    """Bring the number of a model's chips that are owed to ``owed``; yield those that end now: since when, how many.

    ``spans`` are those that are owed so far, each since when and how many, which changes.
    """
    short = owed - sum(count for _, count in spans)
    if short > 0:
        spans.append((at, short))
    while short < 0:
        start, count = spans.pop()
        ended = min(count, -short)
        if count > ended:
            spans.append((start, count - ended))
        if start < at:
            yield start, ended
        short += ended


def expected_of(
    owed: Iterable[tuple[str, tuple[int, ...], Span]], index: int, period: tuple[int, int]
) -> Iterator[ExpectedNode]:
    """Yield nodes that owe these chips, numbered from ``index`` on; those of no time in ``period`` are left out."""
    for name, models, (start, end) in owed:
        if start < period[1] and (end is None or end > period[0]):
            yield ExpectedNode(
                index=index,
                node_id=name,
                models=models,
                accounted_from_ms=start,
                accounted_until_ms=end,
            )
            index += 1
