"""The whole agent in one process, against a ledger in memory, on a scaled clock."""

import importlib.metadata
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from attestor.agent import SOFTWARE, Agent, Outcome
from attestor.config import AgentConfig, NodeConfig
from attestor.errors import AttestorError, SpoolError
from attestor.sampler import NodeSampler
from attestor.sources.interface import Source
from attestor.sources.replay import ReplaySource
from attestor.spool import Spool, Spooled
from attestor.uplink import Uplink
from protos.stillwatch.statement.v1 import identity_pb2, summary_pb2
from statements.author import Author, Statement
from statements.body import decode_body
from statements.clock import ScaledClock
from statements.errors import SubmissionError
from statements.header import Header, decode_header
from statements.kinds import Kind
from statements.ledger_client import Receipt, Refusal
from statements.pins import Pins
from statements.record import decode_record
from statements.signing import SigningKey
from tests.unit.attestor.fake_ledger import PIN, FakeLedger
from tests.unit.attestor.late_clock import AT, RATE, LateClock
from tests.unit.statements.conftest import no_room

WINDOW = 60_000
Run = Callable[..., Outcome]


clock = LateClock


def config(folder: Path, openers: dict[str, Callable[[], Source]]) -> AgentConfig:
    pins = Pins(
        digest=b"a" * 32,
        agreement_id="test",
        by_key={},
        ledgers=(PIN,),
        witness_policy="quorum none\n",
        window_ms=WINDOW,
        late_grace_ms=600_000,
        tick_ms=WINDOW,
    )
    nodes = tuple(
        NodeConfig(
            name,
            SigningKey.generate(),
            folder / f"{name}.key",
            folder / "spool",
            (("replay", opener),),
        )
        for name, opener in openers.items()
    )
    return AgentConfig("nowhere", pins, PIN, nodes, 0.5, 3.0, 0.05)


def headers(ledger: FakeLedger, author: bytes) -> list[Header]:
    found = [decode_header(decode_record(record).header) for record in ledger.records]
    return [header for header in found if header.author == author]


@pytest.fixture
def replay(record: Callable[..., Path]) -> Callable[[], Source]:
    path = record(chips=2, seconds=180)
    return lambda: ReplaySource(path, at_ms=AT)


def test_every_window_is_attested_once_and_in_order(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = config(tmp_path, {"n1": replay, "n2": replay})
    ledger = FakeLedger()
    outcome = Agent(settings, ledger, clock()).run(AT + 4 * WINDOW)
    assert outcome == Outcome(windows=8, acknowledged=12, unlogged=0)
    for node in settings.nodes:
        said = headers(ledger, node.key.key_id)
        assert [h.kind for h in said] == [Kind.OPENING, Kind.INVENTORY] + [Kind.SUMMARY] * 4
        assert [h.sequence for h in said] == list(range(6))
        assert [h.start_ms for h in said[2:]] == [AT + k * WINDOW for k in range(4)]
    assert {h.seen_size for h in headers(ledger, settings.nodes[0].key.key_id)} != {0}


def test_a_recordings_end_is_silence_and_not_a_loop(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = config(tmp_path, {"n1": replay})
    ledger, bodies = FakeLedger(), dict[int, bytes]()
    append = ledger.append

    def keep(statements):  # type: ignore[no-untyped-def] # as append
        for statement in statements:
            header = decode_header(statement.header)
            if header.kind == Kind.SUMMARY:
                bodies[header.start_ms] = decode_body(statement.stored)
        return append(statements)

    ledger.append = keep  # type: ignore[method-assign] # listens in
    Agent(settings, ledger, clock()).run(AT + 5 * WINDOW)
    summaries = [summary_pb2.WorkloadSummary.FromString(bodies[at]) for at in sorted(bodies)]
    assert [summary.samples_taken for summary in summaries] == [180, 180, 180, 3, 0]
    assert [summary.largest_gap_ms for summary in summaries] == [
        1_000,
        1_000,
        1_000,
        WINDOW,
        WINDOW,
    ]
    assert summaries[4].energy_end_at[0] == AT + 180_000


def test_an_outage_of_the_ledger_costs_nothing(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = config(tmp_path, {"n1": replay})
    ledger = FakeLedger()
    agent = Agent(settings, ledger, clock())
    threading.Timer(0.12, lambda: setattr(ledger, "down", True)).start()
    threading.Timer(0.3, lambda: setattr(ledger, "down", False)).start()
    outcome = agent.run(AT + 4 * WINDOW)
    assert outcome.unlogged == 0
    assert [h.sequence for h in headers(ledger, settings.nodes[0].key.key_id)] == list(range(6))


def test_a_restart_opens_a_new_epoch_after_the_newest_statement(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = config(tmp_path, {"n1": replay})
    ledger = FakeLedger()
    Agent(settings, ledger, clock()).run(AT + WINDOW)
    (tmp_path / "spool").unlink()
    Agent(settings, ledger, clock(AT + 2 * WINDOW - 1_000)).run(AT + 3 * WINDOW)
    said = headers(ledger, settings.nodes[0].key.key_id)
    openings = [h for h in said if h.kind == Kind.OPENING]
    assert len({h.epoch for h in openings}) == 2
    assert openings[0].previous == bytes(32)
    assert openings[1].previous == ledger.heads[said[0].author, said[0].epoch][1]


def test_an_epoch_that_cannot_go_on_is_restated_in_a_new_one(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = config(tmp_path, {"n1": replay})
    author = settings.nodes[0].key.key_id
    ledger = FakeLedger(refuse={author: "WRONG_PREVIOUS"})
    agent = Agent(settings, ledger, clock())
    threading.Timer(0.25, ledger.refuse.clear).start()
    outcome = agent.run(AT + 4 * WINDOW)
    assert outcome.unlogged == 0
    said = headers(ledger, author)
    assert len({h.epoch for h in said}) == 1
    starts = [h.start_ms for h in said if h.kind == Kind.SUMMARY]
    assert starts == [AT + k * WINDOW for k in range(4)]


def test_a_full_disk_keeps_windows_in_memory_until_there_is_room(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = config(tmp_path, {"n1": replay})
    ledger = FakeLedger()
    agent = Agent(settings, ledger, clock())
    full = ExitStack()
    threading.Timer(0.12, lambda: full.enter_context(no_room(1))).start()
    threading.Timer(0.32, full.close).start()
    with full, capture_logs() as told:
        outcome = agent.run(AT + 4 * WINDOW)
    assert "SPOOL_FAILED" in {line.get("reason") for line in told}
    assert outcome == Outcome(windows=4, acknowledged=6, unlogged=0)
    said = headers(ledger, settings.nodes[0].key.key_id)
    assert [h.sequence for h in said] == list(range(6))


def test_being_told_to_stop_drains_what_is_spooled(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = config(tmp_path, {"n1": replay})
    ledger = FakeLedger()
    agent = Agent(settings, ledger, clock())
    threading.Timer(0.3, agent.stop).start()
    outcome = agent.run()
    assert outcome.windows >= 1
    assert outcome.unlogged == 0
    assert len(headers(ledger, settings.nodes[0].key.key_id)) == outcome.windows + 2


def test_a_window_that_is_over_is_closed_though_nobody_looks(
    tmp_path: Path, replay: Callable[[], Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking costs wake-ups: the poller tells when there is something to do, and so does whoever stops the agent."""
    monkeypatch.setattr("attestor.agent._LOOK_S", 3600.0)
    agent = Agent(config(tmp_path, {"n1": replay}), FakeLedger(), clock())
    threading.Timer(1.0, agent.stop).start()
    outcome = agent.run()
    assert outcome.windows >= 3
    assert (outcome.unlogged, outcome.lost) == (0, 0)


def test_a_source_that_hangs_costs_its_own_readings_alone_and_never_a_window(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    released = threading.Event()

    def hang() -> Source:
        released.wait()
        return replay()

    settings = config(tmp_path, {"n1": hang, "n2": replay})
    ledger, summaries = FakeLedger(), dict[bytes, list[summary_pb2.WorkloadSummary]]()
    append = ledger.append

    def keep(statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        for statement in statements:
            header = decode_header(statement.header)
            if header.kind == Kind.SUMMARY:
                summary = summary_pb2.WorkloadSummary.FromString(decode_body(statement.stored))
                summaries.setdefault(header.author, []).append(summary)
        return append(statements)

    ledger.append = keep  # type: ignore[method-assign] # listens in
    running = ScaledClock(time.time_ns() // 1_000_000, AT - WINDOW, RATE)
    try:
        outcome = Agent(settings, ledger, running).run(AT + 2 * WINDOW)
    finally:
        released.set()
    assert outcome == Outcome(windows=4, acknowledged=8, unlogged=0)
    hung, well = (summaries[node.key.key_id] for node in settings.nodes)
    assert [list(summary.failed_sources) for summary in hung] == [["replay"]] * 2
    assert [summary.samples_taken for summary in well] == [180, 180]
    assert [list(summary.failed_sources) for summary in well] == [[], []]


def test_a_first_start_without_its_ledger_waits_and_loses_nothing(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = config(tmp_path, {"n1": replay})
    ledger = FakeLedger(down=True)
    threading.Timer(0.35, lambda: setattr(ledger, "down", False)).start()
    outcome = Agent(settings, ledger, clock()).run(AT + 4 * WINDOW)
    assert outcome == Outcome(windows=4, acknowledged=6, unlogged=0)
    said = headers(ledger, settings.nodes[0].key.key_id)
    assert [h.start_ms for h in said if h.kind == Kind.SUMMARY] == [
        AT + k * WINDOW for k in range(4)
    ]


def test_windows_that_never_reached_a_spool_are_told_as_lost(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = replace(config(tmp_path, {"n1": replay}), drain_s=0.2)
    outcome = Agent(settings, FakeLedger(down=True), clock()).run(AT + 2 * WINDOW)
    assert outcome == Outcome(windows=2, acknowledged=0, unlogged=0, lost=3)


def test_nodes_are_told_apart_by_their_keys_and_not_by_their_names(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = config(tmp_path, {"n1": replay, "n2": replay})
    settings = replace(settings, nodes=tuple(replace(n, name="same") for n in settings.nodes))
    ledger = FakeLedger()
    assert Agent(settings, ledger, clock()).run(AT + 2 * WINDOW).unlogged == 0
    for node in settings.nodes:
        assert [h.sequence for h in headers(ledger, node.key.key_id)] == [0, 1, 2, 3]


class LeapingClock:
    """Leaps ahead when it is first slept on, as when a machine wakes up after a day."""

    def __init__(self, leap_ms: int, at_ms: int = AT) -> None:
        self._leap_ms = leap_ms
        self._at_ms = at_ms

    def now_ms(self) -> int:
        return self._at_ms

    def sleep(self, seconds: float) -> None:
        time.sleep(0.001)
        self._at_ms += max(self._leap_ms, round(seconds * 1000))
        self._leap_ms = 0


def test_a_machine_that_slept_says_every_window_of_it_however_many(
    tmp_path: Path, record: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record(chips=1, seconds=30)
    settings = config(tmp_path, {"n1": lambda: ReplaySource(path, at_ms=AT)})
    monkeypatch.setattr("attestor.chain.MOST_PENDING", 100)
    windows, ledger = 200, FakeLedger()
    outcome = Agent(settings, ledger, LeapingClock(windows * WINDOW)).run(AT + windows * WINDOW)
    assert outcome == Outcome(windows=windows, acknowledged=windows + 2, unlogged=0)


def test_a_machine_that_starts_in_1970_and_is_told_the_time_goes_on_from_there(
    tmp_path: Path, record: Callable[..., Path]
) -> None:
    path = record(chips=1, seconds=300)
    settings = config(tmp_path, {"n1": lambda: ReplaySource(path, at_ms=AT)})
    ledger = FakeLedger()
    clock = LeapingClock(AT - WINDOW, at_ms=WINDOW)
    assert Agent(settings, ledger, clock).run(AT + 3 * WINDOW).unlogged == 0
    said = [h for h in headers(ledger, settings.nodes[0].key.key_id) if h.kind == Kind.SUMMARY]
    assert {AT + WINDOW, AT + 2 * WINDOW} <= {header.start_ms for header in said}
    assert len(said) < 100


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("broken", [(Uplink, "round", "uplink"), (NodeSampler, "ask", "poller")])
def test_a_thread_that_dies_ends_the_agent_with_a_reason_and_what_was_said_is_spooled(
    tmp_path: Path,
    replay: Callable[[], Source],
    monkeypatch: pytest.MonkeyPatch,
    broken: tuple[type, str, str],
) -> None:
    owner, method, name = broken
    settings = replace(config(tmp_path, {"n1": replay}), drain_s=0.2)
    works, calls = getattr(owner, method), list[int]()

    def breaks(*arguments: object) -> object:
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("a defect")
        return works(*arguments)

    monkeypatch.setattr(owner, method, breaks)
    agent = Agent(settings, FakeLedger(), clock())
    with pytest.raises(AttestorError, match=name) as caught:
        agent.run()
    assert caught.value.reason == "THREAD_DIED"
    assert agent.nodes[0].chain.pending == 0


def test_a_spool_that_fails_while_an_epoch_is_given_up_is_asked_again(
    tmp_path: Path, replay: Callable[[], Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(tmp_path, {"n1": replay})
    author = settings.nodes[0].key.key_id
    ledger = FakeLedger(refuse={author: "WRONG_PREVIOUS"})
    unlogged, failed = Spool.unlogged, list[int]()

    def fail_once(self: Spool, who: bytes, limit: int) -> list[Spooled]:
        if limit == 1_000_000 and not failed:
            failed.append(1)
            raise SpoolError("SPOOL_FAILED", "the disk does not answer")
        return unlogged(self, who, limit)

    monkeypatch.setattr(Spool, "unlogged", fail_once)
    threading.Timer(0.25, ledger.refuse.clear).start()
    assert Agent(settings, ledger, clock()).run(AT + 4 * WINDOW).unlogged == 0
    assert failed
    starts = [h.start_ms for h in headers(ledger, author) if h.kind == Kind.SUMMARY]
    assert starts == [AT + k * WINDOW for k in range(4)]


def test_an_agent_names_the_version_that_is_installed() -> None:
    assert f"stillwatch-agent {importlib.metadata.version('stillwatch')}" == SOFTWARE


def test_an_agent_tells_how_far_it_is(
    tmp_path: Path, replay: Callable[[], Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attestor.agent._TELL_EVERY_S", 0.05)
    settings = config(tmp_path, {"n1": replay})
    with capture_logs() as told:
        Agent(settings, FakeLedger(), clock()).run(AT + 4 * WINDOW)
    (first,) = (line for line in told if line["event"] == "attesting")
    assert (first["nodes"], first["window_s"]) == (["n1"], 60.0)
    progress = [line for line in told if line["event"] == "progress"]
    assert len(progress) >= 3
    assert progress[-1]["windows"] >= progress[0]["windows"]
    assert progress[-1]["acknowledged"] > 0


def test_a_spool_that_cannot_be_counted_is_not_said_to_be_empty(
    tmp_path: Path, replay: Callable[[], Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(config(tmp_path, {"n1": replay}), drain_s=0.2)

    def broken(_spool: Spool) -> tuple[int, int]:
        raise SpoolError("SPOOL_FAILED", "the disk does not answer")

    monkeypatch.setattr(Spool, "count", broken)
    assert Agent(settings, FakeLedger(), clock()).run(AT + WINDOW).unlogged > 0


def test_a_ledger_that_hides_what_it_acknowledged_does_not_rewrite_the_chain(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = config(tmp_path, {"n1": replay})
    author, ledger = settings.nodes[0].key.key_id, FakeLedger()
    Agent(settings, ledger, clock()).run(AT + WINDOW)
    (key,) = ledger.heads
    newest = ledger.heads[key][1]
    whole = dict(ledger.heads)
    for shown in ({}, {key: (0, b"f" * 32)}, {(author, b"f" * 16): (9, b"f" * 32)}):
        ledger.heads = shown
        agent = Agent(settings, ledger, clock(AT + 2 * WINDOW))
        with capture_logs() as told:
            assert agent._previous(agent.nodes[0]) == newest
        assert [line["reason"] for line in told] == ["LOG_SHRANK"]
    ledger.heads = whole
    agent = Agent(settings, ledger, clock(AT + 2 * WINDOW))
    assert agent._previous(agent.nodes[0]) == newest
    assert author == key[0]


def test_what_the_key_before_left_unlogged_is_said_again_under_the_new_key(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    settings = config(tmp_path, {"n1": replay})
    author = settings.nodes[0].key.key_id
    ledger = FakeLedger(refuse={author: "BUSY"})
    Agent(replace(settings, drain_s=0.2), ledger, clock()).run(AT + 2 * WINDOW)
    assert ledger.records == []
    ledger.refuse.clear()
    new = SigningKey.generate()
    node = replace(settings.nodes[0], key=new, author=author)
    outcome = Agent(replace(settings, nodes=(node,)), ledger, clock(AT + 3 * WINDOW - 1_000)).run(
        AT + 4 * WINDOW
    )
    assert outcome.unlogged == 0
    said = headers(ledger, author)
    assert {header.key_id for header in said} == {new.key_id}
    assert len({header.epoch for header in said}) == 1
    assert [header.start_ms for header in said if header.kind == Kind.SUMMARY] == [
        AT,
        AT + WINDOW,
        AT + 3 * WINDOW,
    ]


def test_what_the_ledger_has_of_the_key_before_is_not_said_again(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    """The acknowledgement was lost, and the key changed before it could be given again."""
    settings = config(tmp_path, {"n1": replay})
    author = settings.nodes[0].key.key_id
    ledger = FakeLedger()
    append = ledger.append

    def deaf(said):  # type: ignore[no-untyped-def] # as append
        append(said)
        raise SubmissionError("UNAVAILABLE", "the answer was lost")

    ledger.append = deaf  # type: ignore[method-assign] # loses answers
    Agent(replace(settings, drain_s=0.2), ledger, clock()).run(AT + 2 * WINDOW)
    ledger.append = append  # type: ignore[method-assign] # as it was
    logged = len(ledger.records)
    assert logged
    node = replace(settings.nodes[0], key=SigningKey.generate(), author=author)
    Agent(replace(settings, nodes=(node,)), ledger, clock(AT + 3 * WINDOW - 1_000)).run(
        AT + 4 * WINDOW
    )
    starts = [h.start_ms for h in headers(ledger, author) if h.kind == Kind.SUMMARY]
    assert sorted(set(starts)) == starts
    newest = headers(ledger, author)[logged]
    assert newest.kind == Kind.OPENING
    assert newest.previous == ledger.heads[author, headers(ledger, author)[0].epoch][1]


def test_a_node_whose_key_somebody_else_speaks_with_says_nothing_more_in_an_epoch_that_was_followed(
    tmp_path: Path, replay: Callable[[], Source]
) -> None:
    """Its statements would prove that its key contradicts itself: none of them may have seen the other's opening."""
    settings = config(tmp_path, {"n1": replay})
    key, ledger = settings.nodes[0].key, FakeLedger()
    append = ledger.append
    opened: list[int] = []

    def cloned(statements: Sequence[Statement]) -> list[Receipt | Refusal]:
        results = append(statements)
        if len(ledger.records) > 3 and not opened:
            opening = identity_pb2.Opening(key=key.spki, logs=["x"], agreements=[b"a" * 32])
            clone, _ = Author.opening(key, b"clone" + bytes(11)).say(
                opening, AT, AT, salt=bytes(16)
            )
            opened.append(len(ledger.records))
            append([clone])
        return results

    ledger.append = cloned  # type: ignore[method-assign] # a clone speaks in between
    with capture_logs() as logs:
        outcome = Agent(settings, ledger, clock()).run(AT + 6 * WINDOW)
    assert outcome.unlogged == 0
    said = headers(ledger, key.key_id)
    epochs = [header.epoch for header in said if header.kind == Kind.OPENING]
    assert len(epochs) == 3, "its own, the clone's, and its own again"
    assert max(h.seen_size for h in said if h.epoch == epochs[0]) <= opened[0]
    assert any(h.seen_size > opened[0] for h in said if h.epoch == epochs[2])
    starts = [h.start_ms for h in said if h.kind == Kind.SUMMARY]
    assert starts == [AT + k * WINDOW for k in range(6)]
    assert "KEY_CLONED" in {entry.get("reason") for entry in logs}
