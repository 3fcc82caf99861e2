"""The limits, as the protocol's page has them."""

import re
from pathlib import Path

import pytest

from ledger.http_server import HANDSHAKE_S, MOST_CONNECTIONS, REQUEST_S
from ledger.limits import Limits
from ledger.reading import MOST_HEADS, MOST_RECORDS
from statements.body import BODY_LIMIT

MIB = 1 << 20
LIMITS = Limits()


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ("statements of one batch", [LIMITS.statements]),
        ("bytes of one request", [LIMITS.request_bytes // MIB, LIMITS.transport_bytes // MIB]),
        ("bytes of one body", [BODY_LIMIT // MIB]),
        ("batches of one stream", [LIMITS.in_flight]),
        ("requests of all streams", [LIMITS.pending_bytes // MIB, LIMITS.waiting_bytes // MIB]),
        (
            "streams; single questions; followers; connections",
            [LIMITS.streams, LIMITS.questions, LIMITS.followers, LIMITS.connections],
        ),
        (
            "statements of one author at once, and a second",
            [LIMITS.author_statements, int(LIMITS.author_statements_per_s)],
        ),
        (
            "MiB of one author's bodies at once, KiB a second",
            [LIMITS.author_bytes // MIB, int(LIMITS.author_bytes_per_s) // 1024],
        ),
        (
            "enrolments by one party at once, and a second",
            [LIMITS.party_enrolments, int(LIMITS.party_enrolments_per_s)],
        ),
        (
            "MiB from one certificate or address that were refused",
            [LIMITS.unverified_bytes // MIB, int(LIMITS.unverified_bytes_per_s) // 1024],
        ),
        (
            "MiB from one client that verified and were not logged anew, MiB a second",
            [LIMITS.unlogged_bytes // MIB, int(LIMITS.unlogged_bytes_per_s) // MIB],
        ),
        (
            "seconds that an answer, or a checkpoint told to a follower, waits",
            [int(LIMITS.answer_s)],
        ),
        ("seconds of one connection", [int(LIMITS.connection_s)]),
        ("seconds in which a connection is secured", [int(LIMITS.handshake_s)]),
        ("records, heads of one answer", [MOST_RECORDS, MOST_HEADS]),
        ("HTTP connections at once", [MOST_CONNECTIONS, int(REQUEST_S)]),
    ],
)
def test_the_page_says_what_the_ledger_does(root: Path, row: str, values: list[int]) -> None:
    page = (root / "docs/protocol.md").read_text()
    found = re.search(rf"^\| {row}[^|]*\| ([^|]*) \|$", page, re.MULTILINE)
    assert found is not None, row
    assert [int(number) for number in re.findall(r"\d+", found[1].replace(",", ""))] == values


def test_a_larger_request_than_the_ledger_reads_still_gets_a_reason() -> None:
    assert LIMITS.request_bytes < LIMITS.transport_bytes
    assert LIMITS.streams + LIMITS.followers + LIMITS.questions < LIMITS.calls


def test_grpc_is_told_all_of_them() -> None:
    options = dict(LIMITS.server_options(77))
    assert options["grpc.max_receive_message_length"] == LIMITS.transport_bytes
    assert options["grpc.max_allowed_incoming_connections"] == 77
    assert options["grpc.server_handshake_timeout_ms"] == 10_000 == HANDSHAKE_S * 1_000
    assert options["grpc.max_connection_age_ms"] == 3_600_000
    assert options["grpc.keepalive_time_ms"] == 60_000
