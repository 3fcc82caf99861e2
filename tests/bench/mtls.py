"""``mtls``: what a ledger admits over mutual TLS, beside what it admits in plain.

Two ledgers, one that takes TLS and one that does not, are sent the same kind of statements in turns, as
``ingest_bodies`` sends them: summaries with their bodies, batches of 1,000 on four streams, the client beside them.
The connections are there before the clock starts: handshakes are not counted.
"""

import statistics
from contextlib import ExitStack
from typing import Final

from statements.signing import SigningKey
from tests.bench.figure import Figure
from tests.bench.ingest import BATCH, STREAMS, log_all, send, signed_ahead
from tests.bench.parts.fleet import Fleet
from tests.bench.parts.log_server import ORIGIN, serving

ROUNDS: Final = 5
WINDOWS_A_ROUND: Final = 3
REQUIRED: Final = 0.8
REACH: Final = 0.9


def measure() -> Figure:
    """Return the figure: the median of five rounds over TLS to that of five in plain."""
    party = SigningKey.generate()
    rates: dict[bool, list[float]] = {True: [], False: []}
    with ExitStack() as stack:
        pairs = []
        for tls in rates:
            ledger = stack.enter_context(serving(party, tls=tls))
            fleet = Fleet(ledger.pins, ORIGIN, party)
            log_all(ledger, list(fleet.enrolments(STREAMS * BATCH)))
            log_all(ledger, list(fleet.openings()))
            pairs.append((tls, ledger, fleet))
        for _ in range(ROUNDS):
            for tls, ledger, fleet in pairs:
                seconds, _ = send(ledger, signed_ahead(fleet, WINDOWS_A_ROUND), bodies=True)
                rates[tls].append(WINDOWS_A_ROUND * STREAMS * BATCH / seconds)
            pairs.reverse()
    value, reference = (statistics.median(rates[tls]) for tls in (True, False))
    ratio = value / reference
    return Figure(
        name="mtls",
        value=value,
        unit=f"records/s; with bodies, batches of {BATCH:,}, TLS 1.3, client on the same cores",
        reference="the same in plain, in turns",
        reference_value=reference,
        ratio=ratio,
        required=REQUIRED,
        reach=REACH,
        met=ratio >= REQUIRED,
    )
