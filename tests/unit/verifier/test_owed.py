"""Chips that were shown and are shown no more: what is owed at each instant, however it is told."""

from itertools import groupby
from operator import attrgetter

from hypothesis import given
from hypothesis import strategies as st

from verifier.evidence.owed import Roster, departed
from verifier.ruleset import own_ruleset

TABLE = own_ruleset().table
INSTANTS = 12
MODELS = len(TABLE.chips)

listed = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, MODELS - 1), max_size=8)
rosters = st.lists(st.tuples(st.integers(0, 2), st.integers(0, INSTANTS - 1), listed), max_size=9)


def shown_at(rosters: list[Roster], at: int) -> dict[int, Roster]:
    """Return what each node lists at an instant: its newest list, in log order, of those that hold by then."""
    found: dict[int, Roster] = {}
    for node, group in groupby(sorted(rosters, key=attrgetter("node")), attrgetter("node")):
        mine = list(group)
        for roster, after in zip(mine, [*mine[1:], None], strict=True):
            if roster.from_ms <= at and (after is None or at < after.from_ms):
                found[node] = roster
    return found


def owed_at(rosters: list[Roster], enrolled: list[int], at: int) -> list[int]:
    """Return the models of the chips that are owed at an instant, worked out for that instant alone."""
    now = shown_at(rosters, at)
    here = {uuid for roster in now.values() for uuid in roster.models}
    before = {uuid for roster in rosters if roster.from_ms <= at for uuid in roster.models}
    gone = [
        max(
            (roster.models[uuid] for roster in rosters if uuid in roster.models),
            key=lambda model: (TABLE.chips[model].peak_flop_per_s, -model),
        )
        for uuid in before - here
    ]
    lacking = sum(max(0, enrolled[node] - len(roster.models)) for node, roster in now.items())
    gone.sort(key=lambda model: (-TABLE.chips[model].peak_flop_per_s, model))
    return sorted(gone[: max(0, len(gone) - lacking)])


@given(rosters, st.lists(st.integers(0, 8), min_size=3, max_size=3))
def test_at_each_instant_the_most_capable_of_the_chips_that_are_gone_are_owed(
    said: list[tuple[int, int, dict[str, int]]], enrolled: list[int]
) -> None:
    shown = [Roster(node, at, models) for node, at, models in sorted(said, key=lambda one: one[1])]
    found = list(departed(shown, enrolled, TABLE))
    for at in range(INSTANTS):
        owed = [
            model
            for models, (start, end) in found
            if start <= at and (end is None or at < end)
            for model in models
        ]
        assert sorted(owed) == owed_at(shown, enrolled, at)


def test_however_often_a_node_shows_other_chips_each_is_owed_once() -> None:
    """Or whoever lists new chips a thousand times has an audit hold each of them a thousand times."""
    count, chips = 60, 50
    shown = [Roster(0, at, {f"{at}-{chip}": 0 for chip in range(chips)}) for at in range(count)]
    found = list(departed(shown, [chips], TABLE))
    assert sum(len(models) for models, _ in found) == (count - 1) * chips
    assert all(end is None for _, (_, end) in found)
