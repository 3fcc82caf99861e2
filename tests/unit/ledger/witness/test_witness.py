"""One witness: what it cosigns, what it refuses, and what it still knows after a crash."""

import http.client
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.address import Address
from ledger.errors import SetupError, WitnessStoreError
from ledger.witness.folder import WitnessFolder
from ledger.witness.memory import WitnessMemory
from ledger.witness.server import WitnessServer
from ledger.witness.witness import Witness
from statements.errors import KeyFileError
from tlog.checkpoint import Checkpoint, sign_checkpoint
from tlog.cosignature import Cosigner, verify_cosignature
from tlog.errors import NoteError, WitnessError
from tlog.merkle import consistency_proof, leaf_hash, root_hash, subtree_root
from tlog.note import Signer, parse_note
from tlog.witness import AddCheckpoint, parse_answer

SIGNER = Signer("log.example/one", Ed25519PrivateKey.from_private_bytes(b"l" * 32))
NOON = 1_780_315_200
LEAVES = [leaf_hash(bytes([n])) for n in range(40)]
FORKED = [leaf_hash(bytes([n + 1])) for n in range(40)]


class Noon:
    def now_ms(self) -> int:
        return NOON * 1000

    def sleep(self, seconds: float) -> None:
        raise AssertionError


def request(old: int, new: int, leaves: list[bytes] = LEAVES) -> bytes:
    def subtrees(level: int, index: int) -> bytes:
        return subtree_root(leaves[index << level : (index + 1) << level])

    proof = consistency_proof(old, new, subtrees) if 0 < old < new else []
    note = sign_checkpoint(Checkpoint(SIGNER.name, new, root_hash(new, subtrees)), SIGNER)
    return AddCheckpoint(old, tuple(proof), note).encode()


@pytest.fixture
def folder(tmp_path: Path) -> WitnessFolder:
    return WitnessFolder.create(tmp_path / "w", "witness.example/w")


@pytest.fixture
def memory(folder: WitnessFolder) -> Iterator[WitnessMemory]:
    memory = folder.memory()
    memory.add_log(SIGNER.name, SIGNER.vkey)
    yield memory
    memory.close()


@pytest.fixture
def witness(folder: WitnessFolder, memory: WitnessMemory) -> Witness:
    return Witness(memory, folder.keys, Noon())


def status_of(witness: Witness, body: bytes) -> tuple[HTTPStatus, int | None]:
    with pytest.raises(WitnessError) as caught:
        witness.add_checkpoint(body)
    return caught.value.status, caught.value.known_size


def test_it_cosigns_with_both_of_its_keys_at_the_time_of_its_clock(
    witness: Witness, folder: WitnessFolder
) -> None:
    body = request(0, 7)
    lines = witness.add_checkpoint(body)
    text = parse_note(body.partition(b"\n\n")[2]).text
    for line, key in zip(lines, folder.keys, strict=True):
        assert verify_cosignature(line, text, Cosigner.from_vkey(key.vkey)) == NOON


def test_it_follows_a_log_and_cosigns_the_same_tree_again(witness: Witness) -> None:
    for old, new in ((0, 7), (7, 7), (7, 20), (20, 21)):
        assert witness.add_checkpoint(request(old, new))


def test_it_never_goes_back(witness: Witness) -> None:
    witness.add_checkpoint(request(0, 20))
    assert status_of(witness, request(0, 7)) == (HTTPStatus.CONFLICT, 20)
    assert status_of(witness, request(7, 20)) == (HTTPStatus.CONFLICT, 20)


def test_it_cosigns_no_second_history_and_keeps_the_proof_of_one(
    witness: Witness, memory: WitnessMemory
) -> None:
    witness.add_checkpoint(request(0, 7))
    assert status_of(witness, request(7, 9, FORKED))[0] == HTTPStatus.UNPROCESSABLE_ENTITY
    assert memory.split(SIGNER.name) is None
    assert status_of(witness, request(7, 7, FORKED)) == (HTTPStatus.CONFLICT, 7)
    pair = memory.split(SIGNER.name)
    assert pair is not None
    assert len({parse_note(note).text for note in pair}) == 2
    witness.add_checkpoint(request(7, 9))


def test_a_log_that_it_does_not_know_is_not_found(folder: WitnessFolder) -> None:
    memory = WitnessMemory(folder.path / "other.sqlite")
    assert status_of(Witness(memory, folder.keys, Noon()), request(0, 1))[0] == HTTPStatus.NOT_FOUND
    memory.close()


def test_what_it_cosigned_is_known_to_its_next_life(
    folder: WitnessFolder, witness: Witness
) -> None:
    witness.add_checkpoint(request(0, 20))
    again = folder.memory()
    known = again.log(SIGNER.name)
    assert known is not None
    assert known.known.size == 20
    later = Witness(again, WitnessFolder.open(folder.path).keys, Noon())
    assert status_of(later, request(0, 7)) == (HTTPStatus.CONFLICT, 20)
    again.close()


def test_of_many_requests_at_once_none_takes_it_back(
    witness: Witness, memory: WitnessMemory
) -> None:
    witness.add_checkpoint(request(0, 5))
    sizes = list(range(6, 30))
    cosigned: list[int] = []
    refused: list[HTTPStatus] = []

    def ask(size: int) -> None:
        try:
            witness.add_checkpoint(request(5, size))
            cosigned.append(size)
        except WitnessError as error:
            refused.append(error.status)

    threads = [threading.Thread(target=ask, args=(size,), daemon=True) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = memory.log(SIGNER.name)
    assert log is not None
    assert cosigned == [log.known.size]
    assert refused == [HTTPStatus.CONFLICT] * (len(sizes) - 1)


def test_a_log_keeps_its_key_for_ever(memory: WitnessMemory) -> None:
    memory.add_log(SIGNER.name, SIGNER.vkey)
    other = Signer(SIGNER.name, Ed25519PrivateKey.from_private_bytes(b"o" * 32))
    with pytest.raises(WitnessStoreError) as caught:
        memory.add_log(SIGNER.name, other.vkey)
    assert caught.value.reason == "OTHER_KEY"


def test_a_memory_that_fails_cosigns_nothing(folder: WitnessFolder, memory: WitnessMemory) -> None:
    witness = Witness(memory, folder.keys, Noon())
    memory.close()
    with pytest.raises(WitnessStoreError) as caught:
        witness.add_checkpoint(request(0, 7))
    assert caught.value.reason == "STORAGE"


def test_keys_open_to_others_and_folders_that_are_none_are_refused(
    folder: WitnessFolder, tmp_path: Path
) -> None:
    (folder.path / "ed25519.key").chmod(0o644)
    with pytest.raises(KeyFileError):
        WitnessFolder.open(folder.path)
    with pytest.raises(SetupError) as caught:
        WitnessFolder.open(tmp_path)
    assert caught.value.reason == "NOT_A_WITNESS"
    with pytest.raises(SetupError) as caught:
        WitnessFolder.create(folder.path, "other")
    assert caught.value.reason == "WITNESS_EXISTS"
    with pytest.raises(NoteError):
        WitnessFolder.create(tmp_path / "x", "two words")
    (folder.path / "ed25519.key").chmod(0o600)
    (folder.path / "ed25519.key").write_text("no key")
    with pytest.raises(SetupError) as caught:
        WitnessFolder.open(folder.path)
    assert caught.value.reason == "NOT_A_KEY"


def test_one_folder_is_served_once(folder: WitnessFolder) -> None:
    with folder.held(), pytest.raises(SetupError) as caught, folder.held():
        pass
    assert caught.value.reason == "IN_USE"


@pytest.fixture
def server(witness: Witness) -> Iterator[WitnessServer]:
    server = WitnessServer(Address("127.0.0.1", 0), witness)
    yield server
    server.close()


def post(
    server: WitnessServer, body: bytes, path: str = "/add-checkpoint", **headers: str
) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    found = answer.status, answer.headers["Content-Type"], answer.read()
    connection.close()
    return found


def test_over_http_it_answers_with_lines_or_with_the_size_it_knows(server: WitnessServer) -> None:
    status, _, body = post(server, request(0, 7))
    assert status == 200
    assert len(parse_answer(body)) == 2
    assert post(server, request(0, 9)) == (409, "text/x.tlog.size", b"7\n")
    assert post(server, request(7, 9, FORKED))[0] == 422
    assert post(server, b"hello")[0] == 400
    assert post(server, request(7, 9), path="/elsewhere")[0] == 404
    assert post(server, request(7, 9))[0] == 200


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [("Content-Length", str(1 << 17), 413), ("Transfer-Encoding", "chunked", 411)],
)
def test_over_http_it_reads_no_more_than_a_request_may_have(
    server: WitnessServer, header: str, value: str, status: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.putrequest("POST", "/add-checkpoint")
    connection.putheader(header, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == status
    answer.read()
    connection.close()


def test_over_http_a_memory_that_fails_is_no_refusal(
    server: WitnessServer, memory: WitnessMemory
) -> None:
    memory.close()
    assert post(server, request(0, 7))[0] == 503
