import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protos.stillwatch.statement.v1 import governance_pb2 as pb
from statements.keys import write_signing_key
from statements.publication import Published
from statements.signing import SigningKey
from stillwatch import main
from tests.unit.verifier.logbook import Logbook
from verifier.agreement import speaking
from verifier.agreement.explanation import state_as_json, state_as_text
from verifier.agreement.lifecycle import replay
from verifier.agreement.parse import parse_agreement
from verifier.agreement.pinning import pin

WHO = {"parties": "aurora", "evaluators": "meridian", "adjudicators": "judge-tanaka"}
VERDICT = "00" * 32


@pytest.fixture(scope="module")
def place(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agreement")
    keys = {}
    for table, name in WHO.items():
        key = SigningKey.generate()
        write_signing_key(folder / f"{name}.key", key)
        keys[table] = {name: f"sha256:{key.key_id.hex()}"}
    pinned = pin(text, keys=keys, ledgers=[], overrides={}, rehearsal=False)
    (folder / "agreement.toml").write_text(pinned)
    return folder


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    said: list[object] = []

    def publish(client: object, key_path: Path, message: object, **given: object) -> Published:
        said.append(message)
        return Published(b"\7" * 32, 5, b"")

    monkeypatch.setattr(speaking, "publish", publish)
    return said


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def speak(place: Path, who: str, *words: str) -> Result:
    common = ["--key", f"{place}/{who}.key", "--ledger", "127.0.0.1:1"]
    return run(*words, *common, "--agreement", f"{place}/agreement.toml", "-o", "json")


def test_check_prints_remarks_and_exits_0(place: Path) -> None:
    result = run("agreement", "check", f"{place}/agreement.toml", "-o", "json")
    assert result.exit_code == 0
    assert "QUORUM_NONE" in {r["reason"] for r in json.loads(result.stdout)["remarks"]}
    assert "QUORUM NONE" in run("agreement", "check", f"{place}/agreement.toml").stdout


def test_check_refuses_with_2_what_does_not_parse_or_cannot_be_verified(
    place: Path, tmp_path: Path
) -> None:
    text = (place / "agreement.toml").read_text()
    for old, new, words in [
        ("quorum = 2", "quorum = 9", "IMPOSSIBLE_QUORUM"),
        ("3e25 FLOP", "1e20 FLOP", "CAP_NOT_VERIFIABLE"),
        ("notice =", "notcie =", "did you mean 'notice'"),
        ("indicator.sabotage_caught", "indicator.nothing", "UNKNOWN_INDICATOR"),
    ]:
        (tmp_path / "bad.toml").write_text(text.replace(old, new))
        result = run("agreement", "check", f"{tmp_path}/bad.toml")
        assert result.exit_code == 2
        assert words in result.output


def test_parties_evaluators_and_the_panel_can_speak(place: Path, sent: list[object]) -> None:
    fact = ["--indicator", "task_horizon", "--value", "16", "--source", "METR"]
    fact += ["--observed-at", "2026-05-01T00:00:00Z", "--document", f"{place}/agreement.toml"]
    about = ["--finding", "F1", "--verdict", VERDICT]
    vote = ["--party", "borealis", "--outcome", "upheld", "--reason", "clear"]
    results = [
        speak(place, "aurora", "agreement", "accede"),
        speak(place, "aurora", "agreement", "withdraw", "--reason", "over"),
        speak(place, "meridian", "fact", "publish", *fact),
        speak(place, "aurora", "finding", "reply", *about, "--text", "no"),
        speak(place, "judge-tanaka", "finding", "rule", *about, *vote),
    ]
    assert [result.exit_code for result in results] == [0] * 5, [r.output for r in results]
    assert json.loads(results[0].stdout)["index"] == 5
    assert [type(message) for message in sent] == [
        pb.Accession,
        pb.Withdrawal,
        pb.Fact,
        pb.Reply,
        pb.Ruling,
    ]
    published = sent[2]
    assert isinstance(published, pb.Fact)
    assert (published.value, published.observed_at) == (16.0, 1777593600000)
    assert len(published.document) == 32


@pytest.mark.parametrize(
    ("who", "words", "said"),
    [
        ("meridian", "agreement accede", "takes one of parties"),
        ("meridian", "fact publish --indicator x --value 1 --source s", "no indicator 'x'"),
        ("meridian", "fact publish --indicator task_horizon --value nan --source s", "finite"),
        (
            "meridian",
            "fact publish --indicator task_horizon --value 1 --source s --observed-at May",
            "2026-06-01T00:00:00Z",
        ),
        ("aurora", "finding reply --finding F --verdict 12 --text t", "64 hexadecimal"),
        (
            "judge-tanaka",
            f"finding rule --finding F --verdict {VERDICT} --party x --outcome upheld --reason r",
            "no party 'x'",
        ),
        ("aurora", "agreement accede --origin elsewhere", "lists no log 'elsewhere'"),
    ],
)
def test_what_would_count_for_nothing_is_refused_before_it_is_sent(
    place: Path, sent: list[object], who: str, words: str, said: str
) -> None:
    result = speak(place, who, *words.split())
    assert result.exit_code == 2
    assert said in result.output
    assert not sent


def test_a_key_that_nobody_pinned_cannot_speak(place: Path, tmp_path: Path) -> None:
    write_signing_key(tmp_path / "x.key", SigningKey.generate())
    words = ["--key", f"{tmp_path}/x.key", "--ledger", "127.0.0.1:1"]
    result = run("agreement", "accede", *words, "--agreement", f"{place}/agreement.toml")
    assert result.exit_code == 2
    assert "pins no such key" in result.output


def test_a_scaled_clock_is_refused_outside_rehearsals(place: Path, sent: list[object]) -> None:
    result = speak(place, "aurora", "agreement", "accede", "--rehearsal-clock", "0:0:60")
    assert result.exit_code == 4
    assert "SCALED_CLOCK" in result.output


def test_a_state_is_told_in_words_and_as_json(text: str) -> None:
    agreement = parse_agreement(text.encode())
    state = replay(agreement, [], 1_777_593_600_000)
    words = state_as_text(agreement, state)
    assert "stage    proposed, since 2026-05-01T00:00:00Z" in words
    assert "task_horizon: no value (0 of 2 signers)" in words
    tree = state_as_json(agreement, state)
    assert json.loads(json.dumps(tree))["undetermined"] == ["trigger.condition", "lift.condition"]


def test_the_state_is_read_from_the_log_itself_and_names_what_brought_it_there(
    tmp_path: Path,
) -> None:
    book = Logbook.begin()
    (tmp_path / "agreement.toml").write_text(book.text)
    mine = book.pins.digest
    acceded = [
        book.say(party, pb.Accession(agreement=mine, party=party))
        for party in ("aurora", "borealis", "cygnus")
    ]
    facts = []
    for signer, stage in (("meridian", "armed"), ("northlight", "noticed")):
        for indicator, value in (("task_horizon", 16.0), ("training_speedup", 52.0)):
            fact = pb.Fact(agreement=mine, indicator=indicator, value=value, source="a report")
            facts.append(book.say(signer, fact))
        book.now_ms += 60_000
        book.tick()
        mirror = tmp_path / signer
        book.serve(mirror)
        words = ["--agreement", f"{tmp_path}/agreement.toml", "--mirror", str(mirror)]
        told = run("agreement", "state", *words, "-o", "json")
        assert told.exit_code == 0, told.output
        tree = json.loads(told.stdout)
        assert tree["stage"] == stage
        assert tree["members"] == ["aurora", "borealis", "cygnus"]
        assert f"stage    {stage}" in run("agreement", "state", *words).stdout
    by = {fired["row"]: set(fired["statements"]) for fired in tree["history"]}
    assert by["armed"] == {book.ids[index].hex() for index in acceded}
    assert {book.ids[index].hex() for index in facts} == by["triggered"]


def test_a_folder_that_holds_no_log_has_no_state(place: Path, tmp_path: Path) -> None:
    words = ["--agreement", f"{place}/agreement.toml", "--mirror", str(tmp_path)]
    result = run("agreement", "state", *words)
    assert result.exit_code == 4
    assert "Traceback" not in result.output
