"""Sealed bodies and content keys: who can open them, and what is refused."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from statements.body import BODY_LIMIT, body_digest, encode_body
from statements.errors import KeyFileError, SealError
from statements.keys import write_signing_key
from statements.reading_keys import pinned_as, read_reading_key, write_reading_key
from statements.sealing import (
    OVERHEAD,
    ContentKey,
    Place,
    ReaderKey,
    ReadingKey,
    day_of,
    derive_content_key,
    open_body,
    open_content_key,
    seal_body,
    seal_content_key,
)
from statements.signing import SigningKey

AUTHOR = bytes(range(32))
EPOCH = b"e" * 16
KEY = ContentKey(AUTHOR, 20_600, 2, b"k" * 32)
READER = ReadingKey.generate()


def place_of(body: bytes, sequence: int = 7) -> Place:
    return Place(AUTHOR, EPOCH, sequence, body_digest(body))


def opened(
    sealed: bytes, key: ReadingKey = READER, as_if: ContentKey = KEY, committed: ContentKey = KEY
) -> ContentKey:
    return open_content_key(
        sealed,
        key,
        author=as_if.author,
        day=as_if.day,
        disclosure=as_if.disclosure,
        commitment=committed.commitment,
    )


@given(st.binary(max_size=300), st.integers(0, 2**64 - 1))
def test_what_was_sealed_opens_at_its_place(content: bytes, sequence: int) -> None:
    body = encode_body(content, b"s" * 16)
    place = place_of(body, sequence)
    sealed = seal_body(body, place, KEY)
    assert len(sealed) == len(body) + OVERHEAD
    assert open_body(sealed, place, KEY) == body


@given(st.binary(max_size=60), st.data())
def test_any_flipped_bit_is_refused(content: bytes, data: st.DataObject) -> None:
    body = encode_body(content, b"s" * 16)
    place = place_of(body)
    sealed = bytearray(seal_body(body, place, KEY))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealError) as refused:
        open_body(bytes(sealed), place, KEY)
    assert refused.value.reason == "DOES_NOT_OPEN"


@given(st.integers(0, 8 * 80 - 1))
def test_any_flipped_bit_of_a_sealed_content_key_is_refused(bit: int) -> None:
    sealed = bytearray(seal_content_key(KEY, READER.public))
    assert len(sealed) == 80
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealError) as refused:
        opened(bytes(sealed))
    assert refused.value.reason == "KEY_DOES_NOT_OPEN"


@pytest.mark.parametrize(
    "move",
    [
        lambda place: dataclasses.replace(place, author=bytes(32)),
        lambda place: dataclasses.replace(place, epoch=bytes(16)),
        lambda place: dataclasses.replace(place, sequence=8),
        lambda place: dataclasses.replace(place, body_digest=bytes(32)),
    ],
    ids=["author", "epoch", "sequence", "body_digest"],
)
def test_a_body_opens_at_no_other_place(move: Callable[[Place], Place]) -> None:
    body = encode_body(b"a window", b"s" * 16)
    place = place_of(body)
    sealed = seal_body(body, place, KEY)
    with pytest.raises(SealError) as refused:
        open_body(sealed, move(place), KEY)
    assert refused.value.reason == "DOES_NOT_OPEN"


def by_the_page(body: bytes, place: Place) -> bytes:
    """Seal as docs/protocol.md says, whatever the place names."""
    bound = b"stillwatch sealed body v1\n" + place.author + place.epoch
    bound += place.sequence.to_bytes(8, "big") + place.body_digest
    key = HKDF(hashes.SHA256(), 32, None, bound).derive(KEY.key)
    return AESGCM(key).encrypt(bytes(12), body, bound)


def test_bodies_are_sealed_as_the_page_says() -> None:
    body = encode_body(b"a window", b"s" * 16)
    assert by_the_page(body, place_of(body)) == seal_body(body, place_of(body), KEY)


def test_a_ciphertext_that_opens_to_another_body_than_its_header_names_is_refused() -> None:
    place = place_of(encode_body(b"what was promised", b"s" * 16))
    sealed = by_the_page(encode_body(b"what is there", b"s" * 16), place)
    with pytest.raises(SealError) as refused:
        open_body(sealed, place, KEY)
    assert refused.value.reason == "OTHER_BODY"


def test_a_body_opens_under_no_other_content_key() -> None:
    body = encode_body(b"a window", b"s" * 16)
    sealed = seal_body(body, place_of(body), KEY)
    with pytest.raises(SealError):
        open_body(sealed, place_of(body), dataclasses.replace(KEY, key=b"K" * 32))


def test_nothing_is_sealed_for_a_place_that_names_another_body() -> None:
    with pytest.raises(SealError) as refused:
        seal_body(encode_body(b"a", b"s" * 16), place_of(b"another"), KEY)
    assert refused.value.reason == "OTHER_BODY"


def test_no_keystream_meets_two_messages_where_a_place_is_used_again() -> None:
    """A restored snapshot says two things at one place and day; a repeated nonce would show their difference."""
    one, two = encode_body(bytes(100), b"s" * 16), encode_body(b"\xff" * 100, b"s" * 16)
    sealed = [seal_body(body, place_of(body), KEY) for body in (one, two)]
    apart = bytes(a ^ b for a, b in zip(*sealed, strict=True))
    plain = bytes(a ^ b for a, b in zip(one, two, strict=True))
    matching = sum(a == b for a, b in zip(apart, plain, strict=False))
    assert matching < 20  # of 122; a reused keystream matches in all
    assert seal_body(one, place_of(one), KEY) == sealed[0]


def test_a_body_that_would_exceed_the_limit_once_sealed_is_refused() -> None:
    body = bytes(BODY_LIMIT - OVERHEAD + 1)
    with pytest.raises(SealError) as refused:
        seal_body(body, place_of(body), KEY)
    assert refused.value.reason == "BODY_TOO_LARGE"


def test_a_content_key_opens_for_its_reader() -> None:
    assert opened(seal_content_key(KEY, READER.public)) == KEY


def test_a_content_key_opens_for_nobody_else() -> None:
    with pytest.raises(SealError) as refused:
        opened(seal_content_key(KEY, READER.public), ReadingKey.generate())
    assert refused.value.reason == "KEY_DOES_NOT_OPEN"


@pytest.mark.parametrize(
    "as_if",
    [
        dataclasses.replace(KEY, author=bytes(32)),
        dataclasses.replace(KEY, day=20_601),
        dataclasses.replace(KEY, disclosure=3),
    ],
    ids=["author", "day", "class"],
)
def test_a_content_key_is_one_authors_for_one_day_and_class(as_if: ContentKey) -> None:
    with pytest.raises(SealError):
        opened(seal_content_key(KEY, READER.public), as_if=as_if)


def test_a_content_key_other_than_the_one_committed_to_is_refused() -> None:
    class Liar(ContentKey):
        commitment = KEY.commitment

    with pytest.raises(SealError) as refused:
        opened(seal_content_key(Liar(AUTHOR, KEY.day, 2, b"x" * 32), READER.public))
    assert refused.value.reason == "OTHER_CONTENT_KEY"


@pytest.mark.parametrize("raw", [b"", bytes(32), b"\x01" + bytes(31), bytes(33)])
def test_a_reader_key_with_which_everybody_shares_a_secret_is_refused(raw: bytes) -> None:
    with pytest.raises(SealError) as refused:
        ReaderKey.from_raw(raw)
    assert refused.value.reason == "NOT_A_READER_KEY"


def test_days_classes_and_authors_have_content_keys_of_their_own() -> None:
    secret = b"x" * 32
    made = [
        derive_content_key(secret, author, day, disclosure).key
        for author in (AUTHOR, bytes(32))
        for day in (1, 2)
        for disclosure in (2, 3)
    ]
    assert len(set(made)) == len(made)
    assert derive_content_key(secret, AUTHOR, 1, 2).key == made[0]


def test_a_window_is_of_the_day_on_which_it_starts() -> None:
    assert day_of(86_399_999) == 0
    assert day_of(86_400_000) == 1


def test_a_reading_key_is_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "reader.key"
    write_reading_key(path, READER)
    assert path.stat().st_mode & 0o777 == 0o600
    found = read_reading_key(path)
    assert opened(seal_content_key(KEY, READER.public), found) == KEY
    assert pinned_as(found.public) == f"x25519:{READER.public.raw.hex()}"


def test_a_key_that_signs_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    write_signing_key(path, SigningKey.generate())
    with pytest.raises(KeyFileError) as refused:
        read_reading_key(path)
    assert refused.value.reason == "NOT_A_READING_KEY"
