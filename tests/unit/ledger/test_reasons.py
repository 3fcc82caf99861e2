"""Reasons on the wire, and reasons that the code gives."""

import re
from pathlib import Path
from typing import Final

import pytest

from ledger.refusal import Refusal
from protos.stillwatch.ledger.v1 import ledger_pb2

NEVER_GIVEN: Final = {"UNSPECIFIED"}
"""Not a refusal."""
REASONS: Final = {name.removeprefix("REASON_") for name in ledger_pb2.Reason.keys()}  # noqa: SIM118


def words(root: Path, folder: str) -> set[str]:
    sources = (root / folder).rglob("*.py")
    return {word for path in sources for word in re.findall(r'"([A-Z][A-Z_]+)"', path.read_text())}


def test_each_reason_on_the_wire_is_given_and_tested(root: Path) -> None:
    given = words(root, "ledger") | words(root, "statements")
    assert given & REASONS == REASONS - NEVER_GIVEN
    assert words(root, "tests/unit/ledger") >= REASONS - NEVER_GIVEN


@pytest.mark.parametrize("reason", sorted(REASONS - NEVER_GIVEN))
def test_a_refusal_has_its_number_on_the_wire(reason: str) -> None:
    assert ledger_pb2.Reason.Name(Refusal(reason, "words").code) == f"REASON_{reason}"


def test_a_reason_that_is_not_on_the_wire_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="REASON_MADE_UP"):
        _ = Refusal("MADE_UP", "words").code
