"""Who is in: the largest set of parties that acceded in which everyone's terms are met.

Each party accedes on terms about the others. Terms can only ask for *more* members (there is no "not"), so the map
from a set to those of it whose terms the set meets is monotone, and by Knaster and Tarski it has a greatest fixed
point, reached by dropping the unsatisfied until none is left. Nobody needs to go first: two parties that each wait
for the other are both in. The party itself counts among the members that its terms speak of.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Standing:
    """What terms may ask of a party: its jurisdiction, and its declared compute in H100e."""

    jurisdiction: str
    declared_h100e: float


@dataclass(frozen=True, slots=True)
class Always:
    """Accedes whoever else does."""


@dataclass(frozen=True, slots=True)
class WithParty:
    """That party is a member."""

    party: str


@dataclass(frozen=True, slots=True)
class WithJurisdiction:
    """Some member is of that jurisdiction."""

    jurisdiction: str


@dataclass(frozen=True, slots=True)
class ManyParties:
    """At least so many parties are members."""

    count: int


@dataclass(frozen=True, slots=True)
class ManyJurisdictions:
    """The members are of at least so many jurisdictions."""

    count: int


@dataclass(frozen=True, slots=True)
class DeclaredShare:
    """The members hold at least that share (0 to 1) of what all parties to the text declared."""

    share: float


@dataclass(frozen=True, slots=True)
class AtLeast:
    """At least ``count`` of the terms are met: ``all_of`` and ``any_of`` are its two ends."""

    count: int
    of: "tuple[Terms, ...]"


Terms: TypeAlias = (
    Always
    | WithParty
    | WithJurisdiction
    | ManyParties
    | ManyJurisdictions
    | DeclaredShare
    | AtLeast
)
"""What a party's accession depends on."""


def met(  # noqa: PLR0911 - one return a kind of term
    terms: Terms, members: AbstractSet[str], everyone: Mapping[str, Standing]
) -> bool:
    """Return whether a set of members meets terms; ``everyone`` holds all parties to the text."""
    match terms:
        case Always():
            return True
        case WithParty(party):
            return party in members
        case WithJurisdiction(jurisdiction):
            return any(everyone[member].jurisdiction == jurisdiction for member in members)
        case ManyParties(count):
            return len(members) >= count
        case ManyJurisdictions(count):
            return len({everyone[member].jurisdiction for member in members}) >= count
        case DeclaredShare(share):
            # Summed in one order, so that the same set always gives the same float.
            held = sum(s.declared_h100e for party, s in everyone.items() if party in members)
            return held >= share * sum(s.declared_h100e for s in everyone.values())
        case AtLeast(count, of):
            return sum(met(term, members, everyone) for term in of) >= count


def greatest_fixed_point(
    acceded: AbstractSet[str], terms: Mapping[str, Terms], everyone: Mapping[str, Standing]
) -> frozenset[str]:
    """Return the largest subset of those who acceded in which every party's terms are met."""
    members = frozenset(acceded)
    while True:
        kept = frozenset(party for party in members if met(terms[party], members, everyone))
        if kept == members:
            return members
        members = kept
