import pytest

from verifier.agreement.errors import AgreementError
from verifier.agreement.witness_policy import read_quorum

# The example of C2SP tlog-policy, with keys written out as far as the form goes.
EXAMPLE = """
log l+0+AAAA

witness X1 x1+1+AAA1
witness X2 x2+2+AAA2 https://x2.example/
\twitness X3 x3+3+AAA3
group X-witnesses 2 X1 X2 X3
# another organisation
witness Y1 y1+4+AAA4
witness Y2 y2+5+AAA5
group Y-witnesses any Y1 Y2

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def test_the_specifications_example_is_read() -> None:
    assert read_quorum(EXAMPLE) == "X-and-Y"


def test_quorum_none_asks_for_nobody() -> None:
    assert read_quorum("quorum none\n") is None
    assert read_quorum(EXAMPLE.replace("quorum X-and-Y", " quorum\tnone ")) is None


@pytest.mark.parametrize(
    ("old", "new", "reason", "words"),
    [
        ("2 X1 X2 X3", "4 X1 X2 X3", "IMPOSSIBLE_QUORUM", "line 7: 'X-witnesses' asks for 4 of 3"),
        ("2 X1 X2 X3", "0 X1 X2 X3", "BAD_WITNESS_POLICY", "not '0'"),
        ("2 X1 X2 X3", "most X1 X2 X3", "BAD_WITNESS_POLICY", "not 'most'"),
        ("2 X1 X2 X3", "2 X1 X2 X4", "BAD_WITNESS_POLICY", "defines 'X4'"),
        ("2 X1 X2 X3", "2 X1 X1 X3", "BAD_WITNESS_POLICY", "'X1' is a member twice"),
        ("any Y1 Y2", "any Y1 X1", "BAD_WITNESS_POLICY", "'X1' is a member twice"),
        ("any Y1 Y2", "any", "BAD_WITNESS_POLICY", "group NAME"),
        ("any Y1 Y2", "any none", "BAD_WITNESS_POLICY", "defines 'none'"),
        ("quorum X-and-Y", "quorum Z", "BAD_WITNESS_POLICY", "line 14: no line above defines 'Z'"),
        ("quorum X-and-Y", "", "BAD_WITNESS_POLICY", "no quorum line"),
        ("quorum X-and-Y", "quorum", "BAD_WITNESS_POLICY", "quorum NAME"),
        ("quorum X-and-Y", "quorum none\nquorum none", "BAD_WITNESS_POLICY", "one quorum line"),
        ("witness Y1 y1+4+AAA4", "witness Y1", "BAD_WITNESS_POLICY", "witness NAME VKEY"),
        ("witness Y1 y1+4+AAA4", "witness X1 y1+4+AAA4", "BAD_WITNESS_POLICY", "'X1' is taken"),
        ("witness Y1 y1+4+AAA4", "witness none y1+4+AAA4", "BAD_WITNESS_POLICY", "'none' is taken"),
        ("y1+4+AAA4", "other+9+AAA1", "BAD_WITNESS_POLICY", "twice"),
        ("y1+4+AAA4", "y1+4", "BAD_WITNESS_POLICY", "NAME+ID+KEY"),
        ("log l+0+AAAA", "log", "BAD_WITNESS_POLICY", "log VKEY"),
        ("log l+0+AAAA", "ledger l+0+AAAA", "BAD_WITNESS_POLICY", "'ledger' is none of"),
        ("log l+0+AAAA", "log l+0+AAAA\r", "BAD_WITNESS_POLICY", "control character"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_policy_is_named_with_its_line(
    old: str, new: str, reason: str, words: str
) -> None:
    assert old in EXAMPLE
    with pytest.raises(AgreementError) as refused:
        read_quorum(EXAMPLE.replace(old, new))
    assert refused.value.reason == reason
    assert words in str(refused.value)
