"""Following over real gRPC: each is told of the newest checkpoint, and nobody who follows holds the ledger up."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from ledger.following import Announcer
from ledger.limits import Limits
from protos.stillwatch.ledger.v1 import ledger_pb2 as pb
from tests.unit.ledger.cast import Cast
from tests.unit.ledger.rig import DEADLINE_S, Rig, faulted, reason_of

LIMITS = Limits(followers=3, answer_s=0.5)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(Cast(), tmp_path / "log", LIMITS)
    yield made
    made.close()


def follow(rig: Rig) -> "grpc._CallIterator[pb.FollowResponse]":
    return rig.stub.Follow(pb.FollowRequest(), timeout=DEADLINE_S)


def within(seconds: float, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def followers(rig: Rig) -> int:
    return rig.on_loop(lambda: rig.following._followers)


def test_a_follower_is_told_of_the_newest_checkpoint_and_of_each_after_it(rig: Rig) -> None:
    rig.append([rig.cast.party.open()])
    rig.publish()
    told = follow(rig)
    first = next(told).checkpoint
    assert first == rig.store.get("checkpoint")
    for _ in range(3):
        rig.append(rig.cast.party.summaries(2))
        rig.publish()
        assert next(told).checkpoint == rig.store.get("checkpoint")
    told.cancel()


def test_a_follower_of_a_log_that_published_nothing_waits_for_its_first_checkpoint(
    rig: Rig,
) -> None:
    told = follow(rig)
    within(5, lambda: followers(rig) == 1)
    rig.append([rig.cast.party.open()])
    rig.publish()
    assert next(told).checkpoint == rig.store.get("checkpoint")
    told.cancel()


def test_what_was_announced_before_is_not_told_again() -> None:
    async def play() -> list[bytes]:
        announcer = Announcer()
        announcer.announce(b"one")
        heard = [await announcer.after(None)]
        waiting = asyncio.create_task(announcer.after(b"one"))
        await asyncio.sleep(0)
        announcer.announce(b"one")
        await asyncio.sleep(0)
        assert not waiting.done()
        announcer.announce(b"two")
        announcer.announce(b"three")
        heard.append(await waiting)
        return heard

    assert asyncio.run(play()) == [b"one", b"three"], "a superseded one is left out"


def test_more_followers_than_there_is_room_for_are_refused_and_room_comes_back(rig: Rig) -> None:
    there = [follow(rig) for _ in range(LIMITS.followers)]
    within(5, lambda: followers(rig) == LIMITS.followers)
    with faulted(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
        next(follow(rig))
    for call in there:
        call.cancel()
    within(5, lambda: followers(rig) == 0)
    rig.on_loop(lambda: rig.announcer.announce(b"a note"))
    told = follow(rig)
    assert next(told).checkpoint == b"a note"
    told.cancel()


def test_a_follower_that_takes_nothing_is_let_go_with_a_reason_and_the_others_are_told(
    rig: Rig,
) -> None:
    """Notes of a megabyte fill what the transport takes on behalf of a reader that does not read."""
    options = [("grpc.http2.lookahead_bytes", 1 << 16), ("grpc.http2.bdp_probe", 0)]
    options += [("grpc.max_receive_message_length", 8 << 20)]
    with grpc.insecure_channel(f"127.0.0.1:{rig.port}", options=options) as channel:
        call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            "/stillwatch.ledger.v1.LedgerService/Follow"
        )
        idle = call(b"", timeout=DEADLINE_S)
        awake = follow(rig)
        within(5, lambda: followers(rig) == 2)
        heard: list[bytes] = []
        reader = threading.Thread(
            target=lambda: heard.extend(one.checkpoint[:1] for one in awake), daemon=True
        )
        threading.excepthook, kept = lambda _: None, threading.excepthook  # it ends by cancelling
        reader.start()
        for letter in b"abcdefgh":
            note = bytes([letter]) * (1 << 20)
            rig.on_loop(lambda note=note: rig.announcer.announce(note))  # type: ignore[misc]
            within(5, lambda letter=letter: bytes([letter]) in heard)  # type: ignore[misc]
        time.sleep(2 * LIMITS.answer_s)
        assert followers(rig) == 2, (
            "it keeps its place until its call is over: no more of its kind fit in"
        )
        with faulted(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_SLOW"):
            for _ in idle:
                pass
        within(5, lambda: followers(rig) == 1)
        awake.cancel()
        reader.join(5)
        threading.excepthook = kept


def test_draining_ends_every_stream_with_a_reason_and_takes_no_more(rig: Rig) -> None:
    rig.on_loop(lambda: rig.announcer.announce(b"a note"))
    there = [follow(rig) for _ in range(LIMITS.followers)]
    for call in there:
        next(call)
    rig.on_loop(rig.following.drain)
    for call in there:
        with pytest.raises(grpc.RpcError) as ended:
            next(call)
        assert reason_of(ended.value) == "DRAINING"
    with faulted(grpc.StatusCode.UNAVAILABLE, "DRAINING"):
        next(follow(rig))


def test_a_request_that_does_not_parse_gets_a_reason(rig: Rig) -> None:
    call: grpc.UnaryStreamMultiCallable[bytes, bytes] = rig.channel.unary_stream(
        "/stillwatch.ledger.v1.LedgerService/Follow"
    )
    with faulted(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"):
        next(call(b"\xff", timeout=DEADLINE_S))
