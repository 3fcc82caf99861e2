"""Chains: every place once, openings where they belong, nothing lost when an epoch is given up."""

from collections.abc import Callable
from itertools import count

import pytest

from attestor.chain import MOST_PENDING, Chain, Life
from attestor.sources.interface import Telemetry
from attestor.spool import SpoolHead
from protos.stillwatch.statement.v1 import (
    header_pb2,
    identity_pb2,
    inventory_pb2,
    summary_pb2,
)
from statements.author import NOTHING, Author, Seen, Statement
from statements.header import Header, decode_header
from statements.kinds import Kind
from statements.signing import SigningKey, verify_signature

KEY = SigningKey.generate()
LIFE = Life(Telemetry.RECORDED, b"b" * 16)
SEEN = Seen(b"l" * 32, 5, b"r" * 32)


def draws() -> Callable[[int], bytes]:
    numbers = count(1)
    return lambda length: next(numbers).to_bytes(length, "big")


@pytest.fixture
def chain() -> Chain:
    return Chain(KEY, origin="log", agreement=b"a" * 32, software="test", draw=draws())


def window(text: str) -> summary_pb2.WorkloadSummary:
    return summary_pb2.WorkloadSummary(failed_sources=[text])


def message(text: str) -> inventory_pb2.Inventory:
    return inventory_pb2.Inventory(driver=text)


def headers(said: list[tuple[Author, Statement]]) -> list[Header]:
    return [decode_header(statement.header) for _, statement in said]


def said_by(statement: Statement) -> str:
    body = header_pb2.Body.FromString(statement.stored)
    return inventory_pb2.Inventory.FromString(body.content).driver


def test_nothing_is_signed_before_the_newest_logged_statement_is_known(chain: Chain) -> None:
    chain.say(message("1"), 0, 0)
    assert chain.waiting
    assert chain.sign(0, SEEN, LIFE) == []


def test_an_epoch_opens_and_its_statements_follow_one_another(chain: Chain) -> None:
    chain.begin(b"p" * 32)
    saying = chain.say(message("1"), 60, 120)
    chain.say(message("2"), 120, 180)
    said = chain.sign(1_000, SEEN, LIFE)
    first, second, third = headers(said)
    assert [h.kind for h in (first, second, third)] == [
        Kind.OPENING,
        Kind.INVENTORY,
        Kind.INVENTORY,
    ]
    assert [h.sequence for h in (first, second, third)] == [0, 1, 2]
    assert first.previous == b"p" * 32
    assert second.previous == said[0][1].id
    assert third.previous == said[1][1].id
    assert second.body_digest == saying.body_digest
    assert (third.start_ms, third.end_ms, third.seen_size) == (120, 180, 5)
    for _, statement in said:
        verify_signature(KEY.verifying_key(), statement.id, statement.signature)
    opening = identity_pb2.Opening.FromString(header_pb2.Body.FromString(said[0][1].stored).content)
    assert opening.telemetry == identity_pb2.TELEMETRY_RECORDED
    assert (opening.boot_id, list(opening.logs), opening.key) == (b"b" * 16, ["log"], KEY.spki)


def test_what_was_not_kept_was_never_said(chain: Chain) -> None:
    chain.begin(NOTHING)
    chain.say(message("1"), 0, 0)
    first = chain.sign(0, SEEN, LIFE)
    again = chain.sign(0, SEEN, LIFE)
    assert [h.sequence for h in headers(again)] == [0, 1]
    assert headers(first)[0].epoch != headers(again)[0].epoch
    chain.keep()
    assert chain.sign(0, SEEN, LIFE) == []
    chain.say(message("2"), 0, 0)
    (only,) = headers(chain.sign(0, SEEN, LIFE))
    assert (only.sequence, only.epoch) == (2, headers(again)[0].epoch)
    assert only.previous == again[1][1].id


def test_a_commit_that_reported_a_failure_but_happened_is_kept(chain: Chain) -> None:
    chain.begin(NOTHING)
    chain.say(message("1"), 0, 0)
    said = chain.sign(0, SEEN, LIFE)
    chain.settle(SpoolHead(bytes(16), 0, b"another" * 4))
    assert chain.pending == 1
    chain.settle(SpoolHead(bytes(16), 1, said[-1][1].id))
    assert chain.pending == 0


def test_a_new_boot_or_label_opens_a_new_epoch_after_the_last_statement(chain: Chain) -> None:
    chain.begin(NOTHING)
    chain.say(message("1"), 0, 0)
    before = chain.sign(0, SEEN, LIFE)
    chain.keep()
    chain.say(message("2"), 0, 0)
    after = chain.sign(0, SEEN, Life(Telemetry.RECORDED, b"c" * 16))
    assert [h.kind for h in headers(after)] == [Kind.OPENING, Kind.INVENTORY]
    assert headers(after)[0].previous == before[-1][1].id


def test_an_epoch_given_up_is_said_again_in_the_next(chain: Chain) -> None:
    chain.begin(NOTHING)
    for text in "123":
        chain.say(message(text), int(text), int(text))
    before = chain.sign(0, SEEN, LIFE)
    chain.keep()
    chain.say(message("4"), 4, 4)
    chain.reopen(b"q" * 32, [statement for _, statement in before[2:]])
    assert chain.forsakes
    after = chain.sign(9, SEEN, LIFE)
    assert headers(after)[0].previous == b"q" * 32
    assert [said_by(statement) for _, statement in after[1:]] == ["2", "3", "4"]
    assert headers(after)[1].body_digest == headers(before)[2].body_digest
    chain.keep()
    assert not chain.forsakes


def test_what_a_failing_disk_has_changed_is_counted_as_lost_and_the_rest_said_again(
    chain: Chain,
) -> None:
    chain.begin(NOTHING)
    for text in "1234":
        chain.say(message(text), int(text), int(text))
    _, first, second, third, fourth = [s for _, s in chain.sign(0, SEEN, LIFE)]
    chain.keep()
    damaged = [
        first,
        second._replace(stored=second.stored[:-1] + b"\xff"),
        third._replace(header=third.header[:-9] + bytes(9)),
        fourth._replace(stored=b""),
    ]
    chain.reopen(NOTHING, damaged)
    assert chain.dropped == 3
    said = chain.sign(9, SEEN, LIFE)
    assert [said_by(statement) for _, statement in said[1:]] == ["1"]


def test_when_nothing_can_be_spooled_the_oldest_window_is_dropped_and_counted(
    chain: Chain,
) -> None:
    chain.begin(NOTHING)
    chain.say(message("inventory"), 0, 0)
    for number in range(MOST_PENDING + 2):
        chain.say(window(str(number)), number, number)
    assert chain.dropped == 3
    assert chain.pending == MOST_PENDING
    said = chain.sign(0, SEEN, LIFE)
    assert said_by(said[1][1]) == "inventory"  # what is kept cites it
    body = header_pb2.Body.FromString(said[2][1].stored)
    assert summary_pb2.WorkloadSummary.FromString(body.content).failed_sources == ["3"]
