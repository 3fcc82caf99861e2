"""What one author may have logged, and one address may waste."""

from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.buckets import Buckets
from ledger.journal.sqlite import SqliteJournal
from ledger.limits import Limits
from ledger.quotas import Quotas
from ledger.refusal import Refusal
from ledger.sequencer import Logged, Sequencer
from statements.author import Statement
from statements.kinds import Kind
from tests.unit.ledger.cast import Cast, Hours, screened
from tests.unit.ledger.rig import Rig, faulted, reasons


class Seconds:
    """Time that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 30)), max_size=40))
def test_nobody_gets_more_than_the_bucket_and_what_ran_in(steps: list[tuple[float, float]]) -> None:
    clock = Seconds()
    buckets = Buckets(20.0, 3.0, clock)
    taken = 0.0
    for wait, amount in steps:
        clock.now += wait
        if buckets.take("a", amount):
            taken += min(amount, 20.0)
        assert taken <= 20.0 + 3.0 * clock.now + 1e-6
        assert buckets.level("b") == 20.0


def test_what_is_larger_than_a_bucket_takes_a_full_one() -> None:
    clock = Seconds()
    buckets = Buckets(10.0, 1.0, clock)
    assert buckets.take("a", 500.0)
    clock.now += 9.9
    assert not buckets.take("a", 500.0)
    clock.now += 0.2
    assert buckets.take("a", 500.0), "or its sender would wait for ever"


@pytest.mark.parametrize("short", ["statements", "stored", "enrolments"])
def test_a_statement_that_has_to_wait_costs_nothing_however_often_it_is_sent(short: str) -> None:
    clock = Seconds()
    quotas = Quotas(**{
        name: Buckets(1.0 if name == short else 1_000.0, 1.0, clock)
        for name in ("statements", "stored", "enrolments")
    })  # fmt: skip
    assert quotas.refuse(b"a", 1, Kind.ENROLMENT) is None
    for _ in range(3):
        assert quotas.refuse(b"a", 1, Kind.ENROLMENT) is not None
    for name, buckets in (("statements", quotas.statements), ("stored", quotas.stored)):
        assert buckets.level(b"a") == (0.0 if name == short else 999.0)


def test_what_was_used_already_is_owed_and_no_more_than_a_buckets_worth() -> None:
    clock = Seconds()
    buckets = Buckets(10.0, 1.0, clock)
    buckets.charge("a", 1e9)
    assert buckets.level("a") == -10.0
    clock.now += 11
    assert buckets.level("a") == 1.0


def test_full_buckets_are_forgotten() -> None:
    clock = Seconds()
    buckets = Buckets(10.0, 1.0, clock)
    for at in range(100_000):
        clock.now += 0.01
        buckets.take(at, 1.0)
    assert len(buckets) < 2_100


def outcomes(sequencer: Sequencer, *said: Statement) -> list[str]:
    (found,) = sequencer.log([[screened(one) for one in said]])
    assert all(isinstance(one, Refusal | Logged) for one in found)
    return [one.reason if isinstance(one, Refusal) else "" for one in found]


def sequencer_of(cast: Cast, folder: Path, clock: Seconds, **limits: float) -> Sequencer:
    quotas = Quotas.of(replace(Limits(), **limits), clock)  # type: ignore[arg-type]
    return Sequencer.open(SqliteJournal(folder), cast.keyring(), Hours(), quotas)


def test_an_author_over_its_quota_waits_and_then_goes_on_where_it_was(
    cast: Cast, tmp_path: Path
) -> None:
    clock = Seconds()
    sequencer = sequencer_of(cast, tmp_path, clock, author_statements=3, author_statements_per_s=1)
    said = [cast.party.open(), *cast.party.summaries(4)]
    assert outcomes(sequencer, *said) == ["", "", "", "BUSY", "GAP"]
    other = [cast.evaluator.open(), *cast.evaluator.summaries(2)]
    assert outcomes(sequencer, *other) == ["", "", ""], "each author has its own"
    assert outcomes(sequencer, *said[:3]) == ["", "", ""], "what is logged is answered for nothing"
    assert outcomes(sequencer, said[3]) == ["BUSY"]
    clock.now += 2
    assert outcomes(sequencer, *said[3:]) == ["", ""]


def test_bodies_and_enrolments_have_quotas_too(cast: Cast, tmp_path: Path) -> None:
    clock = Seconds()
    sequencer = sequencer_of(
        cast, tmp_path, clock, author_bytes=4_000, party_enrolments=2, party_enrolments_per_s=0.5
    )
    enrolling, _ = cast.enrolled(3)
    assert outcomes(sequencer, *enrolling) == ["", "", "", "BUSY"]
    clock.now += 2
    assert outcomes(sequencer, enrolling[-1]) == [""]
    clock.now += 1e6
    large = [cast.party.summary(size=3_000) for _ in range(2)]
    assert outcomes(sequencer, *large) == ["", "BUSY"]


@pytest.fixture
def limits() -> Limits:
    return replace(Limits(), unverified_bytes=20_000, unverified_bytes_per_s=1e-6)


def test_an_address_that_sends_what_does_not_verify_is_heard_no_more(
    cast: Cast, tmp_path: Path, limits: Limits
) -> None:
    rig = Rig(cast, tmp_path, limits)
    try:
        good = cast.party.open()
        assert reasons(rig.append([good])[0]) == [""]
        forged = [one._replace(signature=bytes(64)) for one in cast.party.summaries(10)]
        with faulted(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
            for _ in range(10):
                rig.append(forged)
        with faulted(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
            rig.append([good])
    finally:
        rig.close()


@pytest.mark.parametrize("again", ["said before", "out of order"])
def test_whoever_has_the_same_verified_over_and_over_is_heard_no_more(
    cast: Cast, tmp_path: Path, again: str
) -> None:
    """A rival with one good batch could have the ledger verify that, and nobody else's."""
    limits = replace(Limits(), unlogged_bytes=20_000, unlogged_bytes_per_s=1e-6)
    rig = Rig(cast, tmp_path, limits)
    try:
        said = [cast.party.open(), *cast.party.summaries(10)]
        assert set(reasons(rig.append(said)[0])) == {""}
        cast.party.summary()
        batch = said if again == "said before" else cast.party.summaries(10)
        with faulted(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
            for _ in range(10):
                rig.append(batch)
        with faulted(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
            rig.append([cast.evaluator.open()])
    finally:
        rig.close()


def test_what_is_logged_is_charged_to_nobody(cast: Cast, tmp_path: Path) -> None:
    rig = Rig(cast, tmp_path, replace(Limits(), unlogged_bytes=2_000, unlogged_bytes_per_s=1e-6))
    try:
        rig.append([cast.party.open()])
        for _ in range(5):
            assert set(reasons(rig.append(cast.party.summaries(10))[0])) == {""}
    finally:
        rig.close()
