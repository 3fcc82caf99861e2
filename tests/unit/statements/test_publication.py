"""Speaking from a command line: one place of the chain, one statement, whatever goes wrong in between."""

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from protos.stillwatch.ledger.v1 import ledger_pb2
from protos.stillwatch.statement.v1 import governance_pb2
from statements.errors import KeyFileError, SubmissionError
from statements.header import Header, decode_header
from statements.keys import write_signing_key
from statements.kinds import Kind
from statements.ledger_client import LedgerClient
from statements.publication import Published, publish
from statements.record import Record, decode_record, encode_record
from statements.signing import SigningKey
from tests.unit.statements.conftest import ORIGIN, Liar, RealLedger, no_room


@pytest.fixture
def key_path(tmp_path: Path) -> Path:
    path = tmp_path / "party.key"
    write_signing_key(path, SigningKey.generate())
    return path


@pytest.fixture
def own_key(tmp_path: Path, ledger: RealLedger) -> Path:
    """The real ledger's party key in a folder of its own, as on another machine: without a chain file."""
    path = tmp_path / "party.key"
    path.write_bytes(ledger.party.read_bytes())
    path.chmod(0o600)
    return path


def say(client: LedgerClient, ledger: RealLedger, path: Path, text: str = "") -> Published:
    message = governance_pb2.Accession(agreement=ledger.pins.digest, party=text or "aster")
    return publish(client, path, message, now_ms=5, pins=ledger.pins, origin=ORIGIN)


def header(published: Published) -> Header:
    return decode_header(decode_record(published.record).header)


def receipts(request: ledger_pb2.AppendRequest) -> ledger_pb2.AppendResponse:
    return ledger_pb2.AppendResponse(
        results=[
            ledger_pb2.AppendResult(
                receipt=ledger_pb2.Receipt(
                    index=at,
                    record=encode_record(Record(one.header, one.signature, 0)),
                    body_held=True,
                )
            )
            for at, one in enumerate(request.statements)
        ]
    )


def refusal(reason: ledger_pb2.Reason.ValueType) -> Callable[..., ledger_pb2.AppendResponse]:
    return lambda request: ledger_pb2.AppendResponse(
        results=[ledger_pb2.AppendResult(reason=reason, message="no")] * len(request.statements)
    )


def test_a_chain_is_opened_once_and_gone_on_with(ledger: RealLedger, own_key: Path) -> None:
    with LedgerClient(ledger.target) as client:
        first, second = say(client, ledger, own_key), say(client, ledger, own_key)
    assert [header(one).kind for one in (first, second)] == [Kind.ACCESSION] * 2
    assert [header(one).sequence for one in (first, second)] == [1, 2]
    assert header(second).previous == first.statement_id
    assert second.index == first.index + 1
    chain = own_key.with_name("party.key.chain")
    assert stat.S_IMODE(chain.stat().st_mode) == 0o600


def test_without_its_chain_file_a_key_opens_after_what_the_log_has(
    ledger: RealLedger, own_key: Path
) -> None:
    with LedgerClient(ledger.target) as client:
        first = say(client, ledger, own_key)
        own_key.with_name("party.key.chain").unlink()
        second = say(client, ledger, own_key)
        heads = {head.epoch: head for head in client.author(header(first).author)}
    assert header(second).epoch != header(first).epoch
    assert heads[header(first).epoch].statement_id == first.statement_id


def test_what_was_not_acknowledged_is_sent_first_and_unchanged(
    liar: Liar, ledger: RealLedger, key_path: Path
) -> None:
    liar.answers["GetAuthor"] = ledger_pb2.GetAuthorResponse()
    with LedgerClient(liar.target) as client:
        with pytest.raises(SubmissionError):  # the ledger hangs up
            say(client, ledger, key_path, "one")
        liar.answer_append = refusal(ledger_pb2.REASON_STORAGE)
        with pytest.raises(SubmissionError) as caught:
            say(client, ledger, key_path, "two")
        assert caught.value.reason == "STORAGE"
        liar.answer_append = receipts
        say(client, ledger, key_path, "three")
    sent = [[one.header for one in request.statements] for request in liar.appends]
    assert [len(batch) for batch in sent] == [2, 3, 4]
    assert sent[0] == sent[1][:2] == sent[2][:2]
    assert [decode_header(one).sequence for one in sent[2]] == [0, 1, 2, 3]


def test_a_statement_refused_for_good_gives_its_chain_up(
    liar: Liar, ledger: RealLedger, key_path: Path
) -> None:
    liar.answers["GetAuthor"] = ledger_pb2.GetAuthorResponse()
    liar.answer_append = refusal(ledger_pb2.REASON_UNKNOWN_KEY)
    with LedgerClient(liar.target) as client:
        with pytest.raises(SubmissionError) as caught:
            say(client, ledger, key_path)
        assert caught.value.reason == "UNKNOWN_KEY"
        liar.answer_append = receipts
        assert header(say(client, ledger, key_path)).sequence == 1
    epochs = {decode_header(request.statements[0].header).epoch for request in liar.appends}
    assert len(epochs) == 2


def test_an_acknowledgement_of_something_else_is_none(
    liar: Liar, ledger: RealLedger, key_path: Path
) -> None:
    liar.answers["GetAuthor"] = ledger_pb2.GetAuthorResponse()

    def swapped(request: ledger_pb2.AppendRequest) -> ledger_pb2.AppendResponse:
        answer = receipts(request)
        return ledger_pb2.AppendResponse(results=list(answer.results)[::-1])

    liar.answer_append = swapped
    with LedgerClient(liar.target) as client:
        with pytest.raises(SubmissionError) as caught:
            say(client, ledger, key_path, "one")
        assert caught.value.reason == "BAD_RECEIPT"
        liar.answer_append = receipts
        say(client, ledger, key_path, "two")
    assert len(liar.appends[1].statements) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"key_id": "00"}, "another key"),
        ({"epoch": "no hexadecimal"}, "ValueError"),
        ({"unsent": [["00"]]}, "TypeError"),
        ({"sequence": None}, "TypeError"),
    ],
)
def test_a_chain_file_that_does_not_fit_is_refused_and_says_what_to_do(
    liar: Liar, ledger: RealLedger, key_path: Path, change: dict[str, object], says: str
) -> None:
    liar.answers["GetAuthor"] = ledger_pb2.GetAuthorResponse()
    liar.answer_append = receipts
    chain = key_path.with_name("party.key.chain")
    with LedgerClient(liar.target) as client:
        say(client, ledger, key_path)
        whole = chain.read_text()
        for text in (json.dumps(json.loads(whole) | change), "[]", whole[:-5]):
            chain.write_text(text)
            with pytest.raises(KeyFileError, match="move it away") as caught:
                say(client, ledger, key_path)
            assert caught.value.reason == "BAD_CHAIN_FILE"
            if text.startswith("{") and text.endswith("}"):
                assert says in str(caught.value)
    assert len(liar.appends) == 1


SPEAK_TWICE = """
import sys
from pathlib import Path
from protos.stillwatch.statement.v1 import governance_pb2
from statements.ledger_client import LedgerClient
from statements.pins import read_pins
from statements.publication import publish
target, key, agreement, origin = sys.argv[1:]
pins = read_pins(Path(agreement).read_bytes())
with LedgerClient(target) as client:
    for _ in range(5):
        message = governance_pb2.Accession(agreement=pins.digest, party="aster")
        print(publish(client, Path(key), message, now_ms=5, pins=pins, origin=origin).index)
"""


def test_processes_that_speak_with_one_key_take_turns(
    ledger: RealLedger, own_key: Path, root: Path
) -> None:
    agreement = ledger.party.with_name("agreement.toml")
    command = [sys.executable, "-c", SPEAK_TWICE, ledger.target, str(own_key), str(agreement)]
    processes = [
        subprocess.Popen([*command, ORIGIN], cwd=root, stdout=subprocess.PIPE) for _ in range(3)
    ]
    indices = [int(line) for one in processes for line in one.communicate()[0].split()]
    assert [one.returncode for one in processes] == [0, 0, 0]
    assert len(set(indices)) == 15
    assert json.loads(own_key.with_name("party.key.chain").read_text())["sequence"] == 16


def test_a_chain_file_that_cannot_be_written_stops_the_statement_before_it_is_sent(
    liar: Liar, ledger: RealLedger, key_path: Path
) -> None:
    liar.answers["GetAuthor"] = ledger_pb2.GetAuthorResponse()
    liar.answer_append = receipts
    with LedgerClient(liar.target) as client:
        with no_room(), pytest.raises(KeyFileError) as caught:
            say(client, ledger, key_path)
        assert caught.value.reason == "CHAIN_UNWRITABLE"
        assert not liar.appends
        assert header(say(client, ledger, key_path)).sequence == 1
