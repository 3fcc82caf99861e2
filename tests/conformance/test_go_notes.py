"""Notes, checkpoints and cosignatures beside the Go libraries of others, both ways.

golang.org/x/mod/sumdb/note (BSD-3-Clause) and github.com/transparency-dev/formats (Apache-2.0). Run by `make interop`,
which needs Go and its module proxy.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from tlog.checkpoint import Checkpoint, sign_checkpoint
from tlog.cosignature import Cosigner, CosigningKey, verify_cosignature
from tlog.note import Note, Signer, parse_note, parse_signature

pytestmark = pytest.mark.slow

SIGNER = Signer("log.example/one", Ed25519PrivateKey.generate())
CHECKPOINT = Checkpoint(SIGNER.name, 7, b"r" * 32)
NOTE = sign_checkpoint(CHECKPOINT, SIGNER)
NOON = 1_780_315_200


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed: other people's libraries are written in it")
    program = tmp_path_factory.mktemp("peer") / "peer"
    source = Path(__file__).with_name("peers")
    subprocess.run([go, "build", "-o", str(program), "."], cwd=source, check=True, timeout=300)
    return program


def ask(peer: Path, note: bytes, *words: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [str(peer), *words], input=note, capture_output=True, timeout=30, check=False
    )


def cosigned(*keys: CosigningKey) -> bytes:
    note = parse_note(NOTE)
    lines = tuple(key.cosign(note.text, NOON) for key in keys)
    return Note(note.text, (*note.signatures, *lines)).encode()


def test_go_verifies_what_is_signed_and_cosigned_here(peer: Path) -> None:
    ed25519 = CosigningKey("w.example/ed", Ed25519PrivateKey.generate())
    ml_dsa = CosigningKey("w.example/ml", MLDSA44PrivateKey.generate())
    keys = (SIGNER.vkey, ed25519.vkey, ml_dsa.vkey)
    answer = ask(peer, cosigned(ed25519, ml_dsa), "verify", *keys)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == [b"log.example/one", b"w.example/ed", b"w.example/ml"]


def test_go_refuses_what_was_not_cosigned(peer: Path) -> None:
    stranger = CosigningKey("w.example/ed", Ed25519PrivateKey.generate())
    other = CosigningKey("w.example/ed", Ed25519PrivateKey.generate())
    assert ask(peer, cosigned(other), "verify", SIGNER.vkey, stranger.vkey).returncode != 0


@pytest.mark.parametrize("algorithm", ["cosign", "mldsa"])
def test_what_go_cosigns_verifies_here(peer: Path, algorithm: str) -> None:
    answer = ask(peer, NOTE, algorithm, "w.example/peer")
    assert answer.returncode == 0, answer.stderr
    line, vkey = answer.stdout.decode().splitlines()
    time_s = verify_cosignature(parse_signature(line), CHECKPOINT.text, Cosigner.from_vkey(vkey))
    assert time_s > NOON
