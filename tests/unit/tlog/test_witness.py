from http import HTTPStatus

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlog.checkpoint import Checkpoint, sign_checkpoint
from tlog.cosignature import CosigningKey
from tlog.errors import NoteError, WitnessError
from tlog.merkle import consistency_proof, leaf_hash, root_hash, subtree_root
from tlog.note import Signer, Verifier
from tlog.witness import (
    UNKNOWN,
    AddCheckpoint,
    Known,
    origin_of,
    parse_answer,
    parse_request,
    parse_size,
    verify_request,
)

SIGNER = Signer("log.example/one", Ed25519PrivateKey.from_private_bytes(b"l" * 32))
STRANGER = Signer("log.example/one", Ed25519PrivateKey.from_private_bytes(b"s" * 32))
LOG = Verifier.from_vkey(SIGNER.vkey)
LEAVES = [leaf_hash(bytes([n])) for n in range(20)]
# The request that the specification shows.
EXAMPLE = b"""old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\xe2\x80\x94 example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""


def subtrees(level: int, index: int) -> bytes:
    return subtree_root(LEAVES[index << level : (index + 1) << level])


def root(size: int) -> bytes:
    return root_hash(size, subtrees)


def request(old: int, new: int, signer: Signer = SIGNER) -> AddCheckpoint:
    proof = consistency_proof(old, new, subtrees) if 0 < old < new else []
    note = sign_checkpoint(Checkpoint(SIGNER.name, new, root(new)), signer)
    return AddCheckpoint(old, tuple(proof), note)


def known(size: int) -> Known:
    return Known(size, root(size)) if size else UNKNOWN


def test_the_specifications_request_is_read_and_written_as_it_stands() -> None:
    read = parse_request(EXAMPLE)
    assert (read.old_size, len(read.proof)) == (20852014, 4)
    assert origin_of(read) == "example.com/behind-the-sofa"
    assert read.encode() == EXAMPLE


@pytest.mark.parametrize(("old", "new"), [(0, 1), (0, 20), (7, 7), (7, 8), (8, 20), (1, 13)])
def test_a_checkpoint_that_extends_what_is_known_may_be_cosigned(old: int, new: int) -> None:
    sent = parse_request(request(old, new).encode())
    assert verify_request(sent, LOG, known(old)) == Checkpoint(SIGNER.name, new, root(new))


@pytest.mark.parametrize(
    ("sent", "held", "status", "reason"),
    [
        (request(3, 9, STRANGER), known(3), HTTPStatus.FORBIDDEN, "NOT_SIGNED"),
        (AddCheckpoint(9, (), request(0, 3).note), known(9), HTTPStatus.BAD_REQUEST, "BAD_REQUEST"),
        (request(3, 9), known(4), HTTPStatus.CONFLICT, "OTHER_SIZE"),
        (request(0, 9), known(4), HTTPStatus.CONFLICT, "OTHER_SIZE"),
        (request(3, 9), UNKNOWN, HTTPStatus.CONFLICT, "OTHER_SIZE"),
        (request(9, 9), Known(9, b"x" * 32), HTTPStatus.CONFLICT, "SPLIT_VIEW"),
        (request(3, 9), Known(3, b"x" * 32), HTTPStatus.UNPROCESSABLE_ENTITY, None),
        (AddCheckpoint(3, (), request(3, 9).note), known(3), HTTPStatus.UNPROCESSABLE_ENTITY, None),
        (AddCheckpoint(0, (b"x" * 32,), request(0, 9).note), UNKNOWN, HTTPStatus.UNPROCESSABLE_ENTITY, None),
        (AddCheckpoint(9, (b"x" * 32,), request(9, 9).note), known(9), HTTPStatus.UNPROCESSABLE_ENTITY, None),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_status_that_the_specification_asks_for(
    sent: AddCheckpoint, held: Known, status: HTTPStatus, reason: str | None
) -> None:
    with pytest.raises(WitnessError) as caught:
        verify_request(parse_request(sent.encode()), LOG, held)
    assert caught.value.status == status
    assert reason in {None, caught.value.reason}
    if status == HTTPStatus.CONFLICT:
        assert caught.value.known_size == held.size


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 1",
        b"old 01\n\n" + request(0, 1).note,
        b"old -1\n\n" + request(0, 1).note,
        b"new 1\n\n" + request(0, 1).note,
        b"old 1\nnot base64\n\n" + request(0, 1).note,
        b"old 1\nAAAA\n\n" + request(0, 1).note,
        b"old 1\n" + b"PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n" * 64 + b"\n" + request(0, 1).note,
        b"old 99999999999999999999\n\n" + request(0, 1).note,
        b"old \xff\n\n" + request(0, 1).note,
    ],
)  # fmt: skip
def test_a_body_that_is_no_request_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(WitnessError) as caught:
        parse_request(body)
    assert caught.value.status == HTTPStatus.BAD_REQUEST


def test_a_request_without_a_checkpoint_is_a_bad_request() -> None:
    with pytest.raises(WitnessError) as caught:
        origin_of(parse_request(b"old 0\n\nnothing"))
    assert caught.value.status == HTTPStatus.BAD_REQUEST


def test_answers_are_signature_lines() -> None:
    key = CosigningKey("w.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
    line = key.cosign("log.example/one\n1\nAAAA\n", 5)
    assert parse_answer(line.encode().encode() * 2) == (line, line)
    for body in (b"", b"\xff", b"hello\n"):
        with pytest.raises(NoteError):
            parse_answer(body)


def test_the_size_of_a_conflict_may_be_missing() -> None:
    assert parse_size(b"17\n") == 17
    assert parse_size(b"0") == 0
    for body in (b"", b"x", b"017\n", b"17\n\n"):
        assert parse_size(body) is None
