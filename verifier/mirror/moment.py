"""A log as it was: the first records of one that has grown, so that what was concluded then can be concluded again."""

from pathlib import Path
from typing import TypeAlias

from statements.log_trust import LogTrust
from tlog.errors import TlogError
from verifier.mirror.errors import InconsistentLogError, MirrorError
from verifier.mirror.prefix import LogPrefix
from verifier.mirror.shelf import kept_notes

Moment: TypeAlias = int | bytes
"""When: a size in records, or a signed checkpoint."""


def as_it_was(prefix: LogPrefix, moment: Moment, trust: LogTrust, mirror: Path) -> LogPrefix:
    """Return the log as it was at a moment; its checkpoint is that moment's, where an audit kept it in ``mirror``.

    Without one it is the newest, of which the records are the beginning all the same. Raises :class:`MirrorError` when
    the log is not that long, and :class:`InconsistentLogError` when the checkpoint given is of another history.
    """
    if isinstance(moment, int):
        _verify_long_enough(prefix, moment)
        for note in kept_notes(mirror, moment):
            try:
                return as_it_was(prefix, note, trust, mirror)
            except InconsistentLogError:
                raise
            except MirrorError:
                continue  # damaged, or put there by somebody: the records do not rest on it
        return prefix.first(moment, prefix.note)
    try:
        seen = trust.believe(moment).checkpoint
    except TlogError as error:
        raise MirrorError(error.reason, f"the checkpoint given: {error}") from None
    _verify_long_enough(prefix, seen.size)
    was = prefix.first(seen.size, moment)
    if was.root != seen.root:
        raise InconsistentLogError(
            "FORKED",
            f"{prefix.origin} signed another history of {seen.size} records than the one of {prefix.size} that it "
            "serves",
            moment,
            prefix.note,
        )
    return was


def _verify_long_enough(prefix: LogPrefix, size: int) -> None:
    if size > prefix.size:
        raise MirrorError(
            "NO_SUCH_SIZE",
            f"{prefix.origin} has {prefix.size} records here, not {size}: bring the mirror up to date",
        )
