import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tlog.checkpoint import Checkpoint
from tlog.cosignature import CosigningKey
from tlog.errors import NoteError, PolicyError
from tlog.note import Note, Signer
from tlog.policy import Quorum, parse_policy, verify_intersection, verify_quorum, verify_time

LOG = Signer("log.example/one", Ed25519PrivateKey.from_private_bytes(b"l" * 32))
NAMES = ["X1", "X2", "X3", "Y1", "Y2", "Y3"]
KEYS = {
    name: CosigningKey(
        f"{name.lower()}.example", Ed25519PrivateKey.from_private_bytes(name.encode() * 16)
    )
    for name in NAMES
}
TEXT = f"""
# the example of the specification
log {LOG.vkey} https://log.example/
{chr(10).join(f"witness {name} {KEYS[name].vkey}" for name in NAMES[:3])}
group X-witnesses 2 X1 X2 X3
\t witness Y1 {KEYS["Y1"].vkey}   https://y1.example/
witness Y2 {KEYS["Y2"].vkey}
witness Y3 {KEYS["Y3"].vkey}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""
POLICY = parse_policy(TEXT)
CHECKPOINT = Checkpoint(LOG.name, 9, b"r" * 32)


def three(quorum: str) -> str:
    lines = [f"witness {name} {KEYS[name].vkey}" for name in NAMES[:3]]
    return "\n".join([*lines, quorum, "quorum Q"])


def cosigned(**times: int) -> Note:
    note = LOG.sign(CHECKPOINT.text)
    lines = [KEYS[name].cosign(note.text, time_s) for name, time_s in times.items()]
    return Note(note.text, (*note.signatures, *lines))


@given(st.sets(st.sampled_from(NAMES)))
def test_the_specifications_example_needs_two_of_x_and_one_of_y(names: set[str]) -> None:
    enough = len(names & set(NAMES[:3])) >= 2 and len(names & set(NAMES[3:])) >= 1
    assert POLICY.is_met(names) == enough


def test_logs_witnesses_and_urls_are_read() -> None:
    assert [log.name for log in POLICY.logs] == [LOG.name]
    assert [one.name for one in POLICY.witnesses] == NAMES
    assert POLICY.witnesses[3].url == "https://y1.example/"
    assert POLICY.voters() == tuple(NAMES)


def test_a_quorums_time_is_the_median_of_its_cosignatures() -> None:
    quorum = verify_quorum(cosigned(X1=100, X3=300, Y2=200), POLICY)
    assert quorum.times_s == {"X1": 100, "X3": 300, "Y2": 200}
    assert quorum.time_ms == 200_000


def test_cosignatures_that_are_no_quorum_are_refused() -> None:
    with pytest.raises(PolicyError) as caught:
        verify_quorum(cosigned(X1=100, Y1=100), POLICY)
    assert caught.value.reason == "NOT_COSIGNED"


def test_a_listed_witness_whose_cosignature_is_wrong_is_no_missing_one() -> None:
    note = cosigned(X1=100, X2=100, Y1=100)
    wrong = Note(note.text, (*note.signatures, *cosigned(X1=100).signatures[1:]))
    with pytest.raises(NoteError):
        verify_quorum(wrong, POLICY)


def test_quorum_none_is_met_by_nobody_and_tells_no_time() -> None:
    policy = parse_policy("quorum none\n")
    assert verify_quorum(LOG.sign(CHECKPOINT.text), policy).time_ms is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no quorum line"),
        ("quorum X", "no line above defines"),
        ("quorum none\nquorum none", "one quorum line"),
        ("quorum", "a quorum line is"),
        ("watcher X\nquorum none", "none of log, witness"),
        ("witness X\nquorum none", "a witness line is"),
        ("witness X nokey\nquorum none", "a verifier key is"),
        (f"witness X {LOG.vkey}\nquorum none", "not one that cosigns"),
        (f"log {KEYS['X1'].vkey}\nquorum none", "not an Ed25519 key"),
        (f"log {LOG.vkey}\nlog {LOG.vkey}\nquorum none", "twice"),
        (f"witness none {KEYS['X1'].vkey}\nquorum none", "is taken"),
        (f"witness A {KEYS['X1'].vkey}\nwitness B {KEYS['X1'].vkey}\nquorum A", "twice"),
        (three("group Q 0 X1"), "not '0'"),
        (three("group Q most X1"), "not 'most'"),
        (three("group Q any"), "a group line is"),
        (three("group Q any X1 X1"), "a member twice"),
        (three("group Q any none"), "no line above"),
        (three("group P any X1\ngroup Q any X1"), "a member twice"),
        ("quorum none\r", "control character"),
        ("quorum none\x00", "control character"),
    ],
)
def test_a_policy_that_makes_no_sense_names_the_line(text: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words) as caught:
        parse_policy(text)
    assert caught.value.reason == "BAD_POLICY"


def test_a_group_that_asks_for_more_than_it_has_can_never_be_met() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(three("group Q 4 X1 X2 X3"))
    assert caught.value.reason == "IMPOSSIBLE_QUORUM"


@pytest.mark.parametrize(
    ("quorum", "most_faulty"),
    [
        ("group Q all X1 X2 X3", 2),
        ("group Q 2 X1 X2 X3", 0),
    ],
)
def test_quorums_that_meet_beyond_the_fault_bound_are_accepted(
    quorum: str, most_faulty: int
) -> None:
    verify_intersection(parse_policy(three(quorum)), [], most_faulty)


@pytest.mark.parametrize(
    ("quorum", "faulty", "most_faulty"),
    [
        ("group Q any X1 X2 X3", [], 0),
        ("group Q 2 X1 X2 X3", [], 1),
        ("group Q all X1 X2 X3", [], 3),
        ("group Q 2 X1 X2 X3", ["X1"], 0),
        ("group Q all X1 X2 X3", ["X1"], 2),
    ],
)
def test_quorums_that_may_meet_in_liars_only_are_refused(
    quorum: str, faulty: list[str], most_faulty: int
) -> None:
    with pytest.raises(PolicyError) as caught:
        verify_intersection(parse_policy(three(quorum)), faulty, most_faulty)
    assert caught.value.reason == "QUORUMS_APART"


@given(
    threshold=st.integers(1, 6),
    most_faulty=st.integers(0, 6),
    own=st.sets(st.sampled_from(NAMES), max_size=2),
)
def test_the_search_agrees_with_the_rule_for_thresholds(
    threshold: int, most_faulty: int, own: set[str]
) -> None:
    """With k of n, two quorums share at least 2k - n witnesses."""
    lines = [f"witness {name} {KEYS[name].vkey}" for name in NAMES]
    text = "\n".join([*lines, f"group Q {threshold} {' '.join(NAMES)}", "quorum Q"])
    safe = 2 * threshold - len(NAMES) > most_faulty + len(own)
    if safe:
        verify_intersection(parse_policy(text), own, most_faulty)
    else:
        with pytest.raises(PolicyError):
            verify_intersection(parse_policy(text), own, most_faulty)


@given(
    threshold=st.integers(1, 6),
    most_faulty=st.integers(0, 3),
    own=st.sets(st.sampled_from(NAMES), max_size=2),
)
def test_no_quorum_has_a_liars_word_for_its_time_where_it_is_more_than_twice_the_liars(
    threshold: int, most_faulty: int, own: set[str]
) -> None:
    lines = [f"witness {name} {KEYS[name].vkey}" for name in NAMES]
    text = "\n".join([*lines, f"group Q {threshold} {' '.join(NAMES)}", "quorum Q"])
    liars = most_faulty + len(own)
    if liars == 0 or threshold > 2 * liars:
        verify_time(parse_policy(text), own, most_faulty)
    else:
        with pytest.raises(PolicyError) as caught:
            verify_time(parse_policy(text), own, most_faulty)
        assert caught.value.reason == "TIME_OF_LIARS"


def test_the_median_of_two_is_what_the_one_that_lies_about_the_past_says() -> None:
    policy = parse_policy(three("group Q all X1 X2").replace("witness X3", "# witness X3"))
    with pytest.raises(PolicyError, match="median time is what X1"):
        verify_time(policy, [], 1)
    assert Quorum({"X1": 100, "X2": 4_000}).time_ms == 100_000


def test_no_quorum_at_all_is_refused_where_one_is_wanted() -> None:
    with pytest.raises(PolicyError) as caught:
        verify_intersection(parse_policy("quorum none"), [], 0)
    assert caught.value.reason == "NO_QUORUM"
