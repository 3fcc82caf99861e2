"""Sealed bodies at a ledger: what it admits, and that it can read none of it."""

import dataclasses
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ledger.refusal import Refusal
from ledger.screening import Screened, screen
from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2, summary_pb2
from statements.author import Statement
from statements.body import decode_body
from statements.body_bundle import FOLDER, decode_body_bundle
from statements.disclosure import disclose
from statements.header import Header, decode_header, encode_header
from statements.keys import write_signing_key
from statements.kinds import Kind
from statements.ledger_client import LedgerClient, Receipt
from statements.publication import publish
from statements.reading_keys import pinned_as
from statements.record import decode_record
from statements.sealing import (
    DAY_MS,
    ContentKey,
    Place,
    ReadingKey,
    day_of,
    open_body,
    open_content_key,
)
from statements.signing import statement_id
from tests.unit.ledger.cast import ORIGIN, T0, Cast, triple
from tests.unit.ledger.process import LedgerProcess, found_log, stillwatch
from tlog.tile import aligned_path

READER: Final = ReadingKey.generate()
DISCLOSURE: Final = f"""
[disclosure]
summaries = "inspectors"
meter_readings = "inspectors"

[[disclosure.classes]]
id = "inspectors"
readers = [{{ id = "aisi", key = "{pinned_as(READER.public)}" }}]
"""
SECRET: Final = b"a job whose name nobody but its readers may learn"


@pytest.fixture
def cast() -> Cast:
    return Cast(disclosure=DISCLOSURE)


def content_key(cast: Cast) -> ContentKey:
    return ContentKey(cast.party_key.key_id, day_of(T0), 2, cast.draw.randbytes(32))


def judge(cast: Cast, *said: Statement, withheld: bool = False) -> list[Screened | Refusal]:
    keyring = cast.keyring()
    for person in (cast.party, cast.evaluator):
        keyring.show(person.key.verifying_key())
    sent = [triple(one) for one in said]
    if withheld:
        sent = [(header, signature, None) for header, signature, _ in sent]
    results, _ = screen(
        sent, keyring.known, keyring.may_appear, cast.pins.digest, cast.pins.disclosures
    )
    return results


def reason(cast: Cast, said: Statement, *, withheld: bool = False) -> str:
    (result,) = judge(cast, said, withheld=withheld)
    return result.reason if isinstance(result, Refusal) else ""


def summary() -> summary_pb2.WorkloadSummary:
    return summary_pb2.WorkloadSummary(declared=[summary_pb2.DeclaredWork(job=SECRET.decode())])


def test_a_content_key_and_what_it_seals_are_admitted(cast: Cast) -> None:
    cast.party.open()
    key = content_key(cast)
    to = cast.pins.disclosures.classes[0]
    said = [
        cast.party.say(disclose(key, to)),
        cast.party.say(summary(), T0, T0 + 60_000, key),
        cast.party.say(summary_pb2.MeterReading(subject="hall"), T0, T0 + 60_000, key),
        cast.party.summary(),
    ]
    for result in judge(cast, *said):
        assert isinstance(result, Screened), result


def test_a_sealed_body_may_be_withheld(cast: Cast) -> None:
    cast.party.open()
    said = cast.party.say(summary(), T0, T0 + 60_000, content_key(cast))
    assert reason(cast, said, withheld=True) == ""


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.SUMMARY, Kind.METER_READING}))
def test_no_kind_is_sealed_that_the_agreement_does_not_have_sealed(cast: Cast, kind: Kind) -> None:
    cast.party.open()
    said = cast.party.say(summary(), T0, T0, content_key(cast))
    header = decode_header(said.header)._replace(kind=int(kind))
    assert reason(cast, signed(cast, header, said.stored)) in {"UNKNOWN_DISCLOSURE", "UNKNOWN_KIND"}


@pytest.mark.parametrize("kind", [Kind.FACT, Kind.RULING])
def test_an_agreement_cannot_have_public_kinds_sealed(cast: Cast, kind: Kind) -> None:
    assert kind not in cast.pins.disclosures.of_kind
    cast.party.open()
    said = cast.party.say(governance_pb2.Fact(indicator="x"), T0, T0, content_key(cast))
    assert reason(cast, said) == "UNKNOWN_DISCLOSURE"


def test_a_body_sealed_to_another_class_is_refused(cast: Cast) -> None:
    cast.party.open()
    key = dataclasses.replace(content_key(cast), disclosure=3)
    assert reason(cast, cast.party.say(summary(), T0, T0, key)) == "UNKNOWN_DISCLOSURE"


def test_a_body_that_is_called_sealed_and_is_not_is_refused(cast: Cast) -> None:
    cast.party.open()
    said = cast.party.summary()
    header = decode_header(said.header)._replace(disclosure=2)
    assert reason(cast, signed(cast, header, said.stored)) == "BODY_MISMATCH"


def test_a_sealed_body_with_a_flipped_bit_is_refused(cast: Cast) -> None:
    cast.party.open()
    said = cast.party.say(summary(), T0, T0, content_key(cast))
    spoilt = said._replace(stored=said.stored[:-1] + bytes([said.stored[-1] ^ 1]))
    assert reason(cast, spoilt) == "BODY_MISMATCH"


def test_a_content_key_for_others_than_the_class_is_refused(cast: Cast) -> None:
    cast.party.open()
    message = disclose(content_key(cast), cast.pins.disclosures.classes[0])
    message.sealed[0].reader = bytes(32)
    assert reason(cast, cast.party.say(message)) == "MALFORMED_BODY"


def signed(cast: Cast, header: Header, stored: bytes) -> Statement:
    encoded = encode_header(header)
    return Statement(encoded, cast.party_key.sign(statement_id(encoded)), stored)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[tuple[Cast, LedgerProcess]]:
    cast = found_log(tmp_path / "log", disclosure=DISCLOSURE)
    process = LedgerProcess(tmp_path / "log")
    process.start()
    yield cast, process
    process.end()


def test_a_ledger_cannot_read_what_is_sealed_with_all_that_it_has(
    ledger: tuple[Cast, LedgerProcess],
) -> None:
    """Nor can whoever takes its disk, its keys and its output: each 32 bytes of these are tried as the content key."""
    cast, process = ledger
    key = content_key(cast)
    opening = cast.party.open()
    body = summary()
    body.chip_features = SECRET * 3
    said = [
        opening,
        cast.party.say(disclose(key, cast.pins.disclosures.classes[0])),
        cast.party.say(body, T0, T0 + 60_000, key),
    ]
    with LedgerClient(process.grpc) as client:
        receipts = client.append(said)
        assert all(isinstance(one, Receipt) and one.body_held for one in receipts)
    assert process.stop() == 0
    files = [path for path in process.folder.rglob("*") if path.is_file()]
    held = [path.read_bytes() for path in files] + [process.log.read_bytes()]
    header = decode_header(said[2].header)
    place = Place(header.author, header.epoch, header.sequence, header.body_digest)
    opened = open_body(said[2].stored, place, key)
    assert SECRET in opened, "the test looks for what is there"
    assert any(said[2].stored in data for data in held), "the ledger holds the body"
    for data in held:
        for secret in (SECRET, SECRET.hex().encode(), key.key, key.key.hex().encode()):
            assert secret not in data
        assert opened[2:18] not in data, "the salt"
    candidates = {data[at : at + 32] for data in held for at in range(len(data) - 31)}
    assert len(candidates) > 1_000
    prefix = b"stillwatch content key commitment v1\n" + key.author
    prefix += key.day.to_bytes(4, "big") + key.disclosure.to_bytes(4, "big")
    assert hashlib.sha256(prefix + key.key).digest() == key.commitment
    commitments = {hashlib.sha256(prefix + one).digest() for one in candidates}
    assert key.commitment not in commitments


def test_what_is_published_from_a_command_line_is_sealed_too_each_time_under_another_key(
    ledger: tuple[Cast, LedgerProcess], tmp_path: Path
) -> None:
    cast, process = ledger
    path = tmp_path / "meter.key"
    write_signing_key(path, cast.party_key)
    keys = []
    with LedgerClient(process.grpc) as client:
        for energy in (5, 6):
            reading = summary_pb2.MeterReading(subject="hall", energy_start_mj=energy)
            said = publish(
                client,
                path,
                reading,
                now_ms=T0,
                pins=cast.pins,
                origin=ORIGIN,
                period=(T0, T0 + 60_000),
            )
            header = decode_header(decode_record(said.record).header)
            assert header.disclosure == 2
            disclosed, stored = bodies(process, said.index)[said.index - 1 : said.index + 1]
            message = identity_pb2.ContentKey.FromString(decode_body(disclosed))
            key = open_content_key(
                message.sealed[0].sealed,
                READER,
                author=header.author,
                day=message.day,
                disclosure=2,
                commitment=message.commitment,
            )
            place = Place(header.author, header.epoch, header.sequence, header.body_digest)
            content = decode_body(open_body(stored, place, key))
            assert summary_pb2.MeterReading.FromString(content) == reading
            keys.append(key.key)
    assert keys[0] != keys[1]
    assert process.stop() == 0
    assert stillwatch("ledger", "fsck", str(process.folder)).returncode == 0


def bodies(process: LedgerProcess, index: int) -> list[bytes]:
    """Return the bodies that a young log serves, once it serves that of ``index``."""
    deadline = time.monotonic() + 10
    while True:
        width = index + 1
        path = process.folder / aligned_path(FOLDER, 0, width)
        if path.exists():
            return [body or b"" for body in decode_body_bundle(path.read_bytes(), width)]
        assert time.monotonic() < deadline, f"{path} is not there"
        time.sleep(0.02)


def test_the_day_of_a_content_key_is_utc() -> None:
    assert day_of(T0) * DAY_MS <= T0 < (day_of(T0) + 1) * DAY_MS
    assert identity_pb2.ContentKey(day=day_of(T0)).day == T0 // 86_400_000
