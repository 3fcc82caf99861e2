import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tlog.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint, verify_checkpoint
from tlog.errors import CheckpointError, NoteError
from tlog.merkle import EMPTY_ROOT
from tlog.note import Note, SignatureLine, Signer, Verifier, parse_note, verify_note

# The example of golang.org/x/mod/sumdb/note, whose keys and note are public.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ORIGIN = "log.example/one"
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
LOG = Verifier.from_vkey(SIGNER.vkey)
OTHER = Signer("other.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))
CHECKPOINT = Checkpoint(ORIGIN, 7, b"r" * 32)


def test_a_note_that_go_signed_verifies() -> None:
    note = parse_note(GO_NOTE.encode())
    assert [key.name for key in verify_note(note, [Verifier.from_vkey(GO_VKEY)])] == [
        "PeterNeumann"
    ]
    assert note.encode() == GO_NOTE.encode()


def test_a_checkpoint_signed_here_verifies_under_its_vkey() -> None:
    assert verify_checkpoint(sign_checkpoint(CHECKPOINT, SIGNER), ORIGIN, LOG) == CHECKPOINT


@given(st.data())
def test_any_flipped_bit_of_a_checkpoint_is_refused(data: st.DataObject) -> None:
    whole = bytearray(sign_checkpoint(CHECKPOINT, SIGNER))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NoteError):
        verify_checkpoint(bytes(whole), ORIGIN, LOG)


def test_lines_of_unknown_keys_are_kept_and_ignored() -> None:
    signed = SIGNER.sign(CHECKPOINT.text)
    stranger = OTHER.sign(CHECKPOINT.text).signatures
    note = Note(signed.text, (*stranger, *signed.signatures))
    assert verify_checkpoint(note.encode(), ORIGIN, LOG) == CHECKPOINT
    assert parse_note(note.encode()) == note


def test_a_note_that_no_known_key_signed_is_refused() -> None:
    with pytest.raises(NoteError) as caught:
        verify_checkpoint(OTHER.sign(CHECKPOINT.text).encode(), ORIGIN, LOG)
    assert caught.value.reason == "NOT_SIGNED"


def test_a_known_key_signs_once() -> None:
    signed = SIGNER.sign(CHECKPOINT.text)
    with pytest.raises(NoteError) as caught:
        verify_note(Note(signed.text, signed.signatures * 2), [LOG])
    assert caught.value.reason == "BAD_SIGNATURE"


def test_a_checkpoint_of_another_log_is_refused() -> None:
    with pytest.raises(CheckpointError) as caught:
        verify_checkpoint(
            sign_checkpoint(Checkpoint("log.example/two", 7, b"r" * 32), SIGNER), ORIGIN, LOG
        )
    assert caught.value.reason == "OTHER_LOG"


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n7\n",
        f"{ORIGIN}\n07\n{'A' * 43}=\n",
        f"{ORIGIN}\n-7\n{'A' * 43}=\n",
        f"{ORIGIN}\n7\n{'A' * 42}B=\n",
        f"{ORIGIN}\n7\nAAAA\n",
        f"{ORIGIN}\n7\n{'A' * 43}=\nan extension\n",
        f"\n7\n{'A' * 43}=\n",
        f"{ORIGIN}\n0\n{'A' * 43}=\n",
        f"{ORIGIN}\n99999999999999999999\n{'A' * 43}=\n",
        f"{ORIGIN}\n{2**63}\n{'A' * 43}=\n",
    ],
    ids=[
        "short",
        "leading zero",
        "negative",
        "slack bits",
        "short root",
        "extension",
        "no origin",
        "empty tree",
        "too large",
        "beyond 63 bits",
    ],
)
def test_text_that_is_not_exactly_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_checkpoint(SIGNER.sign(text))


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("log.example\n5", 7, b"r" * 32),
        Checkpoint("", 7, b"r" * 32),
        Checkpoint(ORIGIN, -1, b"r" * 32),
        Checkpoint(ORIGIN, 2**63, b"r" * 32),
        Checkpoint(ORIGIN, 7, b"short"),
    ],
)
def test_what_nobody_could_read_back_is_not_signed(checkpoint: Checkpoint) -> None:
    with pytest.raises(NoteError):
        sign_checkpoint(checkpoint, SIGNER)


def test_the_largest_tree_that_others_can_name_reads_back() -> None:
    largest = Checkpoint(ORIGIN, 2**63 - 1, b"r" * 32)
    assert verify_checkpoint(sign_checkpoint(largest, SIGNER), ORIGIN, LOG) == largest


@pytest.mark.parametrize("length", [1, 63, 65, 200])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    line = SignatureLine(LOG.name, LOG.key_id, bytes(length))
    with pytest.raises(NoteError) as caught:
        verify_note(Note(CHECKPOINT.text, (line,)), [LOG])
    assert caught.value.reason == "BAD_SIGNATURE"


def test_a_key_that_shares_name_or_id_but_not_both_is_unknown() -> None:
    for line in (
        SignatureLine("another.example", LOG.key_id, bytes(64)),
        SignatureLine(LOG.name, b"\0\0\0\0", bytes(64)),
    ):
        good = SIGNER.sign(CHECKPOINT.text)
        note = Note(good.text, (line, *good.signatures))
        assert verify_note(note, [LOG]) == (LOG,)


def test_the_empty_tree_has_the_empty_root() -> None:
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert parse_checkpoint(SIGNER.sign(empty.text)) == empty


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\nnot a signature\n",
        "text\n\n— name\n".encode(),
        "text\n\n— name AAAA\n".encode(),
        "text\n\n— name AAAAAAB=\n".encode(),
        "text\n\n— na+me AAAAAAA=\n".encode(),
        "text\n\n— name AAAAAAA=".encode(),
        "te\txt\n\n— name AAAAAAA=\n".encode(),
        b"\xff\n\n",
        b"x" * ((1 << 20) + 1),
        ("text\n\n" + "— name AAAAAAA=\n" * 129).encode(),
    ],
)
def test_bytes_that_are_no_note_are_refused(data: bytes) -> None:
    with pytest.raises(NoteError):
        parse_note(data)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpcAAAA",
        "PeterNeumann+c74f20a3+not base64",
    ],
)
def test_a_malformed_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(NoteError):
        Verifier.from_vkey(vkey)


def test_a_name_with_a_space_cannot_sign() -> None:
    with pytest.raises(NoteError):
        Signer("a name", SIGNER.private).sign("text\n")
    with pytest.raises(NoteError):
        SIGNER.sign("no newline")


def test_signature_lines_read_back() -> None:
    note = Note("text\n", (SignatureLine("a", b"idid", b"signature"),))
    assert parse_note(note.encode()) == note
