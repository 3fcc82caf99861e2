"""What the service answers to single questions: authors, checkpoints, proofs, records, bodies."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

import grpc

from ledger.errors import ObjectError
from ledger.fault import EndedCall, Fault, malformed, not_found, unavailable
from ledger.journal.interface import Journal
from ledger.objects.interface import ObjectStore
from ledger.proofs import Prover
from ledger.publisher import Published
from ledger.sequencer import Sequencer
from ledger.writer import Writer
from protos.stillwatch.ledger.v1 import ledger_pb2
from tlog.errors import ProofError, TlogError

MOST_RECORDS: Final = 1_000
"""Records of one answer."""
MOST_HEADS: Final = 1_000
"""Heads of one answer: those of the epochs that were opened last."""
_ID_LENGTH: Final = 32

T = TypeVar("T")


class HasPublished(Protocol):
    """Whoever knows what is published."""

    @property
    def published(self) -> Published | None:
        """The newest published checkpoint."""
        ...


class Reading:
    """Answers out of the sequencer's heads, the journal, and the published files.

    Each method takes a parsed request and raises :class:`EndedCall` when there is no answer.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        writer: Writer,
        journal: Journal,
        objects: ObjectStore,
        publisher: HasPublished,
    ) -> None:
        self._sequencer = sequencer
        self._writer = writer
        self._journal = journal
        self._objects = objects
        self._publisher = publisher
        self._threads = ThreadPoolExecutor(2, "reader")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    async def get_author(
        self, request: ledger_pb2.GetAuthorRequest
    ) -> ledger_pb2.GetAuthorResponse:
        """Return the logged heads of an author: asked between two groups, so that each is durable."""
        if len(request.author) != _ID_LENGTH:
            raise EndedCall(malformed(f"an author has 32 bytes, not {len(request.author)}"))
        heads = await self._writer.call(lambda: self._sequencer.heads(request.author, MOST_HEADS))
        return ledger_pb2.GetAuthorResponse(
            heads=[
                ledger_pb2.ChainHead(
                    epoch=head.epoch,
                    sequence=head.sequence,
                    statement_id=head.statement_id,
                    index=head.index,
                )
                for head in heads
            ],
            live=self._sequencer.keyring.speaks(request.author),
        )

    async def get_checkpoint(
        self,
        request: ledger_pb2.GetCheckpointRequest,  # noqa: ARG002 - it is empty
    ) -> ledger_pb2.GetCheckpointResponse:
        """Return the newest published checkpoint."""
        return ledger_pb2.GetCheckpointResponse(checkpoint=self._published().note)

    async def get_inclusion_proof(
        self, request: ledger_pb2.GetInclusionProofRequest
    ) -> ledger_pb2.GetInclusionProofResponse:
        """Return the audit path of a record in a published tree."""
        if not request.HasField("index"):
            raise EndedCall(malformed("index is missing"))
        published = self._published()
        size = request.size if request.HasField("size") else published.size
        if size > published.size or request.index >= size:
            raise EndedCall(
                not_found(
                    f"record {request.index} is not in a published tree of {size}; {published.size} are published: "
                    "ask again after the next checkpoint"
                )
            )
        prover = Prover(self._objects, published.size)
        hashes = await self._away(lambda: prover.inclusion(request.index, size))
        return ledger_pb2.GetInclusionProofResponse(
            size=size, hashes=hashes, checkpoint=published.note
        )

    async def get_consistency_proof(
        self, request: ledger_pb2.GetConsistencyProofRequest
    ) -> ledger_pb2.GetConsistencyProofResponse:
        """Return the path between two published trees."""
        published = self._published()
        new = request.to_size if request.HasField("to_size") else published.size
        if not request.HasField("from_size") or not 0 < request.from_size <= new:
            raise EndedCall(
                malformed("from_size must be at least 1 and at most to_size", "BAD_RANGE")
            )
        if new > published.size:
            raise EndedCall(not_found(f"{published.size} records are published, not {new}"))
        prover = Prover(self._objects, published.size)
        hashes = await self._away(lambda: prover.consistency(request.from_size, new))
        return ledger_pb2.GetConsistencyProofResponse(hashes=hashes, checkpoint=published.note)

    async def get_records(
        self, request: ledger_pb2.GetRecordsRequest
    ) -> ledger_pb2.GetRecordsResponse:
        """Return records by index."""
        count = request.count if request.HasField("count") else 1
        if not 1 <= count <= MOST_RECORDS:
            raise EndedCall(
                malformed(f"count must be 1 to {MOST_RECORDS}, not {count}", "BAD_RANGE")
            )
        start = request.start
        records = await self._away(
            lambda: [
                record
                for record, _ in self._journal.leaves(
                    start, min(start + count, self._journal.size())
                )
            ]
        )
        if not records:
            raise EndedCall(not_found(f"there is no record {start}"))
        return ledger_pb2.GetRecordsResponse(records=records)

    async def get_body(self, request: ledger_pb2.GetBodyRequest) -> ledger_pb2.GetBodyResponse:
        """Return the stored bytes of one body."""
        index = request.index
        if not request.HasField("index"):
            raise EndedCall(malformed("index is missing"))
        entries = await self._away(
            lambda: (
                list(self._journal.read(index, index + 1)) if index < self._journal.size() else []
            )
        )
        if not entries or entries[0][1] is None:
            raise EndedCall(not_found(f"no body of record {index} is held"))
        return ledger_pb2.GetBodyResponse(stored=entries[0][1])

    def _published(self) -> Published:
        published = self._publisher.published
        if published is None:
            raise EndedCall(unavailable("NOT_FOUND", "nothing is published yet: try again"))
        return published

    async def _away(self, action: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, action)
        except ProofError as error:
            raise EndedCall(Fault(grpc.StatusCode.OUT_OF_RANGE, "BAD_RANGE", str(error))) from error
        except TlogError as error:
            raise ObjectError(error.reason, f"{error}: run fsck") from error
