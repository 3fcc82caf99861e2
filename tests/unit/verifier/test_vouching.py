"""Signatures that are verified together are judged as if each had been verified by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.stillwatch.statement.v1 import identity_pb2
from statements.errors import SignatureError
from statements.signing import ORDER, SigningKey, key_digest, verify_signature
from tests.unit.verifier.logbook import Logbook, Speaker
from verifier.evidence.vouching import Claim, Vouched, possessions, shown_keys

KEYS = [SigningKey.generate() for _ in range(3)]
DIGESTS = [bytes([at]) * 32 for at in range(3)]
SIGNED = {
    (k, d): key.sign(digest) for k, key in enumerate(KEYS) for d, digest in enumerate(DIGESTS)
}


def _reason(verified: Vouched | None, claim: Claim) -> str | None:
    try:
        (verify_signature if verified is None else verified.verify)(*claim)
    except SignatureError as error:
        return error.reason
    return None


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    """A key, a digest, and a signature that may be another's, malleated, changed or cut."""
    key, digest = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    signature = SIGNED[draw(st.sampled_from([(key, digest), (key, digest), (0, 0), (1, 2)]))]
    s = int.from_bytes(signature[32:], "big")
    signature = draw(
        st.sampled_from([
            signature,
            signature,
            signature[:32] + (ORDER - s).to_bytes(32, "big"),
            signature[:40] + bytes([signature[40] ^ 1]) + signature[41:],
            signature[:-1],
            bytes(64),
        ])
    )  # fmt: skip
    return KEYS[key].verifying_key(), DIGESTS[digest], signature


@given(st.lists(claims(), max_size=20), st.lists(claims(), max_size=10))
def test_what_was_verified_together_is_refused_and_accepted_as_by_itself(
    together: list[Claim], besides: list[Claim]
) -> None:
    vouched = Vouched()
    vouched.verify_together(together)
    for claim in (*together, *besides):
        assert _reason(vouched, claim) == _reason(None, claim)


def test_keys_are_found_by_their_digest_and_only_those_that_are_keys() -> None:
    one, other = KEYS[0], KEYS[1]
    deeds = [
        identity_pb2.Opening(key=one.spki),
        identity_pb2.Enrolment(node_key=other.spki),
        identity_pb2.Rotation(new_key=b"no key"),
        None,
    ]
    wanted = [one.key_id, other.key_id, key_digest(b"no key")]
    assert {k: key.spki for k, key in shown_keys(deeds, wanted).items()} == {
        one.key_id: one.spki,
        other.key_id: other.spki,
    }
    assert list(shown_keys(deeds, [other.key_id])) == [other.key_id]


def test_a_log_of_whose_signatures_some_are_false_is_read_as_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Openings, enrolments and inventories with signatures of others, and proofs of possession that are none."""
    book = Logbook.begin()
    for at in range(6):
        book.enrol("aurora", f"aurora/{at}")
    book.tick()
    for row in range(3, len(book.records), 4):
        data = bytearray(book.records[row])
        data[-40] ^= 1
        book.records[row] = bytes(data)
    found = book.evidence()
    asked: list[int] = []
    monkeypatch.setattr(
        Vouched, "verify_together", lambda _, claims: asked.append(len(list(claims)))
    )
    alone = book.evidence()
    assert asked[0] > 20
    assert found.faults == alone.faults
    assert {"BAD_SIGNATURE"} <= {fault.reason for fault in found.faults}
    assert found.nodes == alone.nodes
    assert [one.row for one in found.openings] == [one.row for one in alone.openings]
    assert found.chains.authentic.tolist() == alone.chains.authentic.tolist()


def test_a_proof_of_possession_is_vouched_for_under_its_own_agreement_and_party_alone() -> None:
    node = KEYS[2]
    deed = identity_pb2.Enrolment(node_key=node.spki, token_digest=bytes(32), possession=b"proof")
    keys = {node.key_id: node.verifying_key()}
    told = {
        digest
        for agreement in (b"a" * 32, b"b" * 32)
        for party in (b"p" * 32, b"q" * 32)
        for _, digest, _ in possessions([(party, deed)], keys, agreement)
    }
    assert len(told) == 4
    assert list(possessions([(b"p" * 32, deed)], {}, b"a" * 32)) == []


def test_the_statements_of_strangers_are_not_verified_before_they_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book = Logbook.begin()
    book.enrol("aurora", "aurora/0")
    sizes: list[int] = []
    monkeypatch.setattr(
        Vouched, "verify_together", lambda _, claims: sizes.append(len(list(claims)))
    )
    before = book.evidence()
    for _ in range(5):
        book.open(Speaker(SigningKey.generate()))
    after = book.evidence()
    assert sizes[0] == sizes[1] > 5
    assert [fault.reason for fault in after.faults] == [
        *(fault.reason for fault in before.faults),
        *["UNKNOWN_KEY"] * 5,
    ]
