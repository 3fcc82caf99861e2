"""Single questions over real gRPC."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from ledger.chains import Head
from ledger.limits import Limits
from ledger.reading import MOST_HEADS, MOST_RECORDS
from protos.stillwatch.ledger.v1 import ledger_pb2 as pb
from statements.author import Statement
from statements.header import decode_header
from tests.unit.ledger.cast import Cast, wire
from tests.unit.ledger.rig import Rig, faulted, reason_of
from tlog.checkpoint import verify_checkpoint
from tlog.merkle import leaf_hash, subtree_root, verify_consistency, verify_inclusion
from tlog.note import Verifier

SIZE = 600


@pytest.fixture(scope="module")
def cast() -> Cast:
    return Cast()


@pytest.fixture(scope="module")
def rig(cast: Cast, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A log of 600 published records, the last one without its body."""
    made = Rig(cast, tmp_path_factory.mktemp("log"))
    said = [cast.party.open(), *cast.party.summaries(SIZE - 2, size=10)]
    last = pb.AppendRequest(statements=[wire(cast.party.summary(), withheld=True)])
    made.append(said)
    made.send(last)
    made.publish()
    yield made
    made.close()


@pytest.fixture(scope="module")
def leaves(rig: Rig) -> list[bytes]:
    return [record for record, _ in rig.journal.leaves(0, SIZE)]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(Cast(), tmp_path / "empty")
    yield made
    made.close()


@pytest.mark.parametrize(
    "method",
    ["GetAuthor", "GetInclusionProof", "GetConsistencyProof", "GetRecords", "GetBody"],
)
def test_a_request_that_does_not_parse_gets_a_reason(rig: Rig, method: str) -> None:
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"):
        rig.raw(method, b"\xff\xff\xff")


def test_a_method_that_is_not_there_is_unimplemented(rig: Rig) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        rig.raw("Delete", b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_authors_heads_and_whether_its_key_is_live(cast: Cast, rig: Rig) -> None:
    answer = rig.stub.GetAuthor(pb.GetAuthorRequest(author=cast.party_key.key_id))
    (head,) = answer.heads
    assert cast.party.place is not None
    assert (head.sequence, head.index) == (SIZE - 1, SIZE - 1)
    assert head.statement_id == cast.party.place.previous
    assert head.epoch == cast.party.place.epoch
    assert answer.live
    silent = rig.stub.GetAuthor(pb.GetAuthorRequest(author=cast.evaluator_key.key_id))
    assert (list(silent.heads), silent.live) == ([], True)
    stranger = rig.stub.GetAuthor(pb.GetAuthorRequest(author=bytes(32)))
    assert (list(stranger.heads), stranger.live) == ([], False)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_an_author_has_32_bytes(rig: Rig, length: int) -> None:
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"):
        rig.stub.GetAuthor(pb.GetAuthorRequest(author=bytes(length)))


def test_of_thousands_of_epochs_the_heads_of_the_newest_are_told(empty: Rig) -> None:
    cast = empty.cast
    openings = [cast.party.open() for _ in range(MOST_HEADS + 500)]
    empty.append(openings)
    answer = empty.stub.GetAuthor(pb.GetAuthorRequest(author=cast.party_key.key_id))
    assert [head.epoch for head in answer.heads] == [
        decode_header(one.header).epoch for one in openings[-MOST_HEADS:]
    ]
    assert answer.ByteSize() < 200_000


def test_the_checkpoint_is_the_published_one(cast: Cast, rig: Rig, leaves: list[bytes]) -> None:
    note = rig.stub.GetCheckpoint(pb.GetCheckpointRequest()).checkpoint
    tree = verify_checkpoint(note, cast.signer.name, Verifier.from_vkey(cast.signer.vkey))
    assert (tree.size, tree.root) == (SIZE, subtree_root([leaf_hash(leaf) for leaf in leaves]))
    assert note == rig.store.get("checkpoint")


def test_before_anything_is_published_questions_can_be_asked_again(empty: Rig) -> None:
    for ask in (
        lambda: empty.stub.GetCheckpoint(pb.GetCheckpointRequest()),
        lambda: empty.stub.GetInclusionProof(pb.GetInclusionProofRequest(index=0)),
        lambda: empty.stub.GetConsistencyProof(pb.GetConsistencyProofRequest(from_size=1)),
    ):
        with faulted(grpc.StatusCode.UNAVAILABLE, "NOT_FOUND"):
            ask()


@pytest.mark.parametrize("size", [None, 1, 255, 257, SIZE])
def test_inclusion_is_proven_in_any_published_tree(
    rig: Rig, leaves: list[bytes], size: int | None
) -> None:
    answer = rig.stub.GetInclusionProof(pb.GetInclusionProofRequest(index=0, size=size))
    assert answer.size == (size or SIZE)
    root = subtree_root([leaf_hash(leaf) for leaf in leaves[: answer.size]])
    verify_inclusion(0, answer.size, leaf_hash(leaves[0]), list(answer.hashes), root)
    assert answer.checkpoint == rig.store.get("checkpoint")


def test_a_proof_needs_an_index(rig: Rig) -> None:
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"):
        rig.stub.GetInclusionProof(pb.GetInclusionProofRequest())


@pytest.mark.parametrize(
    ("index", "size"), [(SIZE, None), (2**64 - 1, None), (5, 5), (0, 0), (0, SIZE + 1)]
)
def test_what_is_not_published_is_not_proven(rig: Rig, index: int, size: int | None) -> None:
    with faulted(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        rig.stub.GetInclusionProof(pb.GetInclusionProofRequest(index=index, size=size))


@pytest.mark.parametrize(("old", "new"), [(1, None), (255, 256), (300, 300), (256, SIZE)])
def test_trees_are_proven_to_extend_one_another(
    rig: Rig, leaves: list[bytes], old: int, new: int | None
) -> None:
    answer = rig.stub.GetConsistencyProof(pb.GetConsistencyProofRequest(from_size=old, to_size=new))
    hashes = [leaf_hash(leaf) for leaf in leaves]
    to = new or SIZE
    verify_consistency(
        old, to, list(answer.hashes), subtree_root(hashes[:old]), subtree_root(hashes[:to])
    )


@pytest.mark.parametrize(("old", "new"), [(None, None), (0, None), (9, 8), (SIZE + 1, None)])
def test_an_empty_or_inverted_range_is_refused(rig: Rig, old: int | None, new: int | None) -> None:
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "BAD_RANGE"):
        rig.stub.GetConsistencyProof(pb.GetConsistencyProofRequest(from_size=old, to_size=new))


def test_a_tree_that_is_not_published_yet_is_not_there(rig: Rig) -> None:
    with faulted(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        rig.stub.GetConsistencyProof(pb.GetConsistencyProofRequest(from_size=1, to_size=SIZE + 1))


@pytest.mark.parametrize(
    ("start", "count", "span"),
    [
        (None, None, slice(0, 1)),
        (5, None, slice(5, 6)),
        (0, MOST_RECORDS, slice(0, SIZE)),
        (SIZE - 2, 10, slice(SIZE - 2, SIZE)),
    ],
)
def test_records_are_returned_by_index(
    rig: Rig, leaves: list[bytes], start: int | None, count: int | None, span: slice
) -> None:
    answer = rig.stub.GetRecords(pb.GetRecordsRequest(start=start, count=count))
    assert list(answer.records) == leaves[span]


def test_more_questions_than_there_is_room_for_are_refused_and_room_comes_back(
    tmp_path: Path,
) -> None:
    rig = Rig(Cast(), tmp_path / "log", Limits(questions=2))
    rig.append([rig.cast.party.open()])
    rig.publish()
    asked = pb.GetAuthorRequest(author=rig.cast.party_key.key_id)
    stop = threading.Event()
    real = rig.sequencer.heads

    def slow(author: bytes, most: int) -> list[Head]:
        stop.wait(10)
        return real(author, most)

    rig.sequencer.heads = slow  # type: ignore[method-assign]
    waiting = [rig.stub.GetAuthor.future(asked) for _ in range(2)]
    with faulted(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
        for _ in range(100):  # the two may not have arrived yet
            rig.stub.GetCheckpoint(pb.GetCheckpointRequest())
    stop.set()
    for answer in waiting:
        assert len(answer.result().heads) == 1
    assert len(rig.stub.GetAuthor(asked).heads) == 1
    gone = [rig.stub.GetAuthor.future(asked) for _ in range(2)]
    for answer in gone:
        answer.cancel()
    deadline = time.monotonic() + 5
    while True:
        try:
            rig.stub.GetCheckpoint(pb.GetCheckpointRequest())
            break
        except grpc.RpcError:
            assert time.monotonic() < deadline, "whoever hung up leaves room"
    rig.close()


@pytest.mark.parametrize("count", [0, MOST_RECORDS + 1, 2**32 - 1])
def test_too_many_records_or_none_are_not_returned(rig: Rig, count: int) -> None:
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "BAD_RANGE"):
        rig.stub.GetRecords(pb.GetRecordsRequest(count=count))


@pytest.mark.parametrize("start", [SIZE, 2**63, 2**64 - 1])
def test_records_beyond_the_log_are_not_there(rig: Rig, start: int) -> None:
    with faulted(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        rig.stub.GetRecords(pb.GetRecordsRequest(start=start, count=MOST_RECORDS))


def test_a_body_is_returned_as_it_was_stored(cast: Cast, rig: Rig) -> None:
    stored = rig.stub.GetBody(pb.GetBodyRequest(index=3)).stored
    ((_, body),) = rig.journal.read(3, 4)
    assert stored == body


@pytest.mark.parametrize("index", [SIZE - 1, SIZE, 2**64 - 1])
def test_a_body_that_is_not_held_is_not_there(rig: Rig, index: int) -> None:
    with faulted(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        rig.stub.GetBody(pb.GetBodyRequest(index=index))


def test_a_body_needs_an_index(rig: Rig) -> None:
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"):
        rig.stub.GetBody(pb.GetBodyRequest())


def test_what_is_damaged_is_the_ledgers_fault_and_told_without_its_paths(empty: Rig) -> None:
    cast = empty.cast
    said: list[Statement] = [cast.party.open(), *cast.party.summaries(300, size=1)]
    empty.append(said)
    empty.publish()
    empty.store.put({"tile/0/000": b"cut"})
    empty.journal._writer.execute("UPDATE groups SET bodies = x''")
    for ask in (
        lambda: empty.stub.GetInclusionProof(pb.GetInclusionProofRequest(index=0)),
        lambda: empty.stub.GetBody(pb.GetBodyRequest(index=0)),
        lambda: empty.stub.GetRecords(pb.GetRecordsRequest()),
    ):
        with pytest.raises(grpc.RpcError) as failed:
            ask()
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason_of(failed.value) == "STORAGE"
        assert "/" not in str(failed.value.details())
