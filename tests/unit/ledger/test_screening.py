"""What of a statement is judged before its place in the log."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import screening as module
from ledger.keyring import TEACHING
from ledger.refusal import Refusal
from ledger.screening import UNSUPPORTED, Hashed, Parts, Screenable, Screened, hash_bodies, screen
from protos.stillwatch.statement.v1 import (
    governance_pb2,
    header_pb2,
    identity_pb2,
    summary_pb2,
)
from statements.author import Statement
from statements.body import BODY_LIMIT, body_digest
from statements.disclosure import Disclosures
from statements.header import Header, decode_header, encode_header
from statements.kinds import Kind
from statements.signing import ORDER, statement_id
from tests.unit.ledger.cast import MINUTE, T0, Cast, Person, triple

Sent = Screenable


class Desk:
    """Screening with the keys of one cast: pinned ones may appear, some are known."""

    def __init__(self, cast: Cast) -> None:
        self.keyring = cast.keyring()
        self.agreement = cast.pins.digest
        self.disclosures = cast.pins.disclosures
        for person in (cast.party, cast.evaluator, cast.ledger):
            self.keyring.show(person.key.verifying_key())

    def screen(self, *sent: Sent) -> list[Screened | Refusal]:
        results, _ = screen(
            sent, self.keyring.known, self.keyring.may_appear, self.agreement, self.disclosures
        )
        return results

    def reason(self, sent: Sent) -> str:
        (result,) = self.screen(sent)
        assert isinstance(result, Refusal), result
        assert result.code, "each reason has a number on the wire"
        return result.reason


@pytest.fixture
def desk(cast: Cast) -> Desk:
    cast.party.open()
    return Desk(cast)


def signed(
    person: Person, said: Statement, change: Callable[[Header], Header], stored: bytes | None = None
) -> Sent:
    """Return a statement with its header changed, signed anew."""
    header = encode_header(change(decode_header(said.header)))
    signature = person.key.sign(statement_id(header))
    return header, signature, said.stored if stored is None else stored


def with_body(person: Person, said: Statement, stored: bytes) -> Sent:
    """Return a statement whose body is other bytes, digests and signature made to fit."""
    digest = body_digest(stored)
    return signed(
        person,
        said,
        lambda header: header._replace(body_digest=digest, stored_digest=digest),
        stored,
    )


def test_a_good_statement_goes_through_with_its_id(cast: Cast, desk: Desk) -> None:
    said = cast.party.say(governance_pb2.Accession(agreement=bytes(32)))
    (result,) = desk.screen(triple(said))
    assert isinstance(result, Screened)
    assert result.id == said.id
    assert result.content == governance_pb2.Accession(agreement=bytes(32))
    assert result.statement == said


def test_results_come_in_the_order_of_the_batch(cast: Cast, desk: Desk) -> None:
    good, other = cast.party.summaries(2)
    results = desk.screen(triple(good), (b"", b"", None), triple(other))
    assert [type(one) for one in results] == [Screened, Refusal, Screened]


@pytest.mark.parametrize("length", [0, 1, 301, 303, 4096])
def test_a_header_of_another_length_is_refused(desk: Desk, length: int) -> None:
    assert desk.reason((bytes(length), bytes(64), b"")) == "MALFORMED_HEADER"


def test_a_header_with_an_unknown_field_is_refused(cast: Cast, desk: Desk) -> None:
    header, signature, stored = triple(cast.party.summary())
    assert desk.reason((bytes([header[0] ^ 0x80]) + header[1:], signature, stored)) == (
        "MALFORMED_HEADER"
    )


@pytest.mark.parametrize("length", [0, 63, 65, 72])
def test_a_signature_of_another_length_is_refused(cast: Cast, desk: Desk, length: int) -> None:
    said = cast.party.summary()
    assert desk.reason((said.header, bytes(length), said.stored)) == "MALFORMED_SIGNATURE"


@pytest.mark.parametrize(("r", "s"), [(0, 1), (1, 0), (ORDER, 1), (1, ORDER), (2**256 - 1, 1)])
def test_a_signature_out_of_range_is_refused(cast: Cast, desk: Desk, r: int, s: int) -> None:
    said = cast.party.summary()
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert desk.reason((said.header, signature, said.stored)) == "MALFORMED_SIGNATURE"


def test_the_other_half_of_a_good_signature_is_refused(cast: Cast, desk: Desk) -> None:
    said = cast.party.summary()
    s = ORDER - int.from_bytes(said.signature[32:], "big")
    malleated = said.signature[:32] + s.to_bytes(32, "big")
    assert desk.reason((said.header, malleated, said.stored)) == "HIGH_S"


def test_a_signature_by_another_key_is_refused(cast: Cast, desk: Desk) -> None:
    said = cast.party.summary()
    forged = cast.evaluator_key.sign(said.id)
    assert desk.reason((said.header, forged, said.stored)) == "BAD_SIGNATURE"


@given(bit=st.integers(0, 302 * 8 - 1))
def test_no_bit_of_a_header_can_be_changed_unnoticed(bit: int) -> None:
    cast = Cast()
    cast.party.open()
    said = cast.party.summary()
    changed = bytearray(said.header)
    changed[bit // 8] ^= 1 << bit % 8
    (result,) = Desk(cast).screen((bytes(changed), said.signature, said.stored))
    assert isinstance(result, Refusal)


def test_a_key_that_nobody_showed_is_refused(cast: Cast, desk: Desk) -> None:
    stranger = cast.person()
    stranger.open()
    assert desk.reason(triple(stranger.summary())) == "UNKNOWN_KEY"


def test_a_strangers_opening_shows_no_key(cast: Cast, desk: Desk) -> None:
    assert desk.reason(triple(cast.person().open())) == "UNKNOWN_KEY"


def test_a_strangers_body_is_not_even_hashed(
    cast: Cast, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = cast.person()
    opening = stranger.open()

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "verify_stored", never)
    assert desk.reason((opening.header, opening.signature, bytes(1 << 20))) == "UNKNOWN_KEY"


def test_a_pinned_key_is_shown_by_its_own_opening(cast: Cast) -> None:
    desk = Desk(cast)
    desk.keyring = cast.keyring()
    opening = cast.party.open()
    results = desk.screen(triple(opening), triple(cast.party.summary()))
    assert all(isinstance(one, Screened) for one in results)


@pytest.mark.parametrize("kind", [0, 999, 2**32 - 1, *sorted(UNSUPPORTED)])
def test_kinds_whose_effects_cannot_be_checked_are_refused(
    cast: Cast, desk: Desk, kind: int
) -> None:
    sent = signed(cast.party, cast.party.summary(), lambda header: header._replace(kind=kind))
    assert desk.reason(sent) == "UNKNOWN_KIND"


@pytest.mark.parametrize("disclosure", [0, 2, 77])
def test_another_disclosure_than_public_is_refused(cast: Cast, desk: Desk, disclosure: int) -> None:
    sent = signed(
        cast.party,
        cast.party.summary(),
        lambda header: header._replace(disclosure=disclosure),
    )
    assert desk.reason(sent) == "UNKNOWN_DISCLOSURE"


def test_a_period_that_ends_before_it_starts_is_refused(cast: Cast, desk: Desk) -> None:
    said = cast.party.say(summary_pb2.WorkloadSummary(), T0 + MINUTE, T0)
    assert desk.reason(triple(said)) == "INVERTED_PERIOD"


def test_a_body_of_a_mebibyte_is_taken_and_one_more_byte_is_not(cast: Cast, desk: Desk) -> None:
    said = cast.party.summary()
    (largest,) = desk.screen(with_body(cast.party, said, bytes(BODY_LIMIT)))
    assert isinstance(largest, Screened)
    assert desk.reason(with_body(cast.party, said, bytes(BODY_LIMIT + 1))) == "BODY_TOO_LARGE"


def test_a_public_kind_without_its_body_is_refused(cast: Cast, desk: Desk) -> None:
    said = cast.party.say(governance_pb2.Fact())
    assert desk.reason((said.header, said.signature, None)) == "BODY_MISSING"


def test_a_summary_may_withhold_its_body(cast: Cast, desk: Desk) -> None:
    said = cast.party.summary()
    (result,) = desk.screen((said.header, said.signature, None))
    assert isinstance(result, Screened)
    assert result.statement.stored == b""


def test_a_body_that_misses_its_digest_is_refused(cast: Cast, desk: Desk) -> None:
    said = cast.party.summary()
    assert desk.reason((said.header, said.signature, said.stored + b"\0")) == "BODY_MISMATCH"
    assert desk.reason((said.header, said.signature, b"")) == "BODY_MISMATCH"


def test_a_public_body_with_two_digests_is_refused(cast: Cast, desk: Desk) -> None:
    sent = signed(
        cast.party,
        cast.party.summary(),
        lambda header: header._replace(body_digest=bytes(32)),
    )
    assert desk.reason(sent) == "BODY_MISMATCH"


@pytest.mark.parametrize(
    "stored",
    [
        b"\xff\xff",
        header_pb2.Body(salt=bytes(15)).SerializeToString(),
        header_pb2.Body(salt=bytes(16), content=b"\xff\xff").SerializeToString(),
    ],
    ids=["no body", "a short salt", "no message of the kind"],
)
def test_a_public_body_that_does_not_parse_is_refused(
    cast: Cast, desk: Desk, stored: bytes
) -> None:
    said = cast.party.say(governance_pb2.Fact())
    assert desk.reason(with_body(cast.party, said, stored)) == "MALFORMED_BODY"


@pytest.mark.parametrize(
    "opening",
    [
        {"key": b"no key"},
        {"logs": []},
        {"agreements": []},
    ],
    ids=["another key", "no log", "no agreement"],
)
def test_an_opening_that_breaks_its_rules_is_refused(
    cast: Cast, desk: Desk, opening: dict[str, object]
) -> None:
    fields: dict[str, object] = {"key": cast.party_key.spki, "logs": ["x"], "agreements": [b"y"]}
    message = identity_pb2.Opening(**(fields | opening))  # type: ignore[arg-type]
    assert desk.reason(triple(cast.party.say(message))) == "MALFORMED_BODY"


def test_an_opening_whose_pinned_bytes_are_no_key_is_refused() -> None:
    cast = Cast()
    spki = b"these bytes are pinned, and are no key"
    digest = body_digest(spki)

    def change(header: Header) -> Header:
        return header._replace(author=digest, key_id=digest)

    cast.party.open()
    said = cast.party.say(identity_pb2.Opening(key=spki, logs=["x"], agreements=[bytes(32)]))
    (result,), shown = screen(
        [signed(cast.party, said, change)],
        lambda _: None,
        lambda asked: asked == digest,
        bytes(32),
        Disclosures(),
    )
    assert isinstance(result, Refusal)
    assert result.reason == "MALFORMED_BODY"
    assert shown == []


@pytest.mark.parametrize(
    "fields",
    [
        {"agreement": bytes(32)},
        {"token_digest": bytes(31)},
        {"name": ""},
        {"site": "x" * 65},
        {"chips": 4097},
        {"node_key": b"no key"},
        {"possession": bytes(64)},
        {"token_digest": bytes(32)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_an_enrolment_that_breaks_its_rules_is_refused(
    cast: Cast, desk: Desk, fields: dict[str, object]
) -> None:
    said = cast.party.say(cast.enrolment(cast.person(), **fields))
    assert desk.reason(triple(said)) == "BAD_ENROLMENT"


def test_an_enrolment_says_nothing_for_another_party(cast: Cast, desk: Desk) -> None:
    cast.evaluator.open()
    said = cast.evaluator.say(cast.enrolment(cast.person()))
    assert desk.reason(triple(said)) == "BAD_ENROLMENT", "possession was proven to the party"


def test_a_batch_may_enrol_a_node_and_bring_its_first_words(cast: Cast, desk: Desk) -> None:
    node = cast.person()
    batch = [cast.party.say(cast.enrolment(node)), node.open(), node.summary()]
    assert all(isinstance(one, Screened) for one in desk.screen(*map(triple, batch)))


def test_a_refused_enrolment_lets_nobody_appear(cast: Cast, desk: Desk) -> None:
    node = cast.person()
    bad = cast.party.say(cast.enrolment(node, possession=bytes(64)))
    results = desk.screen(triple(bad), triple(node.open()))
    assert [one.reason for one in results if isinstance(one, Refusal)] == [
        "BAD_ENROLMENT",
        "UNKNOWN_KEY",
    ]


@pytest.mark.parametrize("kind", sorted(set(Kind) - UNSUPPORTED - TEACHING - {Kind.CONTENT_KEY}))
def test_every_other_kind_is_logged_whatever_it_says(cast: Cast, desk: Desk, kind: Kind) -> None:
    stored = header_pb2.Body(salt=bytes(16)).SerializeToString()
    digest = body_digest(stored)

    def change(header: Header) -> Header:
        return header._replace(kind=int(kind), body_digest=digest, stored_digest=digest)

    (result,) = desk.screen(signed(cast.party, cast.party.summary(), change, stored))
    assert isinstance(result, Screened)


@given(data=st.binary(max_size=700))
def test_no_bytes_whatever_break_screening(data: bytes) -> None:
    cast = Cast()
    (result,) = Desk(cast).screen((data[:302], data[302:366], data[366:] or None))
    assert isinstance(result, Refusal)


@given(tail=st.binary(max_size=200), kind=st.sampled_from(sorted(set(Kind) - UNSUPPORTED)))
def test_no_content_of_a_live_key_breaks_screening(tail: bytes, kind: Kind) -> None:
    cast = Cast()
    cast.party.open()
    stored = header_pb2.Body(salt=bytes(16), content=tail).SerializeToString()
    digest = body_digest(stored)
    sent = signed(
        cast.party,
        cast.party.summary(),
        lambda header: header._replace(kind=int(kind), body_digest=digest, stored_digest=digest),
        stored,
    )
    (result,) = Desk(cast).screen(sent)
    assert isinstance(result, Screened) or result.reason in {
        "MALFORMED_BODY",
        "BAD_ENROLMENT",
        "BAD_ROTATION",
    }


def test_a_body_that_was_hashed_before_is_judged_as_the_body_itself(cast: Cast, desk: Desk) -> None:
    good, other, large = cast.party.summaries(3)
    body = bytes(BODY_LIMIT + 1)
    sent: list[Parts] = [
        triple(good),
        triple(other._replace(stored=b"another body")),
        (*large[:2], body),
        triple(cast.party.say(governance_pb2.Accession(agreement=bytes(32)))),
        (good.header, good.signature, None),
    ]
    whole, hashed = desk.screen(*sent), desk.screen(*hash_bodies(sent))
    assert [of(one) for one in whole] == [of(one) for one in hashed]
    assert [of(one) for one in whole][1:3] == ["BODY_MISMATCH", "BODY_TOO_LARGE"]
    refused = {one.message for one in (*whole, *hashed) if isinstance(one, Refusal)}
    assert len(refused) == 2, "the words are the same"


def of(result: Screened | Refusal) -> str | bytes:
    return result.reason if isinstance(result, Refusal) else result.id


def test_only_bodies_that_nobody_reads_at_the_door_are_hashed_there(cast: Cast) -> None:
    said = [cast.party.open(), cast.party.summary()]
    opening, summary = hash_bodies([triple(one) for one in said])
    assert opening == triple(said[0])
    assert summary == (*said[1][:2], Hashed(len(said[1].stored), body_digest(said[1].stored)))


def test_a_hash_does_not_stand_for_a_body_that_must_be_read(cast: Cast, desk: Desk) -> None:
    said = cast.party.say(governance_pb2.Accession(agreement=bytes(32)))
    body = Hashed(len(said.stored), body_digest(said.stored))
    assert desk.reason((said.header, said.signature, body)) == "MALFORMED_BODY"
