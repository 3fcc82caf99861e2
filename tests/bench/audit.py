"""``audit``: node-windows a second, one core, from a log's tiles to what verdicts are made of.

Counted is everything between the static files in memory and the columns of the accounts: checkpoint, leaf and node
hashes, tiles, record layout, statement ids, chains, signatures, body digests, and the summaries' features and counters.
Beside it stands what ``openssl speed ecdsap256`` verifies a second in one process: a verifier that checked one
signature a window could not be faster than that. The best of nine runs stands beside the best of four of openssl's,
which are taken in between: other work on the cores slows both.

Rows are hashed and signatures verified in the fastest ways that are there, which are told beside the figure;
``audit_hashlib`` is the same with what is always there.
"""

import gc
import time
from dataclasses import replace
from typing import Final

from statements.log_trust import LogTrust
from statements.verification import registry
from tests.bench.figure import Figure, openssl_verifies_a_second
from tests.unit.verifier.logbook import T0, TRAINING, Logbook, served
from verifier.agreement.parse import parse_agreement
from verifier.evidence.gather import gather
from verifier.evidence.windows import party_windows
from verifier.mirror.prefix import LogPrefix, fetch_prefix
from verifier.rows.hashing import backend
from verifier.ruleset import own_ruleset

NODES: Final = 100
WINDOWS: Final = 240
MINUTES_A_TICK: Final = 10
ROUNDS: Final = 3
RUNS_A_ROUND: Final = 3
REQUIRED: Final = 10.0
REACH: Final = 25.0


class _Memory:
    """A log's files in memory."""

    place = "memory"

    def __init__(self, prefix: LogPrefix) -> None:
        self._files = dict(served(prefix))

    def read(self, path: str, limit: int) -> bytes | None:
        """Return a file's bytes."""
        data = self._files.get(path)
        return None if data is None or len(data) > limit else data


def measure() -> Figure:
    """Return the figure: 100 nodes of 8 chips with 240 windows each, power by the second included."""
    return measured("audit")


def measured(name: str) -> Figure:
    """Return the figure of that name, with rows hashed in the fastest way that is there."""
    book = _book()
    agreement = parse_agreement(book.text.encode())
    ruleset = own_ruleset()
    source = _Memory(book.prefix())
    period = (T0, book.now_ms)
    trust = LogTrust.of(agreement.pins, agreement.pins.ledgers[0])
    gc.collect()
    gc.freeze()  # what made the log would not be there in an audit
    best, reference = 0.0, openssl_verifies_a_second(1)
    for _ in range(ROUNDS):
        for _ in range(RUNS_A_ROUND):
            began = time.perf_counter()
            prefix = fetch_prefix(source, trust)
            evidence = gather(agreement.pins, prefix)
            read = party_windows(agreement, evidence, agreement.parties[0], period, ruleset.table)
            spent = time.perf_counter() - began
            if len(read.windows.nodes) != NODES * WINDOWS or evidence.faults:
                raise RuntimeError("the bench's log was not read whole")
            best = max(best, len(read.windows.nodes) / spent)
        reference = max(reference, openssl_verifies_a_second(1))
    gc.unfreeze()
    ratio = best / reference
    return Figure(
        name=name,
        value=best,
        unit="node-windows/s; one core, 8 chips, power by the second, from tiles in memory, "
        f"rows hashed with {backend()}, signatures verified with {registry.chosen().backend.name}",
        reference="openssl speed ecdsap256 verify, one process",
        reference_value=reference,
        ratio=ratio,
        required=REQUIRED,
        reach=REACH,
        met=ratio >= REQUIRED,
    )


def _book() -> Logbook:
    """Return a log in which nodes of one party train; a tick stands for as many windows as a thousand nodes give."""
    book = Logbook.begin({"windows.late_grace": '"1 h"', "windows.tick": '"10 min"'})
    for at in range(NODES):
        book.enrol("aurora", f"aurora/{at}")
    book.minutes(replace(TRAINING, slots=True), WINDOWS, a_tick=MINUTES_A_TICK)
    return book
