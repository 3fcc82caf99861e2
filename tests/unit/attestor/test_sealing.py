"""Agents that seal: what is said when, who can open it, and what survives a restart."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from attestor.chain import Chain, Life
from attestor.preview import Preview, describe_content, who_may_read
from attestor.sealer import Sealer
from attestor.sources.interface import Telemetry
from attestor.spool import Spool
from attestor.window import Span
from protos.stillwatch.statement.v1 import identity_pb2, inventory_pb2, summary_pb2
from statements.author import NOTHING, Author, Seen, Statement
from statements.body import decode_body
from statements.disclosure import DisclosureClass, Disclosures, Reader, verify_content_key
from statements.errors import SealError
from statements.header import Header, decode_header
from statements.kinds import PUBLIC, Kind, parse_content
from statements.sealing import DAY_MS, ContentKey, Place, ReadingKey, open_body, open_content_key
from statements.signing import SigningKey

KEY, READER = SigningKey.generate(), ReadingKey.generate()
TO = DisclosureClass("inspectors", 2, (Reader("aisi", READER.public),))
LIFE = Life(Telemetry.RECORDED, b"b" * 16)
SEEN = Seen()
DAY = 20_600
AT = DAY * DAY_MS


def chain(secret: bytes = b"s" * 32, key: SigningKey = KEY) -> Chain:
    numbers = count(1)
    made = Chain(
        key,
        origin="log",
        agreement=b"a" * 32,
        software="test",
        draw=lambda length: next(numbers).to_bytes(length, "big"),
        author=KEY.key_id,
        sealer=Sealer(TO, secret, KEY.key_id),
    )
    made.begin(NOTHING)
    return made


def window(text: str) -> summary_pb2.WorkloadSummary:
    return summary_pb2.WorkloadSummary(failed_sources=[text])


def spoken(said: list[tuple[Author, Statement]]) -> list[tuple[Header, Statement]]:
    return [(decode_header(one.header), one) for _, one in said]


def kinds(said: list[tuple[Author, Statement]]) -> list[Kind]:
    return [Kind(header.kind) for header, _ in spoken(said)]


def content_keys(said: list[tuple[Author, Statement]]) -> dict[int, ContentKey]:
    """Open what was disclosed, as its reader does."""
    found = {}
    for header, one in spoken(said):
        if header.kind != Kind.CONTENT_KEY:
            continue
        message = parse_content(Kind.CONTENT_KEY, decode_body(one.stored))
        assert isinstance(message, identity_pb2.ContentKey)
        verify_content_key(message, Disclosures((TO,)))
        found[message.day] = open_content_key(
            message.sealed[0].sealed,
            READER,
            author=header.author,
            day=message.day,
            disclosure=message.disclosure,
            commitment=message.commitment,
        )
    return found


def read(header: Header, one: Statement, key: ContentKey) -> list[str]:
    place = Place(header.author, header.epoch, header.sequence, header.body_digest)
    body = decode_body(open_body(one.stored, place, key))
    return list(summary_pb2.WorkloadSummary.FromString(body).failed_sources)


def test_content_keys_come_first_and_windows_alone_are_sealed() -> None:
    made = chain()
    made.say(inventory_pb2.Inventory(driver="550"), AT, AT)
    made.say(window("1"), AT, AT + 60_000)
    made.say(window("2"), AT + 60_000, AT + 120_000)
    said = made.sign(AT, SEEN, LIFE)
    assert kinds(said) == [
        Kind.OPENING,
        Kind.INVENTORY,
        *[Kind.CONTENT_KEY] * 2,
        *[Kind.SUMMARY] * 2,
    ]
    for header, _ in spoken(said):
        assert (header.disclosure == PUBLIC) == (header.kind != Kind.SUMMARY)
    keys = content_keys(said)
    assert [read(*one, keys[DAY]) for one in spoken(said)[-2:]] == [["1"], ["2"]]


def test_a_days_key_is_said_a_day_before_its_first_window() -> None:
    made = chain()
    made.say(window("1"), AT, AT + 60_000)
    first = made.sign(AT, SEEN, LIFE)
    made.keep()
    made.say(window("2"), AT + DAY_MS, AT + DAY_MS + 60_000)
    second = made.sign(AT + DAY_MS, SEEN, LIFE)
    assert sorted(content_keys(first)) == [DAY, DAY + 1]
    assert sorted(content_keys(second)) == [DAY + 2]
    assert read(*spoken(second)[-1], content_keys(first)[DAY + 1]) == ["2"]


def test_what_could_not_be_spooled_is_disclosed_again() -> None:
    made = chain()
    made.say(window("1"), AT, AT + 60_000)
    made.sign(AT, SEEN, LIFE)
    assert kinds(made.sign(AT, SEEN, LIFE)) == [
        Kind.OPENING,
        *[Kind.CONTENT_KEY] * 2,
        Kind.SUMMARY,
    ]


def test_an_epoch_that_cannot_go_on_is_sealed_anew_and_loses_nothing() -> None:
    made = chain()
    made.say(window("1"), AT, AT + 60_000)
    before = made.sign(AT, SEEN, LIFE)
    made.keep()
    made.reopen(NOTHING, [one for _, one in before])
    after = made.sign(AT, SEEN, LIFE)
    assert made.dropped == 0
    assert kinds(after) == kinds(before)
    assert read(*spoken(after)[-1], content_keys(after)[DAY]) == ["1"]
    assert after[-1][1].stored != before[-1][1].stored


def test_a_later_key_of_the_node_opens_what_the_spool_still_holds() -> None:
    made = chain()
    made.say(window("1"), AT, AT + 60_000)
    before = [one for _, one in made.sign(AT, SEEN, LIFE)]
    later = chain(key=SigningKey.generate())
    later.reopen(NOTHING, before)
    assert later.dropped == 0
    assert kinds(later.sign(AT, SEEN, LIFE))[-1] == Kind.SUMMARY


def test_what_another_spools_secret_sealed_is_counted_as_lost() -> None:
    made = chain()
    made.say(window("1"), AT, AT + 60_000)
    before = [one for _, one in made.sign(AT, SEEN, LIFE)]
    other = chain(secret=b"t" * 32)
    other.reopen(NOTHING, before)
    assert other.dropped == 1


def test_a_spool_keeps_its_secret_and_shows_it_to_nobody(tmp_path: Path) -> None:
    numbers = count(1)
    draw: Callable[[int], bytes] = lambda length: next(numbers).to_bytes(length, "big")  # noqa: E731
    spool = Spool(tmp_path / "spool")
    secret = spool.secret(draw)
    assert spool.secret(draw) == secret
    spool.close()
    again = Spool(tmp_path / "spool")
    assert again.secret(draw) == secret
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    again.close()


def test_a_preview_opens_what_is_sealed_and_says_who_may_read_it() -> None:
    made = chain()
    made.say(window("a source"), AT, AT + 60_000)
    said = tuple(one for _, one in made.sign(AT, SEEN, LIFE))
    preview = Preview("n", "recorded", Span(AT, AT + 60_000), said, made.sealer)
    shown = preview.as_json()
    assert "a source" in str(shown["summary"])
    told = [who_may_read(decode_header(one.header), made.sealer) for one in said]
    assert told[0] == "everyone: the body is public"
    assert told[-1].startswith("aisi, and nobody else")
    with pytest.raises(SealError):
        describe_content(said[-1], Sealer(TO, b"t" * 32, KEY.key_id))
