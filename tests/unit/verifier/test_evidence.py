from dataclasses import replace

import numpy as np
import pytest

from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2, log_pb2, summary_pb2
from statements.author import Author
from statements.body import decode_body
from statements.errors import StatementError
from statements.header import decode_header, encode_header
from statements.record import decode_record, encode_record
from statements.signing import ORDER, SigningKey
from tests.unit.verifier.logbook import IDLE, MINUTE, T0, Logbook, NodeSpeaker, Speaker
from tlog.checkpoint import Checkpoint, sign_checkpoint
from verifier.evidence.errors import EvidenceError
from verifier.evidence.gather import Evidence, gather
from verifier.evidence.records import read_records
from verifier.evidence.ticks import NO_TICK_AFTER, NO_TICK_BEFORE


@pytest.fixture
def book() -> Logbook:
    book = Logbook.begin()
    book.enrol("aurora", "aurora/0")
    return book


def _node(book: Logbook) -> NodeSpeaker:
    return book.nodes["aurora/0"]


def _windows(book: Logbook, count: int) -> list[int]:
    node = _node(book)
    return [book.log(book.window(node, T0 + at * MINUTE, IDLE)) for at in range(count)]


def _authentic(evidence: Evidence) -> set[int]:
    return set(evidence.records.index[evidence.chains.authentic].tolist())


def _resigned(book: Logbook, index: int, **changes: object) -> None:
    """Change the header of a logged record, and leave its signature as it was."""
    record = decode_record(book.records[index])
    header = decode_header(record.header)._replace(**changes)  # type: ignore[arg-type]
    book.records[index] = encode_record(record._replace(header=encode_header(header)))


def _with_signature(book: Logbook, index: int, signature: bytes) -> None:
    book.records[index] = encode_record(
        decode_record(book.records[index])._replace(signature=signature)
    )


# ------------------------------------------------------------------------------------------- records


def test_columns_hold_what_headers_say(book: Logbook) -> None:
    _windows(book, 3)
    records = read_records(book.records)
    assert len(records) == len(book.records)
    for row, entry in enumerate(book.records):
        header = decode_header(decode_record(entry).header)
        assert records.header(row) == header
        assert records.ids[row] == book.ids[row]
        assert records.text("author", row) == header.author
        assert records.text("previous", row) == header.previous
        assert records.text("stored_digest", row) == header.stored_digest
        assert (records.kind[row], records.sequence[row]) == (header.kind, header.sequence)
        assert (records.start_ms[row], records.end_ms[row]) == (header.start_ms, header.end_ms)
        assert records.seen_size[row] == header.seen_size


@pytest.mark.parametrize("place", [0, 2, 3, 8, 42, 76, 103, 155, 230, 300, 306, 371])
def test_a_leaf_with_another_layout_is_set_aside_and_told(book: Logbook, place: int) -> None:
    leaf = bytearray(book.records[2])
    leaf[place] ^= 0x80
    records = read_records([*book.records[:2], bytes(leaf), *book.records[3:]])
    refused = [index for index, _ in records.refused]
    refuses = _is_refused(bytes(leaf))
    assert refused == ([2] if refuses else [])


def _is_refused(leaf: bytes) -> bool:
    """Return whether the one decoder of single records refuses it, or its header."""
    try:
        header = decode_header(decode_record(leaf).header)
    except StatementError:
        return True
    return header.disclosure != 1 or header.kind > 24


def test_a_leaf_of_another_length_does_not_shift_the_others(book: Logbook) -> None:
    records = read_records([book.records[0], b"short", *book.records[1:]])
    assert records.refused == ((1, "its length is not that of a record"),)
    assert records.index.tolist() == [0, *range(2, len(book.records) + 1)]
    assert tuple(records.ids) == tuple(book.ids)


def test_an_empty_log_has_no_records() -> None:
    assert len(read_records([])) == 0


# --------------------------------------------------------------------------------------------- leaf 0


def test_a_log_that_begins_with_another_agreement_is_refused(book: Logbook) -> None:
    other = Logbook.begin()
    with pytest.raises(EvidenceError) as caught:
        gather(replace(book.pins, digest=other.pins.digest), book.prefix())
    assert caught.value.reason == "OTHER_AGREEMENT"


@pytest.mark.parametrize("body", [None, b"", b"other"])
def test_a_log_that_withholds_its_agreement_is_refused(book: Logbook, body: bytes | None) -> None:
    book.bodies[0] = body
    with pytest.raises(EvidenceError) as caught:
        book.evidence()
    assert caught.value.reason == "AGREEMENT_MISSING"


def test_a_log_that_begins_with_no_agreement_is_refused(book: Logbook) -> None:
    pins = book.pins
    book.records, book.bodies = book.records[1:], book.bodies[1:]
    with pytest.raises(EvidenceError) as caught:
        gather(pins, book.prefix())
    assert caught.value.reason == "NO_AGREEMENT"


def test_an_agreement_that_the_ledger_did_not_sign_is_refused(book: Logbook) -> None:
    _with_signature(book, 0, decode_record(book.records[1]).signature)
    with pytest.raises(EvidenceError) as caught:
        book.evidence()
    assert caught.value.reason == "AGREEMENT_UNSIGNED"


# ------------------------------------------------------------------------------------------ signatures


def test_everything_said_in_order_is_authentic(book: Logbook) -> None:
    _windows(book, 5)
    evidence = book.evidence()
    assert _authentic(evidence) == set(range(len(book.records)))
    assert evidence.faults == ()
    assert (evidence.chains.gaps, evidence.chains.forks) == ((), ())


@pytest.mark.parametrize("bad", [0, 2, 4])
def test_a_window_with_a_bad_signature_in_mid_chain_is_vouched_for_and_at_the_end_dropped(
    book: Logbook, bad: int
) -> None:
    """The next header commits to it: only the last one needs its own signature."""
    indices = _windows(book, 5)
    _with_signature(book, indices[bad], bytes(32) + b"\x01" * 32)
    evidence = book.evidence()
    expected = set(range(len(book.records))) - ({indices[4]} if bad == 4 else set())
    assert _authentic(evidence) == expected
    assert [fault.index for fault in evidence.faults] == ([indices[4]] if bad == 4 else [])


def test_a_malleated_signature_is_refused(book: Logbook) -> None:
    index = _windows(book, 1)[0]
    signature = decode_record(book.records[index]).signature
    s = ORDER - int.from_bytes(signature[32:], "big")
    _with_signature(book, index, signature[:32] + s.to_bytes(32, "big"))
    assert index not in _authentic(book.evidence())


def test_a_header_changed_in_mid_chain_is_dropped_and_leaves_a_gap(book: Logbook) -> None:
    indices = _windows(book, 5)
    _resigned(book, indices[2], start_ms=T0)
    evidence = book.evidence()
    assert _authentic(evidence) == set(range(len(book.records))) - {indices[2]}
    assert [(gap.missing, evidence.records.index[gap.row]) for gap in evidence.chains.gaps] == [
        (1, indices[3])
    ]
    assert [fault.reason for fault in evidence.faults] == ["BAD_SIGNATURE"]


def test_a_public_statement_needs_its_own_signature(book: Logbook) -> None:
    fact = governance_pb2.Fact(agreement=book.pins.digest, indicator="task_horizon", value=16.0)
    index = book.say("meridian", fact)
    book.say("meridian", fact)
    _with_signature(book, index, bytes(32) + b"\x01" * 32)
    evidence = book.evidence()
    assert index not in _authentic(evidence)
    assert index not in {said.index for said in evidence.said}
    assert index + 1 in {said.index for said in evidence.said}


def test_a_stranger_says_nothing(book: Logbook) -> None:
    stranger = Speaker(SigningKey.generate())
    book.log(book.sign(stranger, summary_pb2.WorkloadSummary()))
    evidence = book.evidence()
    assert {fault.reason for fault in evidence.faults} == {"UNKNOWN_KEY"}
    assert len(evidence.chains.strangers) == 2


def test_a_node_says_nothing_before_it_is_enrolled(book: Logbook) -> None:
    """What a ledger logs out of order does not count."""
    _windows(book, 2)
    enrolment = next(
        at
        for at, entry in enumerate(book.records)
        if decode_header(decode_record(entry).header).kind == 5
    )
    book.records.append(book.records.pop(enrolment))
    book.bodies.append(book.bodies.pop(enrolment))
    evidence = book.evidence()
    assert "UNKNOWN_KEY" in {fault.reason for fault in evidence.faults}
    assert not (evidence.records.kind[evidence.chains.authentic] == 12).any()


def test_a_node_that_nobody_enrolled_with_its_consent_is_refused(book: Logbook) -> None:
    node = SigningKey.generate()
    book.say(
        "aurora",
        identity_pb2.Enrolment(
            node_key=node.spki, site="s", name="n", token_digest=bytes(32),
            possession=book.people["aurora"].key.sign(bytes(32)), agreement=book.pins.digest, chips=8,
        ),
    )  # fmt: skip
    evidence = book.evidence()
    assert [node.name for node in evidence.nodes] == ["aurora/0"]
    assert [fault.reason for fault in evidence.faults] != []


def test_only_a_party_enrols(book: Logbook) -> None:
    node = SigningKey.generate()
    book.say("meridian", identity_pb2.Enrolment(node_key=node.spki, agreement=book.pins.digest))
    evidence = book.evidence()
    assert [fault.reason for fault in evidence.faults] == ["BAD_ENROLMENT"]


def test_a_node_enrolled_twice_counts_for_more_of_each_claim(book: Logbook) -> None:
    book.nodes.clear()
    first = book.enrol("borealis", "borealis/0", chips=2, from_ms=T0 + 5)
    again = identity_pb2.Enrolment.FromString(b"")
    for index, body in enumerate(book.bodies):
        header = decode_header(decode_record(book.records[index]).header)
        if header.kind == 5 and header.author == book.people["borealis"].key.key_id:
            again.ParseFromString(decode_body(body or b""))
    again.chips, again.accounted_from, again.chip_model = 8, T0, "other"
    book.say("borealis", again)
    node = next(node for node in book.evidence().nodes if node.node_id == first.key.key_id)
    assert (node.chips, node.accounted_from_ms, node.chip_model) == (8, T0, None)


# ------------------------------------------------------------------------------------------------ time


def test_a_record_was_logged_after_the_tick_before_it_and_by_the_first_that_covers_it(
    book: Logbook,
) -> None:
    first = book.tick()
    book.now_ms += MINUTE
    window = _windows(book, 1)[0]
    book.now_ms += MINUTE
    second = book.tick()
    time = book.evidence().time
    assert time.not_before_ms[first] == NO_TICK_BEFORE
    assert time.not_after_ms[first - 1] == T0
    assert (time.not_before_ms[window], time.not_after_ms[window]) == (T0, T0 + 2 * MINUTE)
    assert time.not_after_ms[second] == NO_TICK_AFTER
    assert time.as_of_ms == T0 + 2 * MINUTE


def test_the_ledgers_hint_is_held_to_its_ticks(book: Logbook) -> None:
    book.now_ms = T0 + MINUTE
    book.tick()
    book.now_ms = T0
    index = book.say("aurora", governance_pb2.Accession(agreement=book.pins.digest, party="aurora"))
    book.now_ms = T0 + 2 * MINUTE
    book.tick()
    said = next(said for said in book.evidence().said if said.index == index)
    assert said.logged_ms == T0 + MINUTE


def _false_tick(book: Logbook, note: bytes, time_ms: int) -> Evidence:
    book.say("ledger", log_pb2.Tick(checkpoint=note, time=time_ms))
    return book.evidence()


def test_a_tick_over_another_tree_is_proof_against_the_log(book: Logbook) -> None:
    note = sign_checkpoint(Checkpoint(book.origin, 3, bytes(32)), book.signer)
    evidence = _false_tick(book, note, T0)
    (fault,) = evidence.faults
    assert fault.reason == "FORKED"
    assert fault.notes == (note, evidence.prefix.note)
    assert evidence.as_of_ms == 0


def test_a_tick_that_covers_itself_is_false(book: Logbook) -> None:
    size = len(book.records) + 1
    note = sign_checkpoint(Checkpoint(book.origin, size, bytes(32)), book.signer)
    assert [f.reason for f in _false_tick(book, note, T0).faults] == ["TICK_FROM_FUTURE"]


def test_a_tick_signed_by_somebody_else_is_false(book: Logbook) -> None:
    other = Logbook.begin()
    evidence = _false_tick(book, other.note(), T0)
    assert [fault.reason for fault in evidence.faults] == ["NOT_SIGNED"]


def test_time_does_not_go_back(book: Logbook) -> None:
    book.now_ms = T0 + MINUTE
    book.tick()
    evidence = _false_tick(book, book.note(), T0)
    assert [fault.reason for fault in evidence.faults] == ["TICK_WENT_BACK"]
    assert evidence.as_of_ms == T0 + MINUTE


def test_only_the_ledger_tells_the_time(book: Logbook) -> None:
    book.say("auditor", log_pb2.Tick(checkpoint=book.note(), time=T0 + 5))
    evidence = book.evidence()
    assert evidence.as_of_ms == 0
    assert [fault.reason for fault in evidence.faults] == ["BAD_TICK"]


# ---------------------------------------------------------------------------------------------- bodies


def test_a_public_body_that_is_not_served_is_told_and_not_heard(book: Logbook) -> None:
    accession = governance_pb2.Accession(agreement=book.pins.digest, party="aurora")
    index = book.say("aurora", accession)
    for body in (None, b"other bytes"):
        book.bodies[index] = body
        evidence = book.evidence()
        assert index not in {said.index for said in evidence.said}
        assert [fault.index for fault in evidence.faults] == [index]
        assert index in _authentic(evidence)


def test_a_body_that_may_be_withheld_is_no_fault_of_the_log(book: Logbook) -> None:
    index = book.say("aurora", summary_pb2.MeterReading(subject="hall"))
    book.bodies[index] = None
    assert book.evidence().faults == ()


def test_of_two_facts_for_one_place_the_first_logged_is_heard(book: Logbook) -> None:
    meridian = book.people["meridian"]
    fact = governance_pb2.Fact(agreement=book.pins.digest, indicator="task_horizon", value=16.0)
    book.open(meridian)
    place = meridian.author
    first = book.say("meridian", fact)
    meridian.author = place
    fact.value = 1.0
    book.say("meridian", fact)
    heard = [said for said in book.evidence().said if isinstance(said.message, governance_pb2.Fact)]
    assert [said.index for said in heard] == [first]


def test_said_is_in_log_order_and_names_its_author(book: Logbook) -> None:
    for who in ("meridian", "aurora", "auditor"):
        book.say(who, governance_pb2.Reply(finding="f", text="t"))
    said = book.evidence().said
    assert [one.index for one in said] == sorted(one.index for one in said)
    replies = [one.name for one in said if isinstance(one.message, governance_pb2.Reply)]
    assert replies == ["meridian", "aurora", "auditor"]
    assert np.all(np.diff([one.index for one in said]) > 0)


def test_a_key_speaks_for_no_author_but_its_own(book: Logbook) -> None:
    node = _node(book)
    assert node.author is not None
    odd: Author = replace(node.author, author=bytes(32))
    said, _ = odd.say(summary_pb2.WorkloadSummary(), T0, T0, salt=bytes(16))
    index = book.log(said)
    assert [(f.reason, f.index) for f in book.evidence().faults] == [("UNKNOWN_KEY", index)]
