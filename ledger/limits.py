"""What one ledger takes on at once, so that nobody who reaches its sockets can use it up."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the gRPC service. Bytes are bytes, spans are seconds.

    Beyond ``pending_bytes`` and ``waiting_bytes`` a stream may hold the one request that is still arriving on it,
    ``transport_bytes`` at most: whoever runs a ledger among strangers lets the system bound the process's memory too.
    """

    statements: int = 10_000
    """Statements of one batch."""
    request_bytes: int = 48 << 20
    """A larger request is refused with a reason; one beyond the transport's limit by the transport, without."""
    transport_bytes: int = 64 << 20
    in_flight: int = 8
    """Batches of one stream that are screened, made durable or delivered at once."""
    pending_bytes: int = 128 << 20
    """Requests of all streams that are worked on, or whose answers were not taken yet; further ones wait."""
    waiting_bytes: int = 128 << 20
    """Requests of all streams that wait; a stream that brings more is ended."""
    streams: int = 4_000
    """Append streams at once."""
    questions: int = 500
    """Single questions at once, until their answers are taken."""
    followers: int = 500
    """Follow streams at once."""
    calls: int = 6_000
    """Calls of all methods at once; further ones are refused by the transport, without a reason."""
    connections: int = 4_000
    author_statements: int = 50_000
    """What one author may have logged at once: five weeks of a node's windows."""
    author_statements_per_s: float = 20.0
    """What is added to that each second, up to that; likewise below."""
    author_bytes: int = 1 << 30
    author_bytes_per_s: float = 512 << 10
    party_enrolments: int = 50_000
    party_enrolments_per_s: float = 1.0
    unverified_bytes: int = 32 << 20
    """Bytes from one peer that turned out not to be what they claim; beyond, its streams are ended."""
    unverified_bytes_per_s: float = 256 << 10
    unlogged_bytes: int = 256 << 20
    """Bytes from one client that verified, and were not logged anew: said before, out of order, over a quota."""
    unlogged_bytes_per_s: float = 1 << 20
    answer_s: float = 30.0
    """How long an answer may wait until its client takes it."""
    handshake_s: float = 10.0
    """How long a connection may take until it is secured."""
    keepalive_s: float = 60.0
    """A connection that was silent so long is asked whether somebody is there."""
    connection_s: float = 3600.0
    """A connection is ended after so long: one that takes no answers cannot hold its place for ever."""
    connection_grace_s: float = 60.0
    """How long calls on a connection that is being ended may go on."""

    def server_options(self, connections: int) -> list[tuple[str, int]]:
        """Return what grpc calls these, for so many connections at once."""
        return [
            ("grpc.max_receive_message_length", self.transport_bytes),
            ("grpc.max_send_message_length", self.transport_bytes),
            ("grpc.max_allowed_incoming_connections", connections),
            ("grpc.server_handshake_timeout_ms", _ms(self.handshake_s)),
            ("grpc.keepalive_time_ms", _ms(self.keepalive_s)),
            ("grpc.keepalive_timeout_ms", _ms(self.keepalive_s / 3)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.max_connection_age_ms", _ms(self.connection_s)),
            ("grpc.max_connection_age_grace_ms", _ms(self.connection_grace_s)),
            ("grpc.so_reuseport", 0),
        ]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
