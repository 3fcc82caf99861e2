"""Screening in processes: the same answers as in threads, keys that are learned, and deaths."""

import asyncio
import gc
import os
import re
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ledger.errors import ProcessError
from ledger.keyring import Keyring
from ledger.processes.frames import frame
from ledger.processes.nursery import Nursery
from ledger.processes.parent import Parent
from ledger.refusal import Refusal
from ledger.screeners import worker
from ledger.screeners.interface import Request, Screener
from ledger.screeners.processes import ScreeningProcesses
from ledger.screeners.questions import (
    Answer,
    Question,
    decode_answer,
    decode_question,
    encode_answer,
    encode_question,
)
from ledger.screeners.threads import ScreeningThreads
from ledger.screening import Hashed, Screenable, Screened
from protos.stillwatch.statement.v1 import governance_pb2
from statements.author import Statement
from statements.verification import registry
from tests.unit.ledger.cast import Cast, request

COUNT = 2


def sent(*said: Statement) -> Request:
    message = request(*said)
    return Request(message, message.ByteSize())


def play(
    cast: Cast, scene: Callable[[ScreeningProcesses], Awaitable[None]], count: int = COUNT
) -> Keyring:
    """Run a scene with screening processes; return the ledger's keys."""
    keyring = cast.keyring()

    async def run() -> None:
        with Nursery() as nursery:
            screener = ScreeningProcesses(nursery, keyring, cast.text, count)
            await screener.start()
            try:
                await scene(screener)
            finally:
                await screener.close()

    asyncio.run(asyncio.wait_for(run(), 60))
    return keyring


def in_threads(keyring: Keyring, *requests: Request) -> list[list[Screened | Refusal]]:
    async def run() -> list[list[Screened | Refusal]]:
        screener: Screener = ScreeningThreads(keyring)
        await screener.start()
        try:
            return [await screener.screen(one) for one in requests]
        finally:
            await screener.close()

    return asyncio.run(run())


def mixed(cast: Cast) -> list[Request]:
    """Return batches of good and bad: openings, enrolments and what the enrolled say, strangers, broken bytes."""
    enrolling, (node,) = cast.enrolled()
    opening, summaries = node.open(), node.summaries(5)
    accession = cast.party.say(governance_pb2.Accession(agreement=cast.pins.digest))
    stranger = cast.person()
    broken = summaries[1]._replace(signature=bytes(64))
    torn = summaries[2]._replace(header=summaries[2].header[:-1])
    swapped = summaries[3]._replace(stored=b"another body")
    return [
        sent(*enrolling, opening, summaries[0]),
        sent(broken, torn, swapped, accession, stranger.open(), *summaries[1:]),
        sent(cast.party.summary(), summaries[4]),
    ]


def test_processes_answer_as_threads_do(cast: Cast) -> None:
    requests = mixed(cast)
    expected = in_threads(cast.keyring(), *requests)
    assert any(isinstance(one, Refusal) for one in expected[1])
    assert any(isinstance(one, Screened) for one in expected[1])

    async def scene(screener: ScreeningProcesses) -> None:
        # One process may screen the batch that shows a key, the other the next that is signed by it.
        for one, answer in zip(requests, expected, strict=True):
            assert await screener.screen(one) == answer

    play(cast, scene)


def test_a_key_that_an_opening_shows_is_the_ledgers_from_then_on(cast: Cast) -> None:
    async def scene(screener: ScreeningProcesses) -> None:
        await screener.screen(sent(cast.party.open()))

    keyring = play(cast, scene)
    assert keyring.known(cast.party_key.key_id) == cast.party_key.verifying_key()


def test_a_process_that_dies_is_replaced_and_its_requests_are_asked_again(cast: Cast) -> None:
    async def scene(screener: ScreeningProcesses) -> None:
        assert isinstance((await screener.screen(sent(cast.party.open())))[0], Screened)
        for process in list(screener._running):
            os.kill(process.child.pid, signal.SIGKILL)
        said = [sent(cast.party.summary()) for _ in range(6)]
        for answer in await asyncio.gather(*map(screener.screen, said)):
            assert isinstance(answer[0], Screened), answer
        assert len(screener._running) == COUNT

    play(cast, scene)


def test_processes_end_with_the_ledger_however_it_ends(cast: Cast) -> None:
    pids: list[int] = []

    async def scene(screener: ScreeningProcesses) -> None:
        pids.extend(process.child.pid for process in screener._running)

    play(cast, scene)
    assert len(pids) == COUNT
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_screening_process_can_open_nothing(cast: Cast) -> None:
    async def scene(screener: ScreeningProcesses) -> None:
        await screener.screen(sent(cast.party.open()))
        for process in screener._running:
            limits = Path(f"/proc/{process.child.pid}/limits").read_text()
            for what in ("Max open files", "Max file size", "Max core file size"):
                assert re.search(rf"^{what} +0 +0 ", limits, re.MULTILINE), limits

    play(cast, scene, count=1)


def test_what_verifies_signatures_is_loaded_before_a_process_can_open_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.chosen.cache_clear()
    loaded: list[int] = []
    monkeypatch.setattr(
        worker, "confine", lambda: loaded.append(registry.chosen.cache_info().currsize)
    )
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda _: None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(frame(cast.text))
        ours.shutdown(socket.SHUT_WR)
        worker.work(Parent(theirs))
    assert loaded == [1]


@pytest.mark.parametrize("unasked", ["frame(b'unasked')", "LENGTH.pack(2**32 - 1)"])
def test_a_process_that_says_what_was_not_asked_counts_as_dead(
    unasked: str, tmp_path: Path
) -> None:
    (tmp_path / "babbler.py").write_text(
        "import socket, time\n"
        "from ledger.processes.frames import LENGTH, frame, receive\n"
        "def main(descriptor):\n"
        "    with socket.socket(fileno=descriptor) as connection:\n"
        f"        receive(connection); connection.sendall(frame(b'answer') + {unasked})\n"
        "        receive(connection)\n"
    )

    async def run() -> None:
        with Nursery("babbler") as nursery:
            child = await nursery.start("babbler")
            assert await child.ask(b"question") == b"answer"
            while not child.is_dead:
                await asyncio.sleep(0.01)
            with pytest.raises(ProcessError) as died:
                await child.ask(b"again")
            assert died.value.reason == "PROCESS_DIED"
            await child.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        asyncio.run(asyncio.wait_for(run(), 30))


def test_questions_and_answers_survive_their_encoding() -> None:
    statements: list[Screenable] = [
        (b"header", b"signature", None),
        (b"", b"s", b""),
        (b"header", b"", b"a body"),
        (b"h", b"s", Hashed(2**20, b"d" * 32)),
        (b"another header", b"signature", None),
    ]
    question = Question([(bytes(32), b""), (b"k" * 32, b"spki")], statements)
    assert decode_question(encode_question(question)) == question
    refusal = Refusal("GAP", "words, with ünicode", 7)
    answer = Answer([b"i" * 32, bytes(32)], {1: refusal}, [b"spki"])
    assert decode_answer(encode_answer(answer), 2) == answer


@pytest.mark.parametrize("data", [b"", b"\0\0\0\2{}", b"\0\0\0\1?", b"\0\0\xff\xff{}"])
def test_nonsense_is_no_answer(data: bytes) -> None:
    with pytest.raises(ProcessError) as refused:
        decode_answer(data, 1)
    assert refused.value.reason == "PROCESS_CONFUSED"
