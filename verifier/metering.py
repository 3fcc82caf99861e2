"""The meters of a party, as its agreement pins them, and what they said in the log."""

from collections.abc import Sequence

from protos.stillwatch.statement.v1 import summary_pb2
from statements.pins import Role
from verifier.accounts.chips import ChipTable
from verifier.accounts.metered import MOST_MJ, MeterCount, MeterRecord, metered_flop
from verifier.agreement.model import Agreement, Meter
from verifier.evidence.statement import LoggedStatement
from verifier.evidence.windows import PartyWindows


def meter_records(
    agreement: Agreement, said: Sequence[LoggedStatement], windows: PartyWindows
) -> tuple[MeterRecord, ...]:
    """Return what the meters of all of a party's sites said.

    Empty where they do not measure all of its chips: a site has no meter, or more than one (of two neither is known to
    measure it whole), or chips that the agreement declares are enrolled at no site.
    """
    if len(windows.expected) > len(windows.nodes):
        return ()
    mine = [meter for meter in agreement.meters if meter.party == windows.party]
    found: dict[str, Meter] = {}
    for site in sorted({node.site for node in windows.nodes}):
        of_site = [meter for meter in mine if site in meter.sites]
        if len(of_site) != 1:
            return ()
        found[of_site[0].id] = of_site[0]
    return tuple(_record(meter, said) for meter in found.values())


def most_metered(
    meters: Sequence[MeterRecord],
    windows: PartyWindows,
    spans: Sequence[tuple[int, int]],
    table: ChipTable,
) -> float | None:
    """Return the most FLOP that a party's meters allow all of its chips in ``spans``; ``None`` if they say nothing."""
    rows = sorted({row for node in windows.expected for row in node.models})
    return metered_flop(meters, spans, [table.chips[row] for row in rows])


def _record(meter: Meter, said: Sequence[LoggedStatement]) -> MeterRecord:
    """Return a meter's counts in time order; two that differ for one instant leave both, and so nothing to go by."""
    counts: set[tuple[int, int]] = set()
    bound = meter.systematic_bound
    for one in said:
        message = one.message
        if one.role is not Role.METER or one.name != meter.id:
            continue
        if not isinstance(message, summary_pb2.MeterReading):
            continue
        if message.HasField("systematic_bound"):
            # Not a number counts as knowing nothing.
            stated = message.systematic_bound
            bound = max(bound, stated) if 0 <= stated < 1 else 1.0
        header = one.header
        if message.HasField("energy_start_mj") and message.energy_start_mj < MOST_MJ:
            counts.add((header.start_ms, message.energy_start_mj))
        if message.HasField("energy_end_mj") and message.energy_end_mj < MOST_MJ:
            counts.add((header.end_ms, message.energy_end_mj))
    if len({at for at, _ in counts}) < len(counts):
        return MeterRecord((), bound)
    return MeterRecord(tuple(MeterCount(at, energy) for at, energy in sorted(counts)), bound)
