from itertools import chain, combinations

from hypothesis import given
from hypothesis import strategies as st

from verifier.agreement.membership import (
    Always,
    AtLeast,
    DeclaredShare,
    ManyJurisdictions,
    ManyParties,
    Standing,
    Terms,
    WithJurisdiction,
    WithParty,
    greatest_fixed_point,
    met,
)

NAMES = ("a", "b", "c", "d", "e")
LANDS = ("US", "UK", "CN")

leaves = st.one_of(
    st.just(Always()),
    st.builds(WithParty, st.sampled_from(NAMES)),
    st.builds(WithJurisdiction, st.sampled_from(LANDS)),
    st.builds(ManyParties, st.integers(1, 5)),
    st.builds(ManyJurisdictions, st.integers(1, 3)),
    st.builds(DeclaredShare, st.floats(0, 1)),
)
terms = st.recursive(
    leaves,
    lambda inner: st.builds(
        AtLeast, st.integers(1, 3), st.lists(inner, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=6,
)
worlds = st.fixed_dictionaries(
    {name: st.builds(Standing, st.sampled_from(LANDS), st.floats(0, 1e6)) for name in NAMES}
)
all_terms = st.fixed_dictionaries(dict.fromkeys(NAMES, terms))
sets = st.frozensets(st.sampled_from(NAMES))


def subsets(of: frozenset[str]) -> list[frozenset[str]]:
    ordered = sorted(of)
    return [
        frozenset(s)
        for s in chain.from_iterable(combinations(ordered, n) for n in range(len(ordered) + 1))
    ]


@given(sets, all_terms, worlds)
def test_the_members_meet_each_others_terms(
    acceded: frozenset[str], wants: dict[str, Terms], world: dict[str, Standing]
) -> None:
    members = greatest_fixed_point(acceded, wants, world)
    assert members <= acceded
    assert all(met(wants[party], members, world) for party in members)


@given(sets, all_terms, worlds)
def test_no_larger_set_would_do(
    acceded: frozenset[str], wants: dict[str, Terms], world: dict[str, Standing]
) -> None:
    members = greatest_fixed_point(acceded, wants, world)
    for other in subsets(acceded):
        if all(met(wants[party], other, world) for party in other):
            assert other <= members


@given(sets, sets, all_terms, worlds)
def test_another_accession_never_puts_a_member_out(
    acceded: frozenset[str],
    more: frozenset[str],
    wants: dict[str, Terms],
    world: dict[str, Standing],
) -> None:
    assert greatest_fixed_point(acceded, wants, world) <= greatest_fixed_point(
        acceded | more, wants, world
    )


def test_two_who_wait_for_each_other_are_both_in() -> None:
    world = {name: Standing("US", 1.0) for name in "ab"}
    wants: dict[str, Terms] = {"a": WithParty("b"), "b": WithParty("a")}
    assert greatest_fixed_point({"a", "b"}, wants, world) == {"a", "b"}
    assert greatest_fixed_point({"a"}, wants, world) == frozenset()


def test_one_refusal_unravels_only_those_who_needed_it() -> None:
    world = {name: Standing("US", 1.0) for name in "abc"}
    wants: dict[str, Terms] = {"a": WithParty("b"), "b": ManyParties(2), "c": WithParty("d")}
    assert greatest_fixed_point({"a", "b", "c"}, wants, world) == {"a", "b"}
