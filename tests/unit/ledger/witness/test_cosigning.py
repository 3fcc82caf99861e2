"""A log that asks its witnesses: quorums, liars, the deaf, and journals that are old copies."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from ledger.address import Address
from ledger.cosigning import Cosigning
from ledger.errors import ForkError, SetupError
from ledger.tls import ServerTls
from ledger.witness.folder import WitnessFolder
from ledger.witness.memory import WitnessMemory
from ledger.witness.server import WitnessServer
from ledger.witness.witness import Witness
from statements.certificates import Identity
from statements.clock import SystemClock
from statements.errors import CertificateError
from statements.tls import ClientTls, load_own
from tests.pki import Holder, authority, write_folder
from tlog.checkpoint import Checkpoint, sign_checkpoint
from tlog.merkle import EMPTY_ROOT, consistency_proof, leaf_hash, root_hash, subtree_root
from tlog.note import Signer
from tlog.policy import Policy, parse_policy, verify_quorum
from tlog.witness import Known

SIGNER = Signer("log.example/one", Ed25519PrivateKey.from_private_bytes(b"l" * 32))
LEAVES = [leaf_hash(bytes([n])) for n in range(60)]
EMPTY = sign_checkpoint(Checkpoint(SIGNER.name, 0, EMPTY_ROOT), SIGNER)


def subtrees(level: int, index: int) -> bytes:
    return subtree_root(LEAVES[index << level : (index + 1) << level])


def consistency(old: int, new: int) -> Sequence[bytes]:
    return consistency_proof(old, new, subtrees)


def tree(size: int) -> Checkpoint:
    return Checkpoint(SIGNER.name, size, root_hash(size, subtrees))


@dataclass
class Standing:
    """A witness that stands: what it remembers, its server, its line in a policy."""

    memory: WitnessMemory
    server: WitnessServer
    line: str

    def know(self, size: int) -> None:
        log = self.memory.log(SIGNER.name)
        assert log is not None
        self.memory.advance(SIGNER.name, log.known, Known(size, tree(size).root), b"")


@pytest.fixture
def standing(tmp_path: Path) -> Iterator[list[Standing]]:
    found = []
    for name in ("a", "b", "c"):
        folder = WitnessFolder.create(tmp_path / name, f"witness.example/{name}")
        memory = folder.memory()
        memory.add_log(SIGNER.name, SIGNER.vkey)
        server = WitnessServer(Address("127.0.0.1", 0), Witness(memory, folder.keys, SystemClock()))
        line = f"witness {name} {folder.keys[0].vkey} http://127.0.0.1:{server.port}/"
        found.append(Standing(memory, server, line))
    yield found
    for one in found:
        one.server.close()
        one.memory.close()


def two_of_three(standing: list[Standing]) -> Policy:
    return parse_policy("\n".join([*(s.line for s in standing), "group q 2 a b c", "quorum q"]))


@pytest.fixture
def cosigning(standing: list[Standing]) -> Iterator[Cosigning]:
    cosigning = Cosigning(two_of_three(standing), timeout_s=1.0)
    yield cosigning
    cosigning.close()


def cosign(cosigning: Cosigning, size: int) -> int | None:
    """Return how many witnesses cosigned, ``None`` when they were no quorum."""
    checkpoint = tree(size)
    note = cosigning.cosign(sign_checkpoint(checkpoint, SIGNER), checkpoint, consistency)
    return None if note is None else len(note.signatures) - 1


def test_a_growing_log_is_cosigned_by_all(cosigning: Cosigning, standing: list[Standing]) -> None:
    for size in (1, 7, 7, 40):
        checkpoint = tree(size)
        note = cosigning.cosign(sign_checkpoint(checkpoint, SIGNER), checkpoint, consistency)
        assert note is not None
        quorum = verify_quorum(note, two_of_three(standing))
        assert len(quorum.times_s) >= 2
        assert abs((quorum.time_ms or 0) - time.time() * 1000) < 60_000


def test_one_witness_that_is_down_holds_nothing_up(
    cosigning: Cosigning, standing: list[Standing]
) -> None:
    standing[0].server.close()
    assert cosign(cosigning, 5) == 2
    assert cosign(cosigning, 9) == 2


def test_without_a_quorum_nothing_is_given(cosigning: Cosigning, standing: list[Standing]) -> None:
    standing[0].server.close()
    standing[2].server.close()
    assert cosign(cosigning, 5) is None


def test_a_witness_that_takes_connections_and_says_nothing_costs_its_time_only(
    standing: list[Standing],
) -> None:
    deaf = socket.create_server(("127.0.0.1", 0))
    lines = [standing[0].line, standing[1].line]
    key = standing[2].line.split()[2]
    lines.append(f"witness c {key} http://127.0.0.1:{deaf.getsockname()[1]}/")
    policy = parse_policy("\n".join([*lines, "group q 2 a b c", "quorum q"]))
    cosigning = Cosigning(policy, timeout_s=1.0)
    began = time.monotonic()
    assert cosign(cosigning, 5) == 2
    assert time.monotonic() - began < 1.0
    cosigning.close()
    deaf.close()


def test_a_log_that_was_restarted_finds_out_what_its_witnesses_know(
    cosigning: Cosigning, standing: list[Standing]
) -> None:
    standing[0].know(7)
    standing[1].know(9)
    assert (cosign(cosigning, 20) or 0) >= 2


def test_a_witness_that_answers_with_another_key_counts_for_nothing(
    standing: list[Standing], tmp_path: Path
) -> None:
    other = WitnessFolder.create(tmp_path / "other", "witness.example/a").keys[0].vkey
    place = standing[0].line.split()[3]
    policy = parse_policy(f"witness a {other} {place}\nquorum a")
    cosigning = Cosigning(policy, timeout_s=1.0)
    assert cosign(cosigning, 5) is None
    cosigning.close()


def test_a_survey_of_fresh_witnesses_finds_nothing_ahead(cosigning: Cosigning) -> None:
    assert cosigning.survey(EMPTY, 2)


def test_an_old_copy_of_the_journal_is_found_out_before_anything_is_signed(
    cosigning: Cosigning, standing: list[Standing]
) -> None:
    for one in standing[:2]:
        one.know(20)
    assert cosigning.survey(EMPTY, 20)
    with pytest.raises(ForkError) as caught:
        cosigning.survey(EMPTY, 19)
    assert caught.value.reason == "WITNESSES_AHEAD"
    assert "20" in str(caught.value)


def test_one_witness_that_lies_stops_no_log(cosigning: Cosigning, standing: list[Standing]) -> None:
    standing[1].know(50)
    assert cosigning.survey(EMPTY, 5)
    assert cosign(cosigning, 5) == 2


def test_what_too_few_witnesses_say_is_no_survey(
    cosigning: Cosigning, standing: list[Standing]
) -> None:
    standing[0].server.close()
    standing[2].server.close()
    assert not cosigning.survey(EMPTY, 5)


def test_quorum_none_asks_nobody() -> None:
    cosigning = Cosigning(parse_policy("quorum none"))
    assert cosigning.survey(EMPTY, 5)
    assert cosign(cosigning, 5) == 0
    cosigning.close()


@pytest.mark.parametrize("url", ["", "ftp://w.example/", "http://", "https://"])
def test_a_policy_whose_quorum_cannot_be_asked_is_refused(
    standing: list[Standing], url: str
) -> None:
    key = standing[0].line.split()[2]
    with pytest.raises(SetupError) as caught:
        Cosigning(parse_policy(f"witness a {key} {url}\nquorum a"))
    assert caught.value.reason in {"NO_QUORUM_IN_REACH", "BAD_WITNESS_URL"}


@pytest.mark.parametrize("url", ["http://w.example/", "http://192.0.2.3:7703/"])
def test_a_witness_elsewhere_is_not_asked_in_plain(standing: list[Standing], url: str) -> None:
    key = standing[0].line.split()[2]
    with pytest.raises(CertificateError, match="the witness a at http://") as caught:
        Cosigning(parse_policy(f"witness a {key} {url}\nquorum a"))
    assert caught.value.reason == "TLS_REQUIRED"


class Secured:
    """A witness that is reached over TLS, and the CA that certified it."""

    def __init__(self, place: Path) -> None:
        self.ca = authority("ca")
        self.place = write_folder(place / "tls", self.certified())
        folder = WitnessFolder.create(place / "w", "witness.example/w")
        self.memory = folder.memory()
        self.memory.add_log(SIGNER.name, SIGNER.vkey)
        self.server = WitnessServer(
            Address("127.0.0.1", 0),
            Witness(self.memory, folder.keys, SystemClock()),
            tls=ServerTls(self.place, with_clients=False, every_s=0.0),
        )
        self.key = folder.keys[0].vkey

    def certified(self, hours: tuple[float, float] = (-1, 24)) -> Holder:
        return self.ca.issue("witness", hosts=["127.0.0.1"], hours=hours)

    def policy(self, host: str = "127.0.0.1") -> Policy:
        return parse_policy(f"witness w {self.key} https://{host}:{self.server.port}/\nquorum w")

    def close(self) -> None:
        self.server.close()
        self.memory.close()
        while self.server._server._due:  # its threads still have something to log
            time.sleep(0.01)


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    made = Secured(tmp_path)
    yield made
    made.close()


def believing(place: Path, ca: Holder) -> ClientTls:
    return ClientTls(write_folder(place, trusts=[ca]), every_s=0.0)


def test_a_witness_over_tls_cosigns_and_goes_on_with_a_new_certificate(
    secured: Secured, tmp_path: Path
) -> None:
    cosigning = Cosigning(secured.policy(), 2.0, believing(tmp_path / "ours", secured.ca))
    try:
        assert cosigning.survey(EMPTY, 5)
        assert cosign(cosigning, 5) == 1
        write_folder(secured.place, secured.certified())
        assert cosign(cosigning, 6) == 1, "on the connection that is open"
        connection = cosigning._asked[0].connection
        assert connection is not None
        connection.close()
        assert cosign(cosigning, 7) == 1, "on a new one"
    finally:
        cosigning.close()


@pytest.mark.parametrize(
    ("ca", "host"),
    [("another", "127.0.0.1"), ("everybody's", "127.0.0.1"), ("its own", "localhost")],
)
def test_a_witness_whose_certificate_is_not_believed_does_not_count(
    secured: Secured, tmp_path: Path, ca: str, host: str
) -> None:
    tls = {
        "another": believing(tmp_path / "other", authority("ca")),
        "everybody's": None,
        "its own": believing(tmp_path / "ours", secured.ca),
    }[ca]
    cosigning = Cosigning(secured.policy(host), 2.0, tls)
    try:
        with capture_logs() as said:
            assert cosign(cosigning, 5) is None
        assert any("CERTIFICATE_VERIFY_FAILED" in str(row.get("why")) for row in said)
    finally:
        cosigning.close()


def test_a_witness_that_was_renewed_too_late_is_not_believed_until_it_is(
    secured: Secured, tmp_path: Path
) -> None:
    stale = secured.certified(hours=(-2, -1))
    lived = stale.certificate.not_valid_before_utc, stale.certificate.not_valid_after_utc
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_own(context, Identity(stale.cert_pem, stale.key_pem, *lived))
    secured.server._server.context = lambda: context
    cosigning = Cosigning(secured.policy(), 2.0, believing(tmp_path / "ours", secured.ca))
    try:
        assert cosign(cosigning, 5) is None
        secured.server._server.context = ServerTls(secured.place, with_clients=False).context
        assert cosign(cosigning, 5) == 1
    finally:
        cosigning.close()


def test_a_witness_that_answers_byte_by_byte_holds_nobody_up(standing: list[Standing]) -> None:
    drip = socket.create_server(("127.0.0.1", 0))

    def drop_by_drop() -> None:
        connection, _ = drip.accept()
        with suppress(OSError), connection:
            for _ in range(100):
                connection.sendall(b"H")
                time.sleep(0.2)

    threading.Thread(target=drop_by_drop, daemon=True).start()
    key = standing[2].line.split()[2]
    lines = [standing[0].line, standing[1].line]
    lines.append(f"witness c {key} http://127.0.0.1:{drip.getsockname()[1]}/")
    policy = parse_policy("\n".join([*lines, "group q 2 a b c", "quorum q"]))
    cosigning = Cosigning(policy, timeout_s=0.5)
    began = time.monotonic()
    assert cosigning.survey(EMPTY, 5)
    for size in (5, 6, 7, 8):
        assert cosign(cosigning, size) == 2
    cosigning.close()
    assert time.monotonic() - began < 5.0
    drip.close()
