"""The account of a party: the sum of its nodes' accounts, exact and in fixed order.

Sums are ``math.fsum`` within a node and over nodes in the order of their indices, so that it does
not matter how nodes were shared out among workers.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from statements.features import COLUMN
from verifier.accounts.chips import ChipTable
from verifier.accounts.columns import Bools, ChipWindows, Float64, Int64, PowerSlots, Windows
from verifier.accounts.errors import AccountsError
from verifier.accounts.expected import ExpectedNode
from verifier.accounts.interval import (
    TYPICAL_ENERGY_OVER_FLOOR,
    Term,
    counted_share,
    intervals,
)
from verifier.accounts.node import Bounded, NodeAccount, account_node
from verifier.accounts.observations import (
    Impossible,
    Observation,
    impossible_rows,
    impossible_walls,
)
from verifier.accounts.wall import wall_energy
from verifier.agreement.model import Trust
from verifier.workers import ALONE, share_out

SHARE: Final = 16_384
"""Chip windows, and chips, that are worked on at once, or else one node's: as many fit into a core's own cache."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Operations, FLOP: at least, likeliest, at most."""

    lower_flop: float
    estimate_flop: float
    upper_flop: float


@dataclass(frozen=True, slots=True)
class PartyAccount:
    """What a party's chips executed within a period [start, end) of Unix ms, and how that is known.

    ``lower_flop`` to ``upper_flop`` are of time with windows, ``unaccounted_flop`` of time and
    chips without: at most ``most_flop`` was executed. ``training_capable`` leaves what counters
    show to be idle out of its lower bound and estimate; its upper bound holds what idle chips could
    hide, and no unaccounted compute. ``coverage`` is the
    share of chip time with evidence, 0 to 1; NaN where no chip had to be accounted for.
    ``binding_shares`` is the share of ``upper_flop`` that each term bound; ``wall_floor_flop`` is
    what ``wall_energy_j`` allows at the least energy of an operation, in the time ``wall_s`` alone.
    ``trust`` is what the bounds rest on. ``nodes`` are the parts, by index.
    """

    period: tuple[int, int]
    trust: Trust
    lower_flop: float
    estimate_flop: float
    upper_flop: float
    unaccounted_flop: float
    training_capable: Interval
    coverage: float
    chips: int
    binding_shares: dict[Term, float]
    wall_energy_j: float
    wall_floor_flop: float
    wall_s: float
    expected_chip_s: float
    activity_share: float
    counter_share: float
    wall_share: float
    observations: tuple[Observation, ...]
    nodes: tuple[NodeAccount, ...]

    @property
    def most_flop(self) -> float:
        """The most that can have been executed, unaccounted compute included."""
        return math.fsum((self.upper_flop, self.unaccounted_flop))

    @property
    def detection_limit_flop(self) -> float:
        """The most that can have been executed beyond what is proved: what the evidence could hide."""
        return math.fsum((self.upper_flop, self.unaccounted_flop, -self.lower_flop))

    @property
    def missing_chip_s(self) -> float:
        """Chip seconds without a window."""
        return math.fsum(node.chips * node.missing_ms / 1000 for node in self.nodes)

    @property
    def unknown_chips(self) -> int:
        """Chips enrolled as a model that the table does not know: each counts as the most capable."""
        return sum({node.index: node.unknown_chips for node in self.nodes}.values())

    @property
    def binds(self) -> Term | None:
        """The term that bound the largest part of ``upper_flop``; None where that is zero."""
        if not self.upper_flop:
            return None
        return max(self.binding_shares, key=lambda term: (self.binding_shares[term], -term))


def _as_enrolled(
    windows: Windows, nodes: Sequence[ExpectedNode], table: ChipTable
) -> tuple[Windows, Bools]:
    """Return the windows with chips that differ from those enrolled counted as unknown, and which."""
    chips = windows.chips
    if not len(chips):
        return windows, np.zeros(0, dtype=np.bool_)
    unknown = len(table.chips) - 1
    speaking = set(np.unique(chips.node).tolist())
    heard = [node for node in nodes if node.index in speaking]  # who is silent may owe very many
    widest = max(len(node.models) for node in heard)
    enrolled = np.full((max(speaking) + 1, widest + 1), -1, np.int32)
    for node in heard:
        enrolled[node.index, : len(node.models)] = node.models
    wanted = enrolled[chips.node, np.minimum(chips.chip, widest)]
    differs: Bools = (wanted >= 0) & (wanted != chips.model)
    model = np.where(differs, unknown, chips.model).astype(np.int32)
    return Windows(replace(chips, model=model), windows.nodes), differs


def sampled_share(windows: Windows) -> Float64:
    """Return, by chip window, the share of the samples that were to be taken that were."""
    nodes = windows.nodes
    wanted, taken = nodes.samples_expected, np.minimum(nodes.samples_taken, nodes.samples_expected)
    share = np.divide(taken, wanted, out=np.zeros(len(nodes)), where=wanted > 0)
    of_chips: Float64 = share[windows.chips.window]
    return of_chips


def _has_activity(chips: ChipWindows) -> Bools:
    tensor = chips.features[:, [COLUMN["hmma_active_mean"], COLUMN["tensor_active_mean"]]]
    clock = chips.features[:, [COLUMN["sm_clock_mean"], COLUMN["sm_clock_tensor_mean"]]]
    blank: Bools = np.all(np.isnan(tensor), axis=1) | np.all(np.isnan(clock), axis=1)
    return ~blank


def _bound(
    windows: Windows,
    nodes: Sequence[ExpectedNode],
    period: tuple[int, int],
    table: ChipTable,
    trust: Trust,
) -> Bounded:
    """Return everything that is worked out of all rows at once."""
    windows, differs = _as_enrolled(windows, nodes, table)
    chips, count = windows.chips, len(windows.nodes)
    excluded = np.zeros(max((n.index for n in nodes), default=0) + 1, dtype=np.bool_)
    for node in nodes:
        excluded[node.index] = node.tf32_excluded
    sampled = sampled_share(windows)
    found = intervals(
        chips, table, period, trust, tf32_excluded=excluded[chips.node], sampled=sampled
    )
    wall = wall_energy(windows.nodes, period)
    peak = np.array([chip.peak_flop_per_s for chip in table.chips])[chips.model]
    together = np.bincount(chips.window, weights=peak, minlength=count)
    floor = np.full(count, np.inf)
    energy_floor = np.array([chip.e_min_j_per_flop for chip in table.chips])[chips.model]
    np.minimum.at(floor, chips.window, energy_floor)
    counts = trust is Trust.COUNTERS
    allowed = wall.most_j / floor + together * wall.uncovered_s
    usable = ~np.isnan(allowed) & counts
    typical = wall.energy_j / (TYPICAL_ENERGY_OVER_FLOOR * floor)
    inside = np.maximum(
        np.minimum(windows.nodes.end_ms, period[1]) - np.maximum(windows.nodes.start_ms, period[0]),
        0,
    )
    wall_s = np.where(np.isnan(wall.energy_j), 0.0, inside / 1000 - wall.uncovered_s)
    any_feature = ~np.all(np.isnan(chips.features), axis=1)
    taken = windows.nodes.samples_taken[chips.window] > 0
    own = any_feature & taken
    window_s = np.maximum(inside / 1000, 1e-3)[chips.window]
    by_counter = counted_share(chips)
    own_share = np.maximum(np.where(own, sampled, 0.0), by_counter)
    seen = np.maximum(own_share, np.clip(wall_s[chips.window] / window_s, 0.0, 1.0))
    odd = impossible_rows(chips, table)
    odd[Impossible.MODEL] = differs
    return Bounded(
        intervals=found,
        seen=seen,
        activity=_has_activity(chips) & taken,
        counter=by_counter > 0,
        wall_flop=np.where(usable, allowed, np.inf),
        wall_typical_flop=np.where(counts, typical, np.nan),
        wall_energy_j=wall.energy_j,
        wall_floor_flop=wall.energy_j / floor,
        wall_s=wall_s,
        odd_chips=odd,
        odd_walls=impossible_walls(windows),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Share:
    """Some of the nodes, by index, and their windows; ``rows`` are those windows' among all."""

    nodes: tuple[ExpectedNode, ...]
    windows: Windows
    rows: Int64
    period: tuple[int, int]
    table: ChipTable
    trust: Trust


def account_nodes(
    windows: Windows,
    nodes: Sequence[ExpectedNode],
    period: tuple[int, int],
    table: ChipTable,
    trust: Trust,
    *,
    executor: Executor = ALONE,
) -> list[NodeAccount]:
    """Return the account of each node, by index. Any split of the nodes gives the same accounts.

    Raises :class:`AccountsError` when a window's node is not among ``nodes``, or two have one index, and as
    :func:`share_out`.
    """
    if period[0] >= period[1]:
        raise AccountsError("BAD_PERIOD", f"[{period[0]}, {period[1]}) is not a period")
    ordered = sorted(nodes, key=lambda node: node.index)
    indices = [node.index for node in ordered]
    if len(set(indices)) != len(indices):
        raise AccountsError("DUPLICATE_NODE", "two nodes have one index")
    stray = set(np.unique(windows.nodes.node).tolist()) - set(indices)
    if stray:
        raise AccountsError(
            "UNKNOWN_NODE", f"windows of nodes that nobody expects: {sorted(stray)[:8]}"
        )
    shares = (
        _Share(some, windows_of, rows, period, table, trust)
        for some, windows_of, rows in _shares(windows, ordered)
    )
    return [node for found in share_out(executor, _account_share, shares) for node in found]


def _shares(
    windows: Windows, nodes: Sequence[ExpectedNode]
) -> Iterator[tuple[tuple[ExpectedNode, ...], Windows, Int64]]:
    """Yield nodes together with their windows: as many at once as have few chips enough, each with all of its own."""
    first = windows.first_chip_rows()
    by_node = np.argsort(windows.nodes.node, kind="stable").astype(np.int64)
    indices = [node.index for node in nodes]
    edges = np.searchsorted(windows.nodes.node[by_node], [*indices, np.iinfo(np.int32).max])
    chips = np.concatenate([[0], np.cumsum(windows.nodes.chips[by_node], dtype=np.int64)])[edges]
    # Who is silent costs as well.
    weight = chips + np.cumsum([0, *(len(node.models) for node in nodes)])
    begin = 0
    for end in range(1, len(nodes) + 1):
        if end == len(nodes) or weight[end + 1] - weight[begin] > SHARE:
            rows = np.sort(by_node[edges[begin] : edges[end]])
            yield tuple(nodes[begin:end]), _without_chip_slots(windows.take(rows, first)), rows
            begin = end


def _without_chip_slots(windows: Windows) -> Windows:
    """Return windows without what no account reads: the power of single chips, which is as long as all else."""
    none = PowerSlots(windows.nodes.chip_slots.octets.part(0, 0))
    return Windows(windows.chips, replace(windows.nodes, chip_slots=none))


def _account_share(share: _Share) -> list[NodeAccount]:
    """Return the accounts of a share's nodes; what was observed of windows names their rows among all."""
    windows, period, table, trust = share.windows, share.period, share.table, share.trust
    bounded = _bound(windows, share.nodes, period, table, trust)
    first = windows.first_chip_rows()
    by_node = np.argsort(windows.nodes.node, kind="stable")
    indices = [node.index for node in share.nodes]
    edges = np.searchsorted(windows.nodes.node[by_node], [*indices, np.iinfo(np.int32).max])
    found = [
        account_node(
            node,
            windows,
            by_node[edges[place] : edges[place + 1]],
            first,
            bounded,
            period=period,
            table=table,
            trust=trust,
        )
        for place, node in enumerate(share.nodes)
    ]
    return [
        replace(
            node,
            observations=tuple(
                replace(seen, windows=tuple(share.rows[list(seen.windows)].tolist()))
                for seen in node.observations
            ),
        )
        for node in found
    ]


def sum_up(accounts: Sequence[NodeAccount], period: tuple[int, int], trust: Trust) -> PartyAccount:
    """Return the account of the party whose nodes' accounts these are, in any order."""
    nodes = tuple(sorted(accounts, key=lambda account: account.index))

    def total(name: str) -> float:
        return math.fsum(getattr(node, name) for node in nodes)

    expected = total("expected_chip_s")
    upper = total("upper_flop")
    bound = [math.fsum(node.bound_flop[term] for node in nodes) for term in Term]

    def share(name: str) -> float:
        return min(1.0, total(name) / expected) if expected else math.nan

    return PartyAccount(
        period=period,
        trust=trust,
        lower_flop=total("lower_flop"),
        estimate_flop=total("estimate_flop"),
        upper_flop=upper,
        unaccounted_flop=total("unaccounted_flop"),
        training_capable=Interval(
            total("capable_lower_flop"),
            total("capable_estimate_flop"),
            total("upper_flop"),
        ),
        coverage=share("evidence_chip_s"),
        chips=sum(node.chips for node in nodes),
        binding_shares={term: bound[term] / upper if upper else 0.0 for term in Term},
        wall_energy_j=total("wall_energy_j"),
        wall_floor_flop=total("wall_floor_flop"),
        wall_s=total("wall_s"),
        expected_chip_s=expected,
        activity_share=share("activity_chip_s"),
        counter_share=share("counter_chip_s"),
        wall_share=share("wall_chip_s"),
        observations=tuple(seen for node in nodes for seen in node.observations),
        nodes=nodes,
    )


def account(
    windows: Windows,
    nodes: Sequence[ExpectedNode],
    period: tuple[int, int],
    table: ChipTable,
    trust: Trust,
) -> PartyAccount:
    """Return the account of a party over ``period`` (Unix ms, end excluded).

    ``windows`` may reach beyond the period: those just outside price the gaps at its edges.

    Raises :class:`AccountsError` when a window's node is not among ``nodes``.
    """
    return sum_up(account_nodes(windows, nodes, period, table, trust), period, trust)
