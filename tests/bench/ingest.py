"""``ingest``: records a second that one ledger verifies, deduplicates, makes durable and acknowledges over gRPC.

The ledger is ``stillwatch ledger serve`` in its own process, as anybody would start it: SQLite journal with
``synchronous=FULL``, a folder of static files, a checkpoint a second. The client, in this process, shares both cores
with it: four streams, batches of 1,000 statements, on each stream as many under way as the ledger takes. Sent are
summaries of nodes with keys of their own, headers alone: their bodies are withheld, as summaries' may be
(``ingest_bodies`` sends them too). They are signed before the clock starts. The clock stops when the last answer was
read, and found to be a receipt for the very statement sent.

The log is published meanwhile, at low priority; how long after the last answer the last record was is told beside the
figure. Afterwards the log is read from its static files, verified, and must hold each statement once, where its receipt
says; and a batch that is sent again must get its old receipts.

Signatures are verified in the fastest way that is there, which is told beside the figure; ``ingest_cryptography`` is
the same with what is always there. Beside it stands what ``openssl speed ecdsap256`` verifies a second in two
processes: no ledger that verifies each signature by itself with that code could be faster.
"""

import asyncio
import gc
import os
import statistics
import time
from collections.abc import Sequence
from typing import Final

import grpc

from protos.stillwatch.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from statements.author import Statement
from statements.channel import channel_credentials
from statements.header import HEADER_LENGTH
from statements.ledger_client import LedgerClient, Receipt
from statements.signing import SigningKey
from statements.verification.registry import SETTING, choose
from tests.bench.figure import Figure, openssl_verifies_a_second
from tests.bench.parts.fleet import Fleet, request
from tests.bench.parts.log_server import ORIGIN, LogServer, serving
from verifier.mirror.prefix import LogPrefix

BATCH: Final = 1_000
STREAMS: Final = 4
ROUNDS: Final = 3
WINDOWS_A_ROUND: Final = 36
REQUIRED: Final = 0.60
REACH: Final = 1.3
_HEADER_AT: Final = slice(3, 3 + HEADER_LENGTH)
"""Where a record has its header."""

Stream = list[list[Statement]]
"""What one stream sends: batches, in order."""


def measure() -> Figure:
    """Return the figure for headers alone."""
    return measured("ingest", bodies=False, windows=WINDOWS_A_ROUND)


def measured(name: str, *, bodies: bool, windows: int) -> Figure:
    """Return the figure: the median of three rounds, each of so many windows of 4,000 nodes.

    The reference is measured before each round, and the best of the three counts: whoever else uses the cores can only
    make the ratio smaller.
    """
    party = SigningKey.generate()
    with serving(party) as ledger:
        fleet = Fleet(ledger.pins, ORIGIN, party)
        log_all(ledger, list(fleet.enrolments(STREAMS * BATCH)))
        log_all(ledger, list(fleet.openings()))
        rates: list[float] = []
        late: list[float] = []
        references: list[float] = []
        places: dict[int, bytes] = {}
        stored = 0
        for _ in range(ROUNDS):
            streams = signed_ahead(fleet, windows)
            stored = len(streams[0][0][0].stored)
            references.append(openssl_verifies_a_second(2, seconds=1))
            seconds, indices = send(ledger, streams, bodies=bodies)
            acknowledged = time.perf_counter()
            ledger.await_published(max(indices) + 1)
            late.append(time.perf_counter() - acknowledged)
            rates.append(windows * STREAMS * BATCH / seconds)
            places |= indices
        verify_again(ledger, streams[0][0], places)
        verify_logged(ledger.published(max(places) + 1), places)
    value, reference = statistics.median(rates), max(references)
    ratio = value / reference
    what = f"bodies of {stored:,} bytes" if bodies else "headers alone"
    return Figure(
        name=name,
        value=value,
        unit=f"records/s; {what}, batches of {BATCH:,}, signatures verified with {backend()}, "
        f"SQLite journal, client on the same cores; published {max(late):.1f} s after the last answer",
        reference="openssl speed ecdsap256 verify, two processes",
        reference_value=reference,
        ratio=ratio,
        required=REQUIRED,
        reach=REACH,
        met=ratio >= REQUIRED,
    )


def backend() -> str:
    """Return what a ledger that is started here verifies signatures with."""
    return choose(os.environ.get(SETTING)).backend.name


def signed_ahead(fleet: Fleet, windows: int) -> list[Stream]:
    """Return what each stream sends: a batch is one window of a thousand nodes, which keep to their stream."""
    streams: list[Stream] = [[] for _ in range(STREAMS)]
    for _ in range(windows):
        said = fleet.window()
        for at, stream in enumerate(streams):
            stream.append(said[at * BATCH : (at + 1) * BATCH])
    return streams


def send(
    ledger: LogServer, streams: Sequence[Stream], *, bodies: bool
) -> tuple[float, dict[int, bytes]]:
    """Send, and return the seconds until all was acknowledged, and by index the header of each receipt."""
    ready = [[(batch, request(batch, bodies=bodies)) for batch in stream] for stream in streams]
    gc.collect()
    gc.freeze()
    return asyncio.run(_send(ledger, ready))


Ready = Sequence[tuple[list[Statement], ledger_pb2.AppendRequest]]


async def _send(ledger: LogServer, streams: Sequence[Ready]) -> tuple[float, dict[int, bytes]]:
    own_connection = [("grpc.use_local_subchannel_pool", 1)]
    channels = [_channel(ledger, own_connection) for _ in streams]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    indices: dict[int, bytes] = {}
    began = time.perf_counter()
    await asyncio.gather(
        *(
            _stream(channel, batches, indices)
            for channel, batches in zip(channels, streams, strict=True)
        )
    )
    seconds = time.perf_counter() - began
    for channel in channels:
        await channel.close()
    return seconds, indices


def _channel(ledger: LogServer, options: list[tuple[str, int]]) -> grpc.aio.Channel:
    if ledger.tls is None:
        return grpc.aio.insecure_channel(ledger.grpc, options=options)
    credentials = channel_credentials(ledger.tls.credentials())
    return grpc.aio.secure_channel(ledger.grpc, credentials, options=options)


async def _stream(channel: grpc.aio.Channel, batches: Ready, indices: dict[int, bytes]) -> None:
    call = ledger_pb2_grpc.LedgerServiceStub(channel).Append(batch for _, batch in batches)
    answered = 0
    async for answer in call:
        for statement, result in zip(batches[answered][0], answer.results, strict=True):
            receipt = result.receipt
            if result.reason or receipt.record[_HEADER_AT] != statement.header:
                raise RuntimeError(f"not a receipt for what was sent: {result}")
            indices[receipt.index] = statement.header
        answered += 1
    if answered != len(batches):
        raise RuntimeError(f"{answered} of {len(batches)} batches were answered")


def log_all(ledger: LogServer, statements: Sequence[Statement]) -> list[Receipt]:
    """Log statements by the client that everybody uses; each must get a receipt."""
    receipts: list[Receipt] = []
    with LedgerClient(ledger.grpc, ledger.tls) as client:
        for at in range(0, len(statements), BATCH):
            results = client.append(statements[at : at + BATCH])
            receipts += [one for one in results if isinstance(one, Receipt)]
    if len(receipts) != len(statements):
        raise RuntimeError(f"{len(statements) - len(receipts)} of {len(statements)} were refused")
    return receipts


def verify_again(ledger: LogServer, batch: list[Statement], places: dict[int, bytes]) -> None:
    """Refuse a ledger that logs a statement twice."""
    for statement, receipt in zip(batch, log_all(ledger, batch), strict=True):
        if places.get(receipt.index) != statement.header:
            raise RuntimeError("a statement that was sent again was logged again")


def verify_logged(prefix: LogPrefix, places: dict[int, bytes]) -> None:
    """Refuse a log that does not hold each acknowledged statement once, at the place of its receipt."""
    for index, header in places.items():
        if prefix.entries[index][_HEADER_AT] != header:
            raise RuntimeError(f"record {index} is not the one acknowledged")
    wanted = set(places.values())
    held = sum(1 for entry in prefix.entries if entry[_HEADER_AT] in wanted)
    if not len(wanted) == len(places) == held:
        raise RuntimeError(f"{len(wanted)} were sent, {len(places)} acknowledged, {held} logged")
