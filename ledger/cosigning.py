"""Asks a policy's witnesses to cosign checkpoints, after C2SP tlog-witness (https://c2sp.org/tlog-witness).

All witnesses are asked at once, each on a thread and a connection of its own; as soon as those that answered are a
quorum, the others are waited for no longer than :data:`STRAGGLERS_S`. Those on other machines are asked over TLS: what
they say is signed, but whoever sits on the way could keep it from being heard.

Before its first signature a ledger surveys them: what a quorum has cosigned must not be more than the journal holds, or
the journal is an old copy. One witness alone may lie and is not believed: where two quorums share somebody honest, a
larger tree that a quorum cosigned is known to so many that the rest are no quorum.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, urlsplit

import structlog

from ledger.errors import ForkError, SetupError
from statements.tls import ClientTls, verify_plain
from tlog.checkpoint import Checkpoint
from tlog.cosignature import verify_cosignature
from tlog.errors import TlogError
from tlog.note import Note, SignatureLine, parse_note
from tlog.policy import Policy, Witness
from tlog.witness import ADD_CHECKPOINT, REQUEST_LIMIT, AddCheckpoint, parse_answer, parse_size

TIMEOUT_S: Final = 5.0
"""Real seconds that a witness may take to answer."""
STRAGGLERS_S: Final = 0.5
"""Real seconds for which the rest is waited for once there is a quorum."""
_TRIES: Final = 3

_log = structlog.get_logger("stillwatch.ledger")

Consistency = Callable[[int, int], Sequence[bytes]]
"""Returns the proof that the tree of the second size extends that of the first."""


class WitnessUnavailableError(Exception):
    """A witness could not be reached, or gave no answer that counts."""


@dataclass(slots=True)
class _Asked:
    """A witness, the connection to it, and the size that it is thought to know."""

    witness: Witness
    place: SplitResult
    tls: ClientTls | None
    size: int = 0
    connection: http.client.HTTPConnection | None = None
    failing: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Cosigning:
    """The witnesses of one policy, asked on behalf of one log."""

    def __init__(
        self, policy: Policy, timeout_s: float = TIMEOUT_S, tls: ClientTls | None = None
    ) -> None:
        voters = set(policy.voters())
        self.policy = policy
        self._timeout_s = timeout_s
        self._asked = [_Asked(one, _place(one), tls) for one in policy.witnesses if one.url]
        unreachable = sorted(
            one.name for one in policy.witnesses if one.name in voters and not one.url
        )
        reachable = voters - set(unreachable)
        if not policy.is_met(reachable):
            raise SetupError(
                "NO_QUORUM_IN_REACH",
                f"the witness policy gives no address for {', '.join(unreachable)}: the others are no quorum",
            )
        self._threads = ThreadPoolExecutor(max(1, len(self._asked)), "cosigning")

    def cosign(self, note: bytes, checkpoint: Checkpoint, consistency: Consistency) -> Note | None:
        """Return the note with the cosignatures of a quorum; ``None`` when no quorum answered in time."""
        bare = parse_note(note)
        if self.policy.quorum is None:
            return bare
        waiting: dict[Future[SignatureLine], str] = {
            self._threads.submit(self._ask, one, note, checkpoint, consistency): one.witness.name
            for one in self._asked
        }
        lines: dict[str, SignatureLine] = {}
        due = time.monotonic() + self._timeout_s * _TRIES
        while waiting and (left := due - time.monotonic()) > 0:
            done, _ = wait(waiting, left, return_when=FIRST_COMPLETED)
            for future in done:
                name = waiting.pop(future)
                try:
                    lines[name] = future.result()
                except WitnessUnavailableError:
                    continue
            if self.policy.is_met(lines):
                due = min(due, time.monotonic() + STRAGGLERS_S)
        if not self.policy.is_met(lines):
            return None
        ordered = [lines[one.name] for one in self.policy.witnesses if one.name in lines]
        return Note(bare.text, (*bare.signatures, *ordered))

    def survey(self, empty: bytes, size: int) -> bool:
        """Return whether a quorum says that it has cosigned no tree of more than ``size`` records.

        ``empty`` is the log's signed checkpoint of the tree without records: it contradicts nothing, whatever was
        signed before. Raises :class:`ForkError` when so many know a larger tree that the others are no quorum. One that
        answers drop by drop is waited for no longer than one that does not.
        """
        asked = {
            one.witness.name: self._threads.submit(self._known_to, one, empty)
            for one in self._asked
        }
        answered, _ = wait(asked.values(), self._timeout_s * _TRIES)
        known = {name: future.result() for name, future in asked.items() if future in answered}
        ahead = {name for name, held in known.items() if held is not None and held > size}
        if not self.policy.is_met(set(self.policy.voters()) - ahead):
            raise ForkError(
                "WITNESSES_AHEAD",
                f"the journal holds {size} records, and {', '.join(sorted(ahead))} cosigned trees of "
                f"{max(held for held in known.values() if held is not None)}: it is an old copy, and signing would "
                "fork the log. Bring the newest journal back",
            )
        if ahead:
            _log.warning("says to know a larger tree", witnesses=sorted(ahead))
        return self.policy.is_met({n for n, held in known.items() if held is not None} - ahead)

    def close(self) -> None:
        """End the connections, and the threads that wait on them."""
        for one in self._asked:
            sock = one.connection.sock if one.connection is not None else None
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self._threads.shutdown(cancel_futures=True)
        for one in self._asked:
            _hang_up(one)

    def _known_to(self, one: _Asked, empty: bytes) -> int | None:
        """Return the size that a witness says it knows; ``None`` when it does not say."""
        with suppress(WitnessUnavailableError), _held(one):
            try:
                status, body = self._post(one, AddCheckpoint(0, (), empty).encode())
            except (OSError, http.client.HTTPException, WitnessUnavailableError):
                _hang_up(one)
                return None
            known = parse_size(body) if status == HTTPStatus.CONFLICT else None
            return 0 if status == HTTPStatus.OK else known
        return None

    def _ask(
        self, one: _Asked, note: bytes, checkpoint: Checkpoint, consistency: Consistency
    ) -> SignatureLine:
        with _held(one):
            try:
                line = self._ask_held(one, note, checkpoint, consistency)
            except (
                OSError,
                http.client.HTTPException,
                TlogError,
                WitnessUnavailableError,
            ) as error:
                _hang_up(one)
                if not one.failing:
                    _log.warning("no cosignature", witness=one.witness.name, why=str(error))
                one.failing = True
                raise WitnessUnavailableError(str(error)) from error
            if one.failing:
                _log.info("cosigns again", witness=one.witness.name)
            one.failing = False
            return line

    def _ask_held(
        self, one: _Asked, note: bytes, checkpoint: Checkpoint, consistency: Consistency
    ) -> SignatureLine:
        for _ in range(_TRIES):
            old = one.size
            proof = consistency(old, checkpoint.size) if 0 < old < checkpoint.size else ()
            status, body = self._post(one, AddCheckpoint(old, tuple(proof), note).encode())
            if status == HTTPStatus.OK:
                line = _own(parse_answer(body), note, one.witness)
                one.size = checkpoint.size
                return line
            known = parse_size(body) if status == HTTPStatus.CONFLICT else None
            if known is None:
                raise WitnessUnavailableError(f"answered {status}")
            if known > checkpoint.size or known == old == checkpoint.size:
                raise WitnessUnavailableError(
                    f"says that it cosigned another tree, of {known} records: it lies, or this log forked"
                )
            one.size = known
        raise WitnessUnavailableError(
            "the size that it knows keeps changing: does another ledger ask it?"
        )

    def _post(self, one: _Asked, body: bytes) -> tuple[int, bytes]:
        path = one.place.path.rstrip("/") + "/" + ADD_CHECKPOINT
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        fresh = one.connection is None
        for _ in range(2):
            if one.connection is None:
                one.connection = _connect(one, self._timeout_s)
            try:
                one.connection.request("POST", path, body, headers)
                answer = one.connection.getresponse()
                return answer.status, answer.read(REQUEST_LIMIT)
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
                _hang_up(one)  # a connection that was kept may have been closed meanwhile
                if fresh:
                    raise
                fresh = True
        raise WitnessUnavailableError("closed the connection")


@contextmanager
def _held(one: _Asked) -> Iterator[None]:
    """Have a witness to oneself; one that has not answered the last request is not asked another."""
    if not one.lock.acquire(blocking=False):
        raise WitnessUnavailableError("it has not answered the last request yet")
    try:
        yield
    finally:
        one.lock.release()


def _own(lines: Sequence[SignatureLine], note: bytes, witness: Witness) -> SignatureLine:
    """Return the cosignature by the witness's key, verified; other lines are ignored."""
    text = parse_note(note).text
    for line in lines:
        if (line.name, line.key_id) == (witness.key.name, witness.key.key_id):
            verify_cosignature(line, text, witness.key)
            return line
    raise WitnessUnavailableError("answered without a cosignature by its key")


def _place(witness: Witness) -> SplitResult:
    place = urlsplit(witness.url or "")
    if place.scheme not in {"http", "https"} or not place.hostname:
        raise SetupError(
            "BAD_WITNESS_URL",
            f"the witness {witness.name} is asked over https://HOST:PORT/, not {witness.url!r}",
        )
    if place.scheme == "http":
        verify_plain(place.hostname, f"the witness {witness.name} at {witness.url}")
    return place


def _connect(one: _Asked, timeout_s: float) -> http.client.HTTPConnection:
    """Return a connection to a witness; over TLS it is ended unless the certificate is good."""
    host = one.place.hostname or ""
    if one.place.scheme == "http":
        return http.client.HTTPConnection(host, one.place.port, timeout=timeout_s)
    context = ssl.create_default_context() if one.tls is None else one.tls.credentials().context()
    return http.client.HTTPSConnection(host, one.place.port, timeout=timeout_s, context=context)


def _hang_up(one: _Asked) -> None:
    if one.connection is not None:
        one.connection.close()
        one.connection = None
