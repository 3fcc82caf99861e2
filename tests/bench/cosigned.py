"""``cosigned``: how long from a record's append until its reader has a checkpoint that covers it and a quorum cosigned.

The ledger is ``stillwatch ledger serve`` in its own process, with a beat of one second; three witnesses are processes
of their own, all of whom must cosign; the client, in this process, shares the cores with all four. Records come at a
steady rate, whether or not those before were answered: a batch is late from the instant at which it was due, not from
the one at which it could be sent. They are summaries with their bodies, signed before the clock starts. Checkpoints are
followed as the ledger publishes them, and each is verified as an auditor would before a record counts as covered.

Afterwards every record must have been covered, and the log is read from its static files, verified against the
witnesses' policy, and must hold each statement once, where its receipt says.
"""

import asyncio
import gc
import statistics
import time
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

import grpc

from protos.stillwatch.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from statements.author import Statement
from statements.header import HEADER_LENGTH
from statements.log_trust import LogTrust
from statements.signing import SigningKey
from tests.bench.figure import Figure
from tests.bench.ingest import log_all, verify_logged
from tests.bench.parts.fleet import Fleet, request
from tests.bench.parts.log_server import ORIGIN, LogServer, serving

RATE: Final = 5_000
STREAMS: Final = 4
NODES_A_STREAM: Final = 500
"""A batch is one window of so many nodes."""
WINDOWS: Final = 40
SETTLE_WINDOWS: Final = 5
"""Of each stream the first batches, which are not counted: connections open, files are made."""
WITNESSES: Final = 3
BEAT_S: Final = 1.0
REQUIRED_S: Final = 2.0
REACH_S: Final = 1.0
_COVERED_WITHIN_S: Final = 60.0
_HEADER_AT: Final = slice(3, 3 + HEADER_LENGTH)


@dataclass(slots=True)
class _Seen:
    """What the client has: when each index was due, and the sizes of the checkpoints believed, and when each came."""

    due: dict[int, float] = field(default_factory=dict)
    headers: dict[int, bytes] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def waited_s(self) -> list[float]:
        """Return how long each record waited, in seconds, in no order."""
        return [self.times[bisect_right(self.sizes, at)] - due for at, due in self.due.items()]


def measure() -> Figure:
    """Return the figure at the rate that is asked for."""
    return measured(RATE)


def measured(rate: int, *, beat_s: float = BEAT_S) -> Figure:
    """Return the figure at so many records a second."""
    party = SigningKey.generate()
    with serving(party, witnesses=WITNESSES, beat_s=beat_s) as ledger:
        fleet = Fleet(ledger.pins, ORIGIN, party)
        log_all(ledger, list(fleet.enrolments(STREAMS * NODES_A_STREAM)))
        log_all(ledger, list(fleet.openings()))
        said = [fleet.window() for _ in range(WINDOWS)]
        stored = len(said[0][0].stored)
        gc.collect()
        gc.freeze()
        seen = asyncio.run(_send(ledger, said, rate))
        verify_logged(ledger.published(max(seen.headers) + 1), seen.headers)
    waited = statistics.quantiles(seen.waited_s(), n=100)
    p99 = waited[98]
    return Figure(
        name="cosigned",
        value=p99 * 1000,
        unit=f"ms, 99th percentile (median {waited[49] * 1000:,.0f}); {rate:,} records/s with bodies of {stored:,} "
        f"bytes, {WITNESSES} witnesses, client on the same cores; at most",
        reference="the beat, ms",
        reference_value=beat_s * 1000,
        ratio=p99 / beat_s,
        required=REQUIRED_S / beat_s,
        reach=REACH_S / beat_s,
        met=p99 <= REQUIRED_S,
    )


async def _send(ledger: LogServer, said: list[list[Statement]], rate: int) -> _Seen:
    """Send each stream's batches when they are due; return once a believed checkpoint covers every record."""
    seen = _Seen()
    own_connection = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(ledger.grpc, options=own_connection) for _ in range(STREAMS + 1)
    ]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    following = asyncio.create_task(_follow(channels[-1], ledger.trust, seen))
    every_s = STREAMS * NODES_A_STREAM / rate
    began = time.perf_counter() + 0.1
    streams: list[list[tuple[float, list[Statement]]]] = [[] for _ in range(STREAMS)]
    for window, statements in enumerate(said):
        for at, stream in enumerate(streams):
            due = began + (window + at / STREAMS) * every_s
            stream.append((due, statements[at * NODES_A_STREAM : (at + 1) * NODES_A_STREAM]))
    await asyncio.gather(
        *(
            _stream(channel, batches, seen)
            for channel, batches in zip(channels, streams, strict=False)
        )
    )
    async with asyncio.timeout(_COVERED_WITHIN_S):
        while not seen.sizes or seen.sizes[-1] <= max(seen.headers):
            await asyncio.sleep(0.05)
    following.cancel()
    for channel in channels:
        await channel.close()
    return seen


async def _stream(
    channel: grpc.aio.Channel, batches: list[tuple[float, list[Statement]]], seen: _Seen
) -> None:
    ready = [(due, batch, request(batch, bodies=True)) for due, batch in batches]
    call = ledger_pb2_grpc.LedgerServiceStub(channel).Append()

    async def send() -> None:
        for due, _, message in ready:
            await asyncio.sleep(due - time.perf_counter())
            await call.write(message)
        await call.done_writing()

    sending = asyncio.create_task(send())
    answered = 0
    async for answer in call:
        due, batch, _ = ready[answered]
        for statement, result in zip(batch, answer.results, strict=True):
            receipt = result.receipt
            if result.reason or receipt.record[_HEADER_AT] != statement.header:
                raise RuntimeError(f"not a receipt for what was sent: {result}")
            seen.headers[receipt.index] = statement.header
            if answered >= SETTLE_WINDOWS:
                seen.due[receipt.index] = due
        answered += 1
    await sending
    if answered != len(batches):
        raise RuntimeError(f"{answered} of {len(batches)} batches were answered")


async def _follow(channel: grpc.aio.Channel, trust: LogTrust, seen: _Seen) -> None:
    """Note each checkpoint that can be believed, and when it came."""
    stub = ledger_pb2_grpc.LedgerServiceStub(channel)
    async for told in stub.Follow(ledger_pb2.FollowRequest()):
        size = trust.believe(told.checkpoint).checkpoint.size
        if not seen.sizes or size > seen.sizes[-1]:
            seen.sizes.append(size)
            seen.times.append(time.perf_counter())
