"""A whole log out of one file: an offline bundle of everything, as ``stillwatch ledger export`` writes it."""

from statements.log_trust import LogTrust
from statements.offline_bundle import Everything, OfflineBundle
from statements.pins import Pins
from tlog.checkpoint import parse_checkpoint
from tlog.merkle import root_hash
from tlog.note import parse_note
from verifier.mirror.errors import MirrorError
from verifier.mirror.prefix import LogPrefix, build_levels
from verifier.rows.rows import Rows


def prefix_in(bundle: OfflineBundle, pins: Pins) -> LogPrefix:
    """Return the log that a bundle holds, verified against its checkpoint as an agreement asks.

    Raises :class:`MirrorError` when it holds a part of a log, or not the one that was signed, and what
    :meth:`LogTrust.believe` does.
    """
    log = pins.ledger(parse_checkpoint(parse_note(bundle.note)).origin)
    checkpoint = LogTrust.of(pins, log).believe(bundle.note).checkpoint
    if not isinstance(bundle.selection, Everything) or len(bundle.records) != checkpoint.size:
        raise MirrorError(
            "PART_OF_A_LOG",
            "a verdict takes a whole log: have `stillwatch ledger export` write one without --from, --to and --author",
        )
    levels = build_levels(bundle.records)
    root = root_hash(checkpoint.size, lambda level, index: levels[level][index])
    if root != checkpoint.root:
        raise MirrorError(
            "WRONG_ENTRIES", "the records of the bundle do not have the root of its checkpoint"
        )
    return LogPrefix(
        checkpoint.origin,
        checkpoint.size,
        checkpoint.root,
        bundle.note,
        Rows.of(bundle.records),
        Rows.of(bundle.bodies),
        levels,
    )
