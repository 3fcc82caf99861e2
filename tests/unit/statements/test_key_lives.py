"""Who may replace whose key: the one rule of ledgers and auditors, and its laws under whatever anybody says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.stillwatch.statement.v1 import governance_pb2, identity_pb2
from statements.errors import KeyLifeError
from statements.header import Header
from statements.key_lives import Change, Deed, KeyLives
from statements.kinds import kind_of
from statements.pins import Pins, read_pins
from statements.signing import key_digest
from tests.unit.statements.test_rotation import HEADER

PEOPLE: Final = ("aster", "birch", "evaluator", "judge-1", "judge-2", "judge-3", "ledger")
NODES: Final = ("node-1", "node-2")


def of(name: str) -> bytes:
    """Return the digest of a key; of that name's, whose SPKI is the name."""
    return key_digest(name.encode())


def _pinned() -> Pins:
    rows = [
        f'[[{table}]]\n{"origin" if table == "ledgers" else "id"} = "{name}"\nkey = "sha256:{of(name).hex()}"\n'
        + (f'recovery = "sha256:{of("saviour-of-" + name).hex()}"\n' if recovered else "")
        + ('vkey = "v"\n' if table == "ledgers" else "")
        for table, name, recovered in (
            ("parties", "aster", True),
            ("parties", "birch", False),
            ("evaluators", "evaluator", True),
            ("adjudicators", "judge-1", True),
            ("adjudicators", "judge-2", False),
            ("adjudicators", "judge-3", False),
            ("ledgers", "ledger", False),
        )
    ]
    text = """
[agreement]
id = "pause"
[witnesses]
policy = "quorum none"
[windows]
length = "60 s"
late_grace = "5 min"
tick = "60 s"
[panel]
members = ["judge-1", "judge-2", "judge-3"]
quorum = 2
[[panel.conflicts]]
adjudicator = "judge-3"
parties = ["birch"]
"""
    return read_pins("".join([text, *rows]).encode())


PINS: Final = _pinned()


@dataclass
class Log:
    """The lives of keys, and who holds which key now. ``undo`` takes each change back."""

    lives: KeyLives
    changes: list[Change]

    def header(self, author: str, key: str | None = None) -> Header:
        key_id = self.lives.current(of(author)) if key is None else of(key)
        return HEADER._replace(author=of(author), key_id=key_id)

    def say(self, author: str, deed: Deed) -> Change:
        """Let the holder of an author's newest key say something about keys."""
        header = self.header(author)._replace(kind=int(kind_of(deed)))
        self.lives.judge(header, deed)
        self.changes.append(self.lives.apply(header, deed))
        return self.changes[-1]

    def refused(self, author: str, deed: Deed) -> str:
        with pytest.raises(KeyLifeError) as caught:
            self.say(author, deed)
        return caught.value.reason


@pytest.fixture
def log() -> Log:
    log = Log(KeyLives(PINS), [])
    log.say("aster", enrols("node-1"))
    return log


def enrols(node: str) -> identity_pb2.Enrolment:
    return identity_pb2.Enrolment(node_key=node.encode())


def goes_on(key: str) -> identity_pb2.Rotation:
    return identity_pb2.Rotation(new_key=key.encode())


def replaces(author: str, key: str) -> identity_pb2.Rotation:
    return identity_pb2.Rotation(new_key=key.encode(), author=of(author))


def revokes(key: str) -> identity_pb2.Revocation:
    return identity_pb2.Revocation(key_id=of(key))


# -------------------------------------------------------------------------------------------- who may


def test_a_recovery_key_gives_its_author_a_new_key_and_lives_on(log: Log) -> None:
    change = log.say("saviour-of-aster", replaces("aster", "second"))
    assert (change.began, change.ended) == (of("second"), (of("aster"),))
    assert log.lives.author_of(of("second")) == of("aster")
    assert not log.lives.is_live(of("aster"))
    assert log.lives.speaks(of("aster"))
    change = log.say("saviour-of-aster", replaces("aster", "third"))
    assert (change.began, change.ended) == (of("third"), (of("second"),))


def test_it_ends_whatever_key_a_thief_has_gone_on_under(log: Log) -> None:
    log.say("aster", goes_on("thiefs"))
    assert log.say("saviour-of-aster", replaces("aster", "second")).ended == (of("thiefs"),)
    assert log.lives.is_party(of("aster")), "it is the same party"


@pytest.mark.parametrize(
    ("who", "author"),
    [
        ("saviour-of-aster", "birch"),
        ("saviour-of-aster", "node-1"),
        ("saviour-of-aster", "saviour-of-aster"),
        ("saviour-of-aster", "saviour-of-evaluator"),
        ("saviour-of-aster", "nobody"),
        ("aster", "aster"),
        ("aster", "saviour-of-aster"),
        ("birch", "aster"),
        ("birch", "node-1"),
        ("aster", "ledger"),
        ("judge-1", "ledger"),
        ("judge-1", "node-1"),
        ("judge-1", "judge-1"),
        ("judge-3", "birch"),
        ("judge-1", "saviour-of-aster"),
        ("node-1", "aster"),
        ("node-1", "node-1"),
    ],
)
def test_nobody_else_replaces_a_key(log: Log, who: str, author: str) -> None:
    assert log.refused(who, replaces(author, "fresh")) == "BAD_ROTATION"


@pytest.mark.parametrize("who", ["ledger", "saviour-of-aster"])
def test_the_keys_of_ledgers_and_recovery_keys_are_for_good(log: Log, who: str) -> None:
    assert log.refused(who, goes_on("fresh")) == "BAD_ROTATION"


@pytest.mark.parametrize(
    "deed",
    [enrols("node-2"), revokes("node-1"), governance_pb2.Accession(), governance_pb2.Ruling()],
)
def test_a_recovery_key_says_nothing_else(log: Log, deed: Deed) -> None:
    assert log.refused("saviour-of-aster", deed) == "WRONG_AUTHOR"


@pytest.mark.parametrize(
    "taken", ["aster", "birch", "saviour-of-aster", "saviour-of-evaluator", "node-1", "ledger"]
)
def test_a_new_key_is_a_fresh_one(log: Log, taken: str) -> None:
    assert log.refused("saviour-of-aster", replaces("aster", taken)) == "BAD_ROTATION"
    assert log.refused("aster", goes_on(taken)) == "BAD_ROTATION"


def test_an_ended_key_comes_never_back(log: Log) -> None:
    log.say("saviour-of-aster", replaces("aster", "second"))
    assert log.refused("saviour-of-aster", replaces("aster", "aster")) == "BAD_ROTATION"
    assert log.refused("birch", enrols("aster")) == "BAD_ENROLMENT"


def test_a_recovery_key_is_nobody_s_node(log: Log) -> None:
    assert log.refused("birch", enrols("saviour-of-aster")) == "BAD_ENROLMENT"


def test_a_party_replaces_the_key_of_its_node_which_stays_the_same_node(log: Log) -> None:
    log.say("aster", replaces("node-1", "second"))
    assert log.lives.author_of(of("second")) == of("node-1")
    assert log.lives.speaks(of("node-1"))


def test_a_rival_that_enrols_a_node_with_a_stolen_copy_of_its_key_has_no_say_over_it(
    log: Log,
) -> None:
    log.say("birch", enrols("node-1"))
    assert log.refused("birch", revokes("node-1")) == "BAD_REVOCATION"
    assert log.refused("birch", replaces("node-1", "fresh")) == "BAD_ROTATION"
    log.say("aster", replaces("node-1", "second"))
    assert log.refused("birch", enrols("node-1")) == "BAD_ENROLMENT", "the copy proves nothing more"


def test_what_a_thief_of_the_party_s_key_revoked_speaks_again_once_the_party_is_back(
    log: Log,
) -> None:
    log.say("aster", revokes("node-1"))
    assert not log.lives.speaks(of("node-1"))
    log.say("saviour-of-aster", replaces("aster", "second"))
    log.say("aster", replaces("node-1", "nodes-second"))
    assert log.lives.speaks(of("node-1"))
    assert not log.lives.is_live(of("node-1"))


# -------------------------------------------------------------------------------------------- the panel


def test_a_quorum_for_one_key_replaces_a_key_and_ends_the_recovery_key(log: Log) -> None:
    first = log.say("judge-1", replaces("aster", "given"))
    assert (first.began, first.ended) == (None, ())
    assert log.lives.is_live(of("aster"))
    assert not log.lives.may_appear(of("given"))
    second = log.say("judge-2", replaces("aster", "given"))
    assert (second.began, set(second.ended)) == (
        of("given"),
        {of("aster"), of("saviour-of-aster")},
    )
    assert not log.lives.is_live(of("saviour-of-aster"))
    assert log.lives.speaks(of("aster"))


def test_votes_for_two_keys_give_neither_and_the_newest_of_each_counts(log: Log) -> None:
    log.say("judge-1", replaces("evaluator", "one"))
    assert log.say("judge-1", replaces("evaluator", "one")).began is None, "once is one vote"
    assert log.say("judge-2", replaces("evaluator", "two")).began is None
    assert log.say("judge-1", replaces("evaluator", "two")).began == of("two")


def test_votes_are_spent_by_what_they_decide(log: Log) -> None:
    log.say("judge-1", replaces("birch", "given"))
    log.say("judge-2", replaces("birch", "given"))
    assert log.say("judge-1", replaces("birch", "again")).began is None


def test_a_vote_for_a_key_that_began_to_live_meanwhile_is_refused(log: Log) -> None:
    log.say("judge-1", replaces("birch", "given"))
    log.say("aster", enrols("given"))
    assert log.refused("judge-2", replaces("birch", "given")) == "BAD_ROTATION"


def test_a_judge_that_went_on_under_another_key_has_one_vote(log: Log) -> None:
    log.say("judge-1", replaces("birch", "given"))
    log.say("judge-1", goes_on("judges-second"))
    assert log.say("judge-1", replaces("birch", "given")).began is None


# -------------------------------------------------------------------------------------------- laws

_NAMES: Final = (
    *PEOPLE,
    *NODES,
    *(f"saviour-of-{name}" for name in ("aster", "evaluator", "judge-1")),
)
_KEYS: Final = tuple(f"key-{at}" for at in range(8))
_deeds = st.one_of(
    st.builds(enrols, st.sampled_from([*NODES, *_KEYS])),
    st.builds(goes_on, st.sampled_from([*_KEYS, *_NAMES])),
    st.builds(replaces, st.sampled_from(_NAMES), st.sampled_from(_KEYS)),
    st.builds(revokes, st.sampled_from([*_NAMES, *_KEYS])),
)
_story = st.lists(st.tuples(st.sampled_from(_NAMES), _deeds), max_size=40)


def _play(story: Sequence[tuple[str, Deed]], log: Log) -> list[tuple[Header, Deed]]:
    """Let everybody say what the story has, as far as a ledger lets them; return what was admitted."""
    admitted = []
    for author, deed in story:
        header = log.header(author)
        if not log.lives.is_live(header.key_id) or log.lives.author_of(header.key_id) != of(author):
            continue
        try:
            log.say(author, deed)
        except KeyLifeError:
            continue
        admitted.append((header, deed))
    return admitted


def _state(lives: KeyLives) -> list[object]:
    """Return all that a reader can ask, of all keys there are."""
    digests = [of(name) for name in (*_NAMES, *_KEYS)]
    return [
        (
            lives.may_appear(one),
            lives.is_live(one),
            lives.author_of(one),
            lives.current(one),
            [lives.enrolled_by(one, of(party)) for party in ("aster", "birch")],
        )
        for one in digests
    ]


@given(_story)
def test_each_author_has_at_most_one_live_key_and_no_key_lives_twice_or_changes_hands(
    story: Sequence[tuple[str, Deed]],
) -> None:
    log = Log(KeyLives(PINS), [])
    lives = log.lives
    ended: set[bytes] = set()
    authors: dict[bytes, bytes] = {}
    for one in story:
        _play([one], log)
        appeared = [of(name) for name in (*_NAMES, *_KEYS) if lives.may_appear(of(name))]
        live = [key_id for key_id in appeared if lives.is_live(key_id)]
        assert len({lives.author_of(key_id) for key_id in live}) == len(live)
        assert all(lives.current(lives.author_of(key_id)) == key_id for key_id in live)
        assert ended.isdisjoint(live)
        ended |= set(appeared) - set(live)
        for key_id in appeared:
            assert authors.setdefault(key_id, lives.author_of(key_id)) == lives.author_of(key_id)


@given(_story)
def test_a_recovery_key_ends_by_the_panel_alone_and_the_pinned_stay_who_they_are(
    story: Sequence[tuple[str, Deed]],
) -> None:
    log = Log(KeyLives(PINS), [])
    for one in story:
        before = {
            name: log.lives.is_live(of(f"saviour-of-{name}")) for name in ("aster", "evaluator")
        }
        _play([one], log)
        for name, lived in before.items():
            if lived and not log.lives.is_live(of(f"saviour-of-{name}")):
                assert one[0].startswith("judge-")
        assert log.lives.is_live(of("ledger"))
        assert log.lives.is_party(of("aster"))


@given(_story, _story)
def test_what_did_not_last_leaves_no_trace_and_what_lasted_is_known_again(
    kept: Sequence[tuple[str, Deed]], lost: Sequence[tuple[str, Deed]]
) -> None:
    """The journal failed after ``kept``; and a ledger that starts again learns what it logged."""
    log = Log(KeyLives(PINS), [])
    admitted = _play(kept, log)
    before = _state(log.lives)
    log.changes.clear()
    _play(lost, log)
    for change in reversed(log.changes):
        change.undo()
    assert _state(log.lives) == before
    again = KeyLives(PINS)
    for header, deed in admitted:
        again.apply(header, deed)
    assert _state(again) == before
    assert _play(lost, log) == _play(lost, Log(again, [])), "votes included"
