"""A source behind a barrier: whatever its driver does costs its own readings, and nothing else.

This is the one edge at which the agent runs other people's code, drivers and their bindings, on the thread that polls
for every node. What that code may raise or return is not known, so that everything is caught here, once, and told.
"""

from collections.abc import Callable
from typing import TypeVar

from attestor.channels import CHIP_CHANNEL_NAMES, NODE, NODE_CHANNEL_NAMES, Reading, clean
from attestor.errors import SourceError
from attestor.sources.interface import Batch, Source, SourceDescription
from attestor.sources.registry import Opener
from statements.enrolment import MOST_CHIPS

_T = TypeVar("_T")
_BOOT_ID_LENGTH = 16
_MOST_TEXT = 1 << 19
"""Bytes of names in an inventory, half of what a body may hold."""


class GuardedSource:
    """The source of ``kind`` that ``opener`` opens, opened when it is first read. Nothing here ever raises.

    After a :class:`SourceError` it is closed, and opened again by the next read unless the error is permanent. After
    any other error, which is a defect of the source, it stays open and is asked again. ``description`` is of the last
    time that it was open: a source that is down does not take its chips out of the node.
    """

    def __init__(self, kind: str, opener: Opener) -> None:
        self.kind = kind
        self.description: SourceDescription | None = None
        self._opener = opener
        self._source: Source | None = None
        self._fault = ""
        self._permanent = False

    @property
    def is_open(self) -> bool:
        """Whether it was opened and has not failed since."""
        return self._source is not None

    def read(self, now_ms: int) -> Batch:
        """Return what is due up to ``now_ms`` and is a reading, and a line for each thing that failed."""
        if self._source is None and not self._permanent:
            self._ask(self._open)
        source = self._source
        if source is None:
            return Batch((), (self._fault,))
        batch = self._ask(lambda: self._read(source, now_ms))
        return Batch((), (self._fault,)) if batch is None else batch

    def close(self) -> None:
        """Let go of the source; one that cannot be closed is left behind."""
        source, self._source = self._source, None
        if source is not None:
            self._ask(source.close)

    def _open(self) -> None:
        source = self._opener()
        verify_description(source.description)
        self._source, self.description = source, source.description

    def _read(self, source: Source, now_ms: int) -> Batch:
        batch = source.read(now_ms)
        if source.description is not self.description:  # other chips answer than before
            verify_description(source.description)
            self.description = source.description
        return checked(batch, len(source.description.chips))

    def _ask(self, call: Callable[[], _T]) -> _T | None:
        try:
            return call()
        except SourceError as error:
            self.close()
            self._fault, self._permanent = f"{error.reason}: {error}", error.permanent
        except Exception as error:  # noqa: BLE001 - other people's code on the poller's thread
            self._fault = f"UNEXPECTED: {error!r}"
        return None


def verify_description(description: SourceDescription) -> None:
    """Refuse a description that no window could be made of: :class:`SourceError`."""
    uuids = [chip.uuid for chip in description.chips]
    if len(uuids) > MOST_CHIPS:
        raise SourceError(
            "TOO_MANY_CHIPS",
            f"a node holds at most {MOST_CHIPS} chips, this source has {len(uuids)}",
        )
    if len(set(uuids)) != len(uuids):
        raise SourceError("CHIP_TWICE", "two chips of this source have one uuid")
    texts = [description.driver or ""]
    for chip in description.chips:
        texts += (chip.uuid, chip.model or "", chip.firmware or "")
    try:
        size = len("".join(texts).encode())
    except UnicodeEncodeError as error:
        raise SourceError("BAD_DESCRIPTION", f"a name that is no text: {error}") from error
    if size > _MOST_TEXT:
        raise SourceError(
            "BAD_DESCRIPTION",
            f"the names of driver and chips have {size} bytes, at most {_MOST_TEXT}",
        )
    if len(description.boot_id) != _BOOT_ID_LENGTH or description.sample_ms < 1:
        raise SourceError(
            "BAD_DESCRIPTION",
            "a source must give 16 bytes of boot id and a sample period of 1 ms or more",
        )


def checked(batch: Batch, chips: int) -> Batch:
    """Return a batch without what is no reading, and with a line for each such thing.

    Numbers that are not finite, or not possible for their channel, are missing; so are channels and chips that there
    are none of. A row without any value left is no reading.
    """
    readings: list[Reading] = []
    failed = dict.fromkeys(batch.failed)
    for reading in batch.readings:
        if not NODE <= reading.chip < chips:
            failed[f"UNKNOWN_CHIP: row {reading.chip} of {chips} chips"] = None
            continue
        known = NODE_CHANNEL_NAMES if reading.chip == NODE else CHIP_CHANNEL_NAMES
        impossible = [
            name
            for name, value in reading.values.items()
            if name not in known or clean(name, value) is None
        ]
        if impossible:
            for name in impossible:
                failed[f"IMPOSSIBLE_VALUE: {name} of row {reading.chip}"] = None
            kept = {name: v for name, v in reading.values.items() if name not in impossible}
            reading = reading._replace(values=kept)  # noqa: PLW2901 - the rest of it
        if reading.values:
            readings.append(reading)
    return Batch(readings, tuple(failed))
