"""Chips that two nodes showed at the same time. Pure.

A chip is in one place. Where two nodes have windows of one span that name the same chip, or one node speaks for two
parties, at most one of them reports what that chip did, and another may stand unseen behind the name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from verifier.evidence.records import Int64
from verifier.evidence.windows import PartyWindows


@dataclass(frozen=True, slots=True)
class Claimant:
    """A node as some party's: the index of the party, and of the node among its nodes."""

    party: int
    node: int


@dataclass(frozen=True, slots=True)
class SharedChips:
    """Chips that ``later`` showed while ``earlier``, which claimed them first, did too.

    ``chips`` are how many; [``from_ms``, ``to_ms``) is from the first window of both to the last; ``rows`` are the rows
    in the records of the first window of each, the earlier claimant's first.
    """

    earlier: Claimant
    later: Claimant
    chips: int
    from_ms: int
    to_ms: int
    rows: tuple[int, int]


def shared_chips(parties: Sequence[PartyWindows]) -> tuple[SharedChips, ...]:
    """Return which chips were shown twice, one entry for each claimant that was not the first.

    The first is whose inventory named the chip first in the log; of one node that two parties enrolled, that of the
    party that did so first.
    """

    def precedence(claimant: Claimant, rosters: Sequence[int]) -> tuple[int, int]:
        party = parties[claimant.party]
        named = min(party.claims[claimant.node, roster] for roster in rosters)
        return named, party.nodes[claimant.node].index

    @cache
    def starts(claimant: Claimant, roster: int) -> Int64:
        nodes = parties[claimant.party].admitting.nodes
        mine = (nodes.node == claimant.node) & (nodes.roster == roster)
        return np.unique(nodes.start_ms[mine]).astype(np.int64)

    holders: dict[str, dict[Claimant, list[int]]] = {}
    for place, party in enumerate(parties):
        for node, roster in party.claims:
            for uuid in party.rosters[roster]:
                holders.setdefault(uuid, {}).setdefault(Claimant(place, node), []).append(roster)
    found: dict[tuple[Claimant, Claimant], list[Int64]] = {}
    for claims in holders.values():
        if len(claims) < 2:
            continue
        order = sorted(claims, key=lambda one: precedence(one, claims[one]))
        taken: Int64 = np.zeros(0, dtype=np.int64)
        for claimant in order:
            times = np.concatenate([starts(claimant, roster) for roster in claims[claimant]])
            both = np.intersect1d(times, taken)
            if len(both):
                found.setdefault((order[0], claimant), []).append(both)
            taken = np.union1d(taken, times).astype(np.int64)
    return tuple(_told(parties, earlier, later, times) for (earlier, later), times in found.items())


def _told(
    parties: Sequence[PartyWindows], earlier: Claimant, later: Claimant, times: list[Int64]
) -> SharedChips:
    first = min(int(one[0]) for one in times)
    last = max(int(one[-1]) for one in times)
    windows = parties[later.party].admitting.nodes
    length = int((windows.end_ms - windows.start_ms)[0])
    return SharedChips(
        earlier,
        later,
        len(times),
        first,
        last + length,
        (_row(parties, earlier, first), _row(parties, later, first)),
    )


def _row(parties: Sequence[PartyWindows], claimant: Claimant, start_ms: int) -> int:
    """Return the row of a claimant's window that begins at an instant, or else of its first."""
    party = parties[claimant.party]
    nodes = party.admitting.nodes
    mine = np.flatnonzero(nodes.node == claimant.node)
    at = mine[np.argmax(nodes.start_ms[mine] == start_ms)]
    return int(party.admitting_rows[at])
