"""The witness itself: what it answers to a request, after C2SP tlog-witness (https://c2sp.org/tlog-witness)."""

from collections.abc import Sequence
from http import HTTPStatus

from ledger.witness.memory import WitnessMemory
from statements.clock import Clock
from tlog.cosignature import CosigningKey
from tlog.errors import WitnessError
from tlog.note import SignatureLine, Verifier, parse_note
from tlog.witness import Known, origin_of, parse_request, verify_request


class Witness:
    """Cosigns with all of its keys. Any thread may ask it."""

    def __init__(self, memory: WitnessMemory, keys: Sequence[CosigningKey], clock: Clock) -> None:
        self._memory = memory
        self._keys = tuple(keys)
        self._clock = clock

    def add_checkpoint(self, body: bytes) -> tuple[SignatureLine, ...]:
        """Return cosignatures over the checkpoint of a request; what is cosigned is durable by then.

        Raises :class:`WitnessError` with the status to answer, and :class:`WitnessStoreError` when the memory fails.
        """
        request = parse_request(body)
        origin = origin_of(request)
        log = self._memory.log(origin)
        if log is None:
            raise WitnessError(
                HTTPStatus.NOT_FOUND, "UNKNOWN_LOG", f"no log {origin!r} is witnessed here"
            )
        try:
            checkpoint = verify_request(request, Verifier.from_vkey(log.vkey), log.known)
        except WitnessError as error:
            if error.reason == "SPLIT_VIEW":
                self._memory.keep_split(origin, log.note, request.note)
            raise
        new = Known(checkpoint.size, checkpoint.root)
        if not self._memory.advance(origin, log.known, new, request.note):
            now = self._memory.log(origin) or log
            raise WitnessError(
                HTTPStatus.CONFLICT,
                "OTHER_SIZE",
                f"{now.known.size} is known by now: another request came first",
                now.known.size,
            )
        time_s = self._clock.now_ms() // 1000
        text = parse_note(request.note).text
        return tuple(key.cosign(text, time_s) for key in self._keys)
