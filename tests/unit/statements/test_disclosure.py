"""Who may read what: as agreements say, and as content keys are sealed."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from protos.stillwatch.statement.v1 import identity_pb2
from statements.disclosure import (
    Disclosures,
    disclose,
    read_disclosures,
    verify_content_key,
)
from statements.errors import BodyError, PinsError
from statements.kinds import PUBLIC, Kind
from statements.pins import read_pins
from statements.reading_keys import pinned_as
from statements.sealing import ContentKey, ReadingKey, open_content_key

ROOT = Path(__file__).parents[3]
AISI, PEER = ReadingKey.generate(), ReadingKey.generate()
TEXT = f"""
[disclosure]
summaries = "inspectors"

[[disclosure.classes]]
id = "peers"
readers = [{{ id = "borealis", key = "{pinned_as(PEER.public)}" }}]

[[disclosure.classes]]
id = "inspectors"
readers = [
  {{ id = "aisi", key = "{pinned_as(AISI.public)}" }},
  {{ id = "borealis", key = "{pinned_as(PEER.public)}" }},
]
"""
KEY = ContentKey(b"a" * 32, 20_600, 3, b"k" * 32)


def read(text: str = TEXT) -> Disclosures:
    return read_disclosures(tomllib.loads(text))


def content_key() -> identity_pb2.ContentKey:
    to = read().numbered(3)
    assert to is not None
    return disclose(KEY, to)


def test_without_a_table_everything_is_public() -> None:
    found = read("")
    assert not found.classes
    assert found.allows(Kind.SUMMARY, PUBLIC)
    assert not found.allows(Kind.SUMMARY, PUBLIC + 1)


def test_an_agreement_of_before_reads_as_public_throughout() -> None:
    text = (ROOT / "policies/agreements/frontier-pause.toml").read_bytes()
    assert read_pins(text).disclosures == Disclosures()


def test_a_kind_is_public_or_sealed_to_its_own_class() -> None:
    found = read()
    assert found.of_kind[Kind.SUMMARY].id == "inspectors"
    allowed = [number for number in range(6) if found.allows(Kind.SUMMARY, number)]
    assert allowed == [PUBLIC, 3]
    for kind in set(Kind) - {Kind.SUMMARY}:
        assert [number for number in range(6) if found.allows(kind, number)] == [PUBLIC]


def test_classes_are_numbered_in_order_from_two() -> None:
    found = read()
    assert [found.numbered(number) for number in (0, 1, 2, 3, 4)] == [
        None,
        None,
        *found.classes,
        None,
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('summaries = "inspectors"', 'summaries = "strangers"', "UNKNOWN_NAME"),
        ('id = "peers"', 'id = "inspectors"', "DUPLICATE_ID"),
        ('id = "peers"', 'id = "public"', "DUPLICATE_ID"),
        ('id = "aisi"', 'id = "borealis"', "DUPLICATE_ID"),
        (pinned_as(AISI.public), pinned_as(PEER.public), "KEY_PINNED_TWICE"),
        (pinned_as(AISI.public), "x25519:" + 64 * "0", "BAD_READER_KEY"),
        (pinned_as(AISI.public), "sha256:" + 64 * "1", "BAD_READER_KEY"),
        ("[disclosure]", "[other]", "UNKNOWN_NAME"),
    ],
)
def test_a_disclosure_that_does_not_hold_together_is_refused(
    old: str, new: str, reason: str
) -> None:
    text = TEXT.replace(old, new)
    if old == "[disclosure]":
        text = '[disclosure]\nsummaries = "inspectors"\n'
    with pytest.raises(PinsError) as refused:
        read(text)
    assert refused.value.reason == reason


@pytest.mark.parametrize("reader", [AISI, PEER])
def test_each_reader_of_the_class_opens_what_is_disclosed_to_it(reader: ReadingKey) -> None:
    message = content_key()
    verify_content_key(message, read())
    (sealed,) = (one.sealed for one in message.sealed if one.reader == reader.public.key_id)
    assert (
        open_content_key(
            sealed,
            reader,
            author=KEY.author,
            day=KEY.day,
            disclosure=3,
            commitment=message.commitment,
        )
        == KEY
    )


def _without_day(message: identity_pb2.ContentKey) -> None:
    message.ClearField("day")


def _of_no_class(message: identity_pb2.ContentKey) -> None:
    message.disclosure = 4


def _public(message: identity_pb2.ContentKey) -> None:
    message.disclosure = 1


def _of_another_class(message: identity_pb2.ContentKey) -> None:
    message.disclosure = 2


def _lacking_a_reader(message: identity_pb2.ContentKey) -> None:
    del message.sealed[0]


def _with_a_reader_twice(message: identity_pb2.ContentKey) -> None:
    message.sealed.append(message.sealed[0])


def _without_commitment(message: identity_pb2.ContentKey) -> None:
    message.commitment = b""


@pytest.mark.parametrize(
    "spoil",
    [
        _without_day,
        _of_no_class,
        _public,
        _of_another_class,
        _lacking_a_reader,
        _with_a_reader_twice,
        _without_commitment,
    ],
)
def test_a_content_key_for_others_than_the_class_is_refused(
    spoil: Callable[[identity_pb2.ContentKey], None],
) -> None:
    message = content_key()
    spoil(message)
    with pytest.raises(BodyError) as refused:
        verify_content_key(message, read())
    assert refused.value.reason == "MALFORMED_BODY"
