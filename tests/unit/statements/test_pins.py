import pytest

from statements.errors import PinsError
from statements.pins import Role, agreement_digest, read_pins

TEXT = f"""
[agreement]
id = "pause"
[[parties]]
id = "aster"
key = "sha256:{"11" * 32}"
[[adjudicators]]
id = "panel-1"
key = "sha256:{"22" * 32}"
[[ledgers]]
origin = "log.example/one"
vkey = "log.example/one+00000000+AAAA"
key = "sha256:{"33" * 32}"
[witnesses]
policy = "quorum none\\n"
[windows]
length = "60 s"
late_grace = "10 min"
tick = "1 min"
"""


def refused(text: str) -> str:
    with pytest.raises(PinsError) as caught:
        read_pins(text.encode())
    return caught.value.reason


def test_the_root_of_trust_is_read_from_the_agreements_bytes() -> None:
    pins = read_pins(TEXT.encode())
    assert pins.digest == agreement_digest(TEXT.encode())
    assert pins.by_key[b"\x11" * 32].role is Role.PARTY
    assert pins.by_key[b"\x22" * 32].id == "panel-1"
    assert pins.by_key[b"\x33" * 32].role is Role.LEDGER
    assert pins.ledger("log.example/one").key_id == b"\x33" * 32
    assert (pins.window_ms, pins.late_grace_ms, pins.tick_ms) == (60_000, 600_000, 60_000)


def test_a_log_that_the_agreement_does_not_list_is_refused() -> None:
    with pytest.raises(PinsError, match=r"only log\.example/one"):
        read_pins(TEXT.encode()).ledger("other")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[agreement]", "[agreement", "NOT_TOML"),
        ("[[parties]]", "[parties]", "MISSING_TABLE"),
        ("[windows]", "[window]", "MISSING_TABLE"),
        ('id = "aster"', "id = 7", "MISSING_VALUE"),
        ('"sha256:11', '"sha256:1', "BAD_KEY_DIGEST"),
        ('"sha256:22', '"sha512:22', "BAD_KEY_DIGEST"),
        ("22" * 32, "11" * 32, "KEY_PINNED_TWICE"),
        ('"60 s"', '"60"', "BAD_DURATION"),
        ('"60 s"', '"0 s"', "BAD_DURATION"),
        ('"60 s"', f'"{"9" * 5_000} s"', "BAD_DURATION"),
        ("[agreement]", f"deep = {'[' * 20_000}", "NOT_TOML"),
        ("[agreement]", f"large = {'9' * 5_000}", "NOT_TOML"),
        ("[[ledgers]]", "[[somewhere]]", "NO_LEDGER"),
    ],
)
def test_a_malformed_root_of_trust_is_refused(old: str, new: str, reason: str) -> None:
    assert old in TEXT
    assert refused(TEXT.replace(old, new)) == reason


RECOVERY = TEXT.replace(
    f'"sha256:{"11" * 32}"', f'"sha256:{"11" * 32}"\nrecovery = "sha256:{"aa" * 32}"'
)
PANEL = (
    RECOVERY
    + f"""
[[adjudicators]]
id = "panel-2"
key = "sha256:{"44" * 32}"
[[meters]]
id = "hall"
key = "sha256:{"55" * 32}"
party = "aster"
[panel]
members = ["panel-1", "panel-2"]
quorum = 1
[[panel.conflicts]]
adjudicator = "panel-2"
parties = ["aster"]
"""
)


def test_recovery_keys_are_read_with_whose_they_are() -> None:
    pins = read_pins(RECOVERY.encode())
    assert pins.by_recovery[b"\xaa" * 32] is pins.by_key[b"\x11" * 32]
    assert pins.by_key[b"\x11" * 32].recovery == b"\xaa" * 32
    assert pins.by_key[b"\x22" * 32].recovery is None
    assert pins.panel is None


@pytest.mark.parametrize("other", ["11", "22", "33"])
def test_a_recovery_key_speaks_for_nothing_else(other: str) -> None:
    assert refused(RECOVERY.replace("aa" * 32, other * 32)) == "KEY_PINNED_TWICE"


def test_two_do_not_share_a_recovery_key() -> None:
    shared = f'"sha256:{"22" * 32}"\nrecovery = "sha256:{"aa" * 32}"'
    assert refused(RECOVERY.replace(f'"sha256:{"22" * 32}"', shared)) == "KEY_PINNED_TWICE"


def test_a_ledger_has_no_recovery_key() -> None:
    text = TEXT.replace(f'"sha256:{"33" * 32}"', f'"sha256:{"33" * 32}"\nrecovery = "x"')
    assert refused(text) == "BAD_RECOVERY"


def test_nobody_rules_on_its_own_key_nor_on_one_of_a_party_that_it_is_tied_to() -> None:
    panel = read_pins(PANEL.encode()).panel
    assert panel is not None
    first, second = b"\x22" * 32, b"\x44" * 32
    assert panel.quorum == 1
    assert panel.able == {
        b"\x11" * 32: {first},  # the party
        b"\x55" * 32: {first},  # its meter
        first: {second},
        second: {first},
    }


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("quorum = 1", 'quorum = "1"', "BAD_PANEL"),
        ("quorum = 1", "quorum = 0", "BAD_PANEL"),
        ("quorum = 1", "quorum = true", "BAD_PANEL"),
        ('members = ["panel-1"', 'members = ["panel-9"', "UNKNOWN_NAME"),
        ('members = ["panel-1", "panel-2"]', 'members = "panel-1"', "MISSING_VALUE"),
        ('recovery = "sha256:aa', 'recovery = "sha256:a', "BAD_KEY_DIGEST"),
    ],
)
def test_a_malformed_panel_or_recovery_key_is_refused(old: str, new: str, reason: str) -> None:
    assert old in PANEL
    assert refused(PANEL.replace(old, new)) == reason


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(PinsError):
        read_pins(b"\xff\xfe")
