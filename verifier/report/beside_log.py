"""A verdict's bytes beside a log, wherever that lies: a server, a mirror's folder, or a bundle of everything."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from statements.offline_bundle import BUNDLE_LIMIT, decode_offline_bundle
from statements.pins import Pins, read_pins
from statements.sealing import ReadingKey
from statements.tls import ClientTls
from verifier.evidence.listed_readers import read_listed_readers
from verifier.mirror.prefix import LogPrefix, fetch_prefix, served_log
from verifier.mirror.source import HttpSource, open_source
from verifier.mirror.whole_bundle import prefix_in
from verifier.offline.outcome import Outcome
from verifier.report.again import Held, verify_report
from verifier.ruleset import own_ruleset
from verifier.workers import open_workers


class Beside:
    """An agreement, and the log at ``place`` that it lists, verified; ``reader_paths`` are files of readers' keys.

    Raises the verifier's errors, those of statements and those of transparency logs where either is not to be believed.
    """

    def __init__(
        self,
        agreement: bytes,
        place: str,
        reader_paths: tuple[Path, ...],
        tls: ClientTls | None = None,
    ) -> None:
        pins = read_pins(agreement)
        readers: list[ReadingKey] = read_listed_readers(pins, reader_paths)
        self._held = Held(agreement, _read_log(place, pins, tls), own_ruleset(), readers)

    def verify(self, verdict: bytes, workers: int = 1) -> Outcome:
        """Return what comes of a verdict's bytes, by so many workers; raises as :func:`verify_report`."""
        with open_workers(workers) as executor:
            return verify_report(verdict, replace(self._held, executor=executor))


def _read_log(place: str, pins: Pins, tls: ClientTls | None) -> LogPrefix:
    path = Path(place)
    if path.is_file():
        with path.open("rb") as file:
            data = file.read(BUNDLE_LIMIT + 1)
        return prefix_in(decode_offline_bundle(data), pins)
    with ExitStack() as stack:
        source = open_source(place, tls)
        if isinstance(source, HttpSource):
            stack.enter_context(source)
        return fetch_prefix(source, served_log(source, pins))
