"""A ledger as its callers see it: append, ask for a head, a checkpoint, a proof.

Used by whoever speaks: agents, parties, evaluators, panels. Nothing that a ledger answers is believed here, but every
answer has the shape that its type says: digests of their lengths, indices and sizes that a log can have. Callers verify
what they rely on.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import grpc

from protos.stillwatch.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from protos.stillwatch.statement.v1 import header_pb2
from statements.author import EPOCH_LENGTH, Statement
from statements.channel import open_channel
from statements.errors import CertificateError, RecordError, SubmissionError
from statements.record import decode_record
from statements.tls import ClientTls

DEADLINE_SECONDS = 30.0
_END_SECONDS = 5.0
"""How long a call that was cancelled may take to end, and its threads with it: they do at once."""
_MAX_MESSAGE = 64 << 20
_LARGEST_INDEX = 2**63 - 1
_LONGEST_WORDS = 1_000
_DIGEST_LENGTH = 32
_UNTRUSTED = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed")
"""What gRPC says when a server's certificate is not believed."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """An acknowledgement: the record's index in the log, its bytes, and whether the body is held."""

    index: int
    record: bytes
    body_held: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal: a stable reason, words for people, and the sequence wanted, when that is what was wrong."""

    reason: str
    message: str
    wanted_sequence: int | None


@dataclass(frozen=True, slots=True)
class Head:
    """The newest logged statement of one epoch of an author."""

    epoch: bytes
    sequence: int
    statement_id: bytes
    index: int


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """An audit path to the root of the tree of ``size`` leaves, and the checkpoint of that tree."""

    size: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes


def verify_receipt(sent: Statement, receipt: Receipt) -> None:
    """Refuse a receipt that is not for exactly what was sent, body included: :class:`SubmissionError`.

    The signature is compared too: under another one, the log would hold a statement that nobody said.
    """
    try:
        record = decode_record(receipt.record)
    except RecordError as error:
        raise SubmissionError(
            "BAD_RECEIPT", f"the ledger's receipt holds no record: {error}"
        ) from None
    if (record.header, record.signature) != (sent.header, sent.signature):
        raise SubmissionError(
            "BAD_RECEIPT", "the ledger acknowledged another statement than the one sent"
        )
    if not receipt.body_held:
        raise SubmissionError(
            "BODY_NOT_HELD", "the ledger logged the statement and does not hold its body"
        )


class LedgerClient:
    """One connection to a ledger. Not for several threads at once.

    ``tls`` secures it; without, any ledger but one on this machine itself is a :class:`CertificateError`. Every method
    raises :class:`SubmissionError` when the ledger cannot be reached, ends the call, or answers what no ledger could
    mean.
    """

    def __init__(
        self, target: str, tls: ClientTls | None = None, *, deadline: float = DEADLINE_SECONDS
    ) -> None:
        self._deadline = deadline
        self._target = target
        self._tls = tls
        self._stream: _AppendStream | None = None
        self._credentials = None if tls is None else tls.credentials()
        self._connect()

    def _connect(self) -> None:
        options = [
            ("grpc.max_receive_message_length", _MAX_MESSAGE),
            ("grpc.max_send_message_length", _MAX_MESSAGE),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
        ]
        self._channel = open_channel(self._target, self._credentials, options)
        self._stub = ledger_pb2_grpc.LedgerServiceStub(self._channel)

    def _ledger(self) -> ledger_pb2_grpc.LedgerServiceStub:
        """Return what asks the ledger, on a new connection when there are new credentials."""
        if self._tls is not None and self._tls.credentials() is not self._credentials:
            self.close()
            self._credentials = self._tls.credentials()
            self._connect()
        return self._stub

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._drop_stream()
        self._channel.close()

    def append(self, statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        """Submit a batch on the open stream; one result a statement, in order.

        A statement without stored bytes is sent without its body.
        """
        request = ledger_pb2.AppendRequest(
            statements=[
                header_pb2.Statement(
                    header=s.header, signature=s.signature, stored=s.stored or None
                )
                for s in statements
            ]
        )
        ledger = self._ledger()
        if self._stream is None:
            self._stream = _AppendStream(ledger)
        try:
            response = self._stream.exchange(request, self._deadline)
        except grpc.RpcError as error:
            self._drop_stream()
            raise self._failed(error) from None
        except SubmissionError:
            self._drop_stream()
            raise
        if len(response.results) != len(statements):
            self._drop_stream()
            raise SubmissionError(
                "BAD_ANSWER", f"{len(response.results)} results for {len(statements)} statements"
            )
        return [_result(result) for result in response.results]

    def rest(self) -> None:
        """Let go of the open stream, on which grpc wakes up fifteen times a second; the next append opens another."""
        self._drop_stream()

    def author(self, author: bytes) -> tuple[Head, ...]:
        """Return the logged heads of an author, oldest epoch first."""
        answer = self._ask_of(author)
        return tuple(
            Head(
                _digest(head.epoch, EPOCH_LENGTH),
                _number(head.sequence),
                _digest(head.statement_id),
                _number(head.index),
            )
            for head in answer.heads
        )

    def speaks(self, author: bytes) -> bool:
        """Return whether an author has a live key."""
        return bool(self._ask_of(author).live)

    def _ask_of(self, author: bytes) -> ledger_pb2.GetAuthorResponse:
        try:
            return self._ledger().GetAuthor(
                ledger_pb2.GetAuthorRequest(author=author), timeout=self._deadline
            )
        except grpc.RpcError as error:
            raise self._failed(error) from None

    def checkpoint(self) -> bytes:
        """Return the newest published checkpoint, a signed note."""
        try:
            return (
                self._ledger()
                .GetCheckpoint(ledger_pb2.GetCheckpointRequest(), timeout=self._deadline)
                .checkpoint
            )
        except grpc.RpcError as error:
            raise self._failed(error) from None

    def inclusion(self, index: int) -> InclusionProof:
        """Return the proof that the record at ``index`` is in the newest published tree."""
        try:
            answer = self._ledger().GetInclusionProof(
                ledger_pb2.GetInclusionProofRequest(index=index), timeout=self._deadline
            )
        except grpc.RpcError as error:
            raise self._failed(error) from None
        return InclusionProof(_number(answer.size), tuple(answer.hashes), answer.checkpoint)

    def consistency(self, from_size: int, to_size: int) -> tuple[bytes, ...]:
        """Return the proof that the tree of ``to_size`` extends that of ``from_size``."""
        request = ledger_pb2.GetConsistencyProofRequest(from_size=from_size, to_size=to_size)
        try:
            return tuple(self._ledger().GetConsistencyProof(request, timeout=self._deadline).hashes)
        except grpc.RpcError as error:
            raise self._failed(error) from None

    def follow(self) -> Iterator[bytes]:
        """Yield the newest published checkpoint, a signed note, and each other one as it is published.

        It ends only by raising, or when it is closed; closing the client from another thread has it raise.
        """
        call = self._ledger().Follow(ledger_pb2.FollowRequest())
        try:
            for told in call:
                yield told.checkpoint
        except grpc.RpcError as error:
            raise self._failed(error) from None
        finally:
            _end(call)
        raise SubmissionError("STREAM_ENDED", "the ledger closed the stream; try again")

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _failed(self, error: grpc.RpcError) -> SubmissionError:
        call = cast("grpc.Call", error)  # what grpc raises from a stub is also the call
        code = call.code()
        words = _words(call.details() or code.name)
        reason = code.name
        if code is grpc.StatusCode.UNAVAILABLE and self._credentials is not None:
            reason, words = self._handshake_failed(words)
        return SubmissionError(reason, f"ledger {self._target}: {words}")

    def _handshake_failed(self, words: str) -> tuple[str, str]:
        """Say what most likely keeps a connection from being secured; gRPC says it to those who know TLS."""
        try:
            if self._tls is not None:
                self._tls.verify_current()
        except CertificateError as error:
            return error.reason, f"{error}: {words}"
        if any(sign in words for sign in _UNTRUSTED):
            why = "what answers there shows no certificate for this name by a CA in ca.pem that is valid now"
            return "SERVER_NOT_TRUSTED", f"{why}: {words}"
        if "closed" in words or "reset" in words:
            why = "the connection was closed, as a ledger does that knows no such client: ask its operator"
            return "UNAVAILABLE", f"{why}: {words}"
        return "UNAVAILABLE", words


def _end(call: grpc.RpcContext) -> None:
    """Cancel a call, and wait until grpc's threads have done with it.

    Python's end stops such a thread wherever it is: if it holds the call's lock then, the call is never let go of, and
    the process never ends.
    """
    ended = threading.Event()
    awaited = call.add_callback(ended.set)
    call.cancel()
    if awaited:
        ended.wait(_END_SECONDS)


class _Requests(Iterator[ledger_pb2.AppendRequest]):
    """What is sent on a stream; grpc takes it from a thread of its own, which can be waited for."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[ledger_pb2.AppendRequest | None] = queue.SimpleQueue()
        self._sender: threading.Thread | None = None

    def put(self, request: ledger_pb2.AppendRequest) -> None:
        self._queue.put(request)

    def __next__(self) -> ledger_pb2.AppendRequest:
        self._sender = threading.current_thread()
        request = self._queue.get()
        if request is None:
            raise StopIteration
        return request

    def end(self) -> None:
        """Say that there are no more, and wait until grpc's thread has ended."""
        self._queue.put(None)
        if self._sender is not None:
            self._sender.join(_END_SECONDS)


class _AppendStream:
    """A bidirectional stream on which one batch at a time is exchanged.

    A thread reads the answers, so that a ledger that never answers costs a deadline and not the caller.
    """

    def __init__(self, stub: ledger_pb2_grpc.LedgerServiceStub) -> None:
        self._requests = _Requests()
        self._answers: queue.SimpleQueue[ledger_pb2.AppendResponse | grpc.RpcError | None] = (
            queue.SimpleQueue()
        )
        self._call = stub.Append(self._requests)
        self._reader = threading.Thread(target=self._read, name="append-answers", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            for answer in self._call:
                self._answers.put(answer)
        except grpc.RpcError as error:
            self._answers.put(error)
        else:
            self._answers.put(None)

    def exchange(
        self, request: ledger_pb2.AppendRequest, deadline: float
    ) -> ledger_pb2.AppendResponse:
        self._requests.put(request)
        try:
            answer = self._answers.get(timeout=deadline)
        except queue.Empty:
            raise SubmissionError(
                "DEADLINE_EXCEEDED", f"the ledger did not answer within {deadline:g} s; try again"
            ) from None
        if answer is None:
            raise SubmissionError("STREAM_ENDED", "the ledger closed the stream; try again")
        if isinstance(answer, grpc.RpcError):
            raise answer
        return answer

    def close(self) -> None:
        """End the stream, and every thread that works on it."""
        _end(self._call)
        self._requests.end()
        self._reader.join(_END_SECONDS)


def _result(result: ledger_pb2.AppendResult) -> Receipt | Refusal:
    if result.HasField("receipt") and result.reason == ledger_pb2.REASON_UNSPECIFIED:
        return Receipt(
            _number(result.receipt.index), result.receipt.record, result.receipt.body_held
        )
    name = (
        ledger_pb2.Reason.Name(result.reason)
        if result.reason in ledger_pb2.Reason.values()
        else f"REASON_{result.reason}"
    )
    wanted = _number(result.wanted_sequence) if result.HasField("wanted_sequence") else None
    return Refusal(name.removeprefix("REASON_"), _words(result.message), wanted)


def _words(text: str) -> str:
    """Return what a ledger says to people: not endless, and nothing that moves a terminal's cursor."""
    return "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_LONGEST_WORDS]
    )


def _number(value: int) -> int:
    if value > _LARGEST_INDEX:
        raise SubmissionError(
            "BAD_ANSWER", f"the ledger answered a number that no log has: {value}"
        )
    return value


def _digest(value: bytes, length: int = _DIGEST_LENGTH) -> bytes:
    if len(value) != length:
        raise SubmissionError(
            "BAD_ANSWER", f"the ledger answered {len(value)} bytes where {length} belong"
        )
    return value
