"""A ledger's folder: its keys, who may read them, and who may run it."""

import json
import os
import stat
import tomllib
from pathlib import Path

import pytest

from ledger.errors import SetupError
from ledger.folder import LedgerFolder
from statements.errors import KeyFileError
from statements.pins import read_pins
from tests.unit.ledger.cast import ORIGIN, Cast
from tlog.errors import NoteError


@pytest.fixture
def made(tmp_path: Path) -> LedgerFolder:
    return LedgerFolder.create(tmp_path / "log", ORIGIN)


def test_a_new_folder_opens_as_what_was_made(made: LedgerFolder) -> None:
    again = LedgerFolder.open(made.path)
    assert again.origin == ORIGIN
    assert again.signer.vkey == made.signer.vkey
    assert again.key.key_id == made.key.key_id
    assert (again.journal, again.objects) == ("sqlite", "directory")


def test_keys_are_their_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = LedgerFolder.create(tmp_path / "log", ORIGIN)
    finally:
        os.umask(old)
    assert stat.S_IMODE(made.private.stat().st_mode) == 0o700
    for name in ("note.key", "statement.key"):
        assert stat.S_IMODE((made.private / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["note.key", "statement.key"])
def test_a_key_that_others_can_read_is_refused(made: LedgerFolder, name: str) -> None:
    (made.private / name).chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600") as refused:
        LedgerFolder.open(made.path)
    assert refused.value.reason == "KEY_READABLE"


@pytest.mark.parametrize("content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_note_key_that_is_none_is_refused(made: LedgerFolder, content: bytes) -> None:
    (made.private / "note.key").write_bytes(content)
    with pytest.raises(SetupError) as refused:
        LedgerFolder.open(made.path)
    assert refused.value.reason == "NOT_A_KEY"


def test_a_note_key_of_another_kind_is_refused(made: LedgerFolder) -> None:
    (made.private / "note.key").write_bytes((made.private / "statement.key").read_bytes())
    with pytest.raises(SetupError, match="no Ed25519 key"):
        LedgerFolder.open(made.path)


def test_a_missing_key_is_told(made: LedgerFolder) -> None:
    (made.private / "statement.key").unlink()
    with pytest.raises(KeyFileError):
        LedgerFolder.open(made.path)


def test_a_ledger_is_never_made_over_another(made: LedgerFolder) -> None:
    with pytest.raises(SetupError) as refused:
        LedgerFolder.create(made.path, ORIGIN)
    assert refused.value.reason == "LEDGER_EXISTS"
    assert LedgerFolder.open(made.path).signer.vkey == made.signer.vkey


def test_making_that_stopped_half_way_can_be_done_again(tmp_path: Path) -> None:
    half = tmp_path / "log/private.new"
    half.mkdir(parents=True)
    (half / "statement.key").write_bytes(b"half")
    made = LedgerFolder.create(tmp_path / "log", ORIGIN)
    assert [path.name for path in made.path.iterdir()] == ["private"]


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "line\nbreak"])
def test_an_origin_that_can_name_no_log_makes_nothing(tmp_path: Path, origin: str) -> None:
    with pytest.raises(NoteError):
        LedgerFolder.create(tmp_path / "log", origin)
    assert not (tmp_path / "log").exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError) as refused:
        LedgerFolder.create(tmp_path / "file" / "log", ORIGIN)
    assert refused.value.reason == "UNWRITABLE"


@pytest.mark.parametrize("settings", [None, "", "[]", "{}", '{"origin": "x"}', "null"])
def test_what_is_no_ledgers_folder_is_told_with_what_to_do(
    made: LedgerFolder, settings: str | None
) -> None:
    place = made.private / "ledger.json"
    place.unlink()
    if settings is not None:
        place.write_text(settings)
    with pytest.raises(SetupError, match="ledger init") as refused:
        LedgerFolder.open(made.path)
    assert refused.value.reason == "NOT_A_LEDGER"


def test_the_stanza_is_what_an_agreement_must_say(made: LedgerFolder, cast: Cast) -> None:
    cast.signer, cast.ledger_key = made.signer, made.key
    cast.__post_init__()
    assert cast.text.decode().endswith(made.stanza)
    assert tomllib.loads(made.stanza)["ledgers"][0]["origin"] == ORIGIN
    made.verify_pinned(read_pins(cast.text))


def test_an_agreement_that_pins_other_keys_is_refused_with_the_right_words(
    made: LedgerFolder, cast: Cast
) -> None:
    with pytest.raises(SetupError) as refused:
        made.verify_pinned(cast.pins)
    assert refused.value.reason == "NOT_PINNED"
    assert made.stanza in str(refused.value)


def test_one_process_at_a_time_runs_a_ledger(made: LedgerFolder) -> None:
    with (
        made.held(),
        pytest.raises(SetupError, match="stop it first") as refused,
        LedgerFolder.open(made.path).held(),
    ):
        pass
    assert refused.value.reason == "IN_USE"
    with made.held():
        pass


def test_settings_name_the_storage(made: LedgerFolder) -> None:
    assert json.loads((made.private / "ledger.json").read_text()) == {
        "origin": ORIGIN,
        "journal": "sqlite",
        "objects": "directory",
    }
