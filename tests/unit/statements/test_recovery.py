"""A lost key, its owner's request, and whoever may grant it."""

import json
import stat
from pathlib import Path

import pytest

from protos.stillwatch.statement.v1 import governance_pb2
from statements.errors import KeyFileError, KeyLifeError, SignatureError, StatementError
from statements.keys import read_author, read_signing_key, write_signing_key
from statements.ledger_client import LedgerClient
from statements.publication import publish
from statements.recovery import (
    RecoveryRequest,
    decode_request,
    draw_successor,
    encode_request,
    entitled,
    request_recovery,
    verify_request,
)
from statements.signing import SigningKey
from tests.unit.statements.conftest import ORIGIN, RealLedger

AUTHOR, AGREEMENT = b"a" * 32, b"g" * 32


def test_a_request_proves_who_holds_the_new_key_for_one_author_and_agreement(
    tmp_path: Path,
) -> None:
    key = SigningKey.generate()
    request = decode_request(
        encode_request(request_recovery(key, AUTHOR, AGREEMENT)), "the request"
    )
    assert verify_request(request, AGREEMENT) == key.verifying_key()
    with pytest.raises(KeyLifeError) as caught:
        verify_request(request, bytes(32))
    assert caught.value.reason == "OTHER_AGREEMENT"
    for forged in (
        RecoveryRequest(AGREEMENT, b"b" * 32, request.new_key, request.possession),
        RecoveryRequest(AGREEMENT, AUTHOR, SigningKey.generate().spki, request.possession),
    ):
        with pytest.raises(SignatureError):
            verify_request(forged, AGREEMENT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '"x"',
        "[" * 100_000,
        '{"format": "stillwatch.recovery-request/1"}',
        '{"format": "stillwatch.recovery-request/2"}',
        json.dumps(
            dict.fromkeys(("agreement", "author", "new_key", "possession"), "zz")
            | {"format": "stillwatch.recovery-request/1"}
        ),
        json.dumps(
            dict.fromkeys(("agreement", "author", "new_key", "possession"), 7)
            | {"format": "stillwatch.recovery-request/1"}
        ),
    ],
)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(StatementError) as caught:
        decode_request(text, "here")
    assert caught.value.reason == "NOT_A_REQUEST"
    assert str(caught.value).startswith("here: ")


def test_a_new_key_is_drawn_once_and_knows_its_author(tmp_path: Path) -> None:
    path = tmp_path / "aurora.key"
    path.with_name("aurora.key.chain").write_text("of the lost key")
    key = draw_successor(path, AUTHOR)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_author(path, key) == AUTHOR
    assert not path.with_name("aurora.key.chain").exists()
    assert draw_successor(path, AUTHOR).key_id == key.key_id, "a call that was cut short goes on"


def test_no_other_key_is_overwritten_or_taken_for_the_new_one(tmp_path: Path) -> None:
    path, key = tmp_path / "aurora.key", SigningKey.generate()
    write_signing_key(path, key)
    for author in (AUTHOR, key.key_id):
        with pytest.raises(KeyFileError) as caught:
            draw_successor(path, author)
        assert caught.value.reason == "KEY_EXISTS"
    assert read_signing_key(path).key_id == key.key_id
    with pytest.raises(KeyFileError) as caught:
        draw_successor(tmp_path / "nowhere" / "aurora.key", AUTHOR)
    assert caught.value.reason == "KEY_UNWRITABLE"


def test_who_may_not_is_told_before_anything_is_said(ledger: RealLedger) -> None:
    ids = {
        name: read_signing_key(ledger.key(name)).key_id
        for name in ("party", "saviour", "judge-1", "judge-2")
    }
    pins = ledger.pins
    by_id = {pin.id: key_id for key_id, pin in pins.by_key.items()}
    gauge = by_id["gauge"]
    assert entitled(pins, ids["saviour"], gauge) == "recovery"
    assert entitled(pins, ids["party"], b"n" * 32) == "party"
    assert entitled(pins, ids["judge-1"], gauge) == "vote"
    for speaker, author in (
        (ids["saviour"], by_id["aster"]),
        (ids["saviour"], b"n" * 32),
        (ids["party"], gauge),
        (ids["judge-1"], ids["judge-1"]),
        (ids["judge-1"], b"n" * 32),
        (b"x" * 32, gauge),
    ):
        with pytest.raises(KeyLifeError) as caught:
            entitled(pins, speaker, author)
        assert caught.value.reason == "NOT_ENTITLED"


def test_whose_key_was_lost_speaks_again_at_a_real_ledger(
    tmp_path: Path, ledger: RealLedger
) -> None:
    (author,) = [key_id for key_id, pin in ledger.pins.by_key.items() if pin.id == "gauge"]
    path = tmp_path / "gauge.key"
    key = draw_successor(path, author)
    request = request_recovery(key, author, ledger.pins.digest)
    with LedgerClient(ledger.target) as client:
        publish(
            client,
            ledger.key("saviour"),
            request.message("a test"),
            now_ms=5,
            pins=ledger.pins,
            origin=ORIGIN,
        )
        fact = governance_pb2.Fact(agreement=ledger.pins.digest, indicator="x", source="s")
        publish(client, path, fact, now_ms=6, pins=ledger.pins, origin=ORIGIN)
        assert client.speaks(author)
