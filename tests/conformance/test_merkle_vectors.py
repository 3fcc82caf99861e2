"""Every proof, good and bad, of https://github.com/transparency-dev/merkle/tree/main/testdata."""

import base64
import json
from pathlib import Path

import pytest

from tlog.errors import ProofError
from tlog.merkle import verify_consistency, verify_inclusion


def hashes(case: dict[str, object], key: str) -> list[bytes]:
    values = case[key] or []
    assert isinstance(values, list)
    return [base64.b64decode(value) for value in values]


def digest(case: dict[str, object], key: str) -> bytes:
    return base64.b64decode(str(case[key] or ""))


def number(case: dict[str, object], key: str) -> int:
    value = case[key]
    assert isinstance(value, int)
    return value


def cases(folder: Path) -> list[tuple[str, dict[str, object]]]:
    return [
        (str(path.relative_to(folder)), json.loads(path.read_text()))
        for path in sorted(folder.rglob("*.json"))
    ]


def accepts_inclusion(case: dict[str, object]) -> bool:
    try:
        verify_inclusion(
            number(case, "leafIdx"),
            number(case, "treeSize"),
            digest(case, "leafHash"),
            hashes(case, "proof"),
            digest(case, "root"),
        )
    except ProofError:
        return False
    return True


def accepts_consistency(case: dict[str, object]) -> bool:
    try:
        verify_consistency(
            number(case, "size1"),
            number(case, "size2"),
            hashes(case, "proof"),
            digest(case, "root1"),
            digest(case, "root2"),
        )
    except ProofError:
        return False
    return True


def test_every_inclusion_case_is_judged_as_its_authors_judge_it(vectors: Path) -> None:
    found = cases(vectors / "merkle" / "inclusion")
    assert len(found) >= 98
    wrong = [name for name, case in found if accepts_inclusion(case) == case["wantErr"]]
    assert not wrong
    assert any(accepts_inclusion(case) for _, case in found)


def test_every_consistency_case_is_judged_as_its_authors_judge_it(vectors: Path) -> None:
    found = cases(vectors / "merkle" / "consistency")
    assert len(found) >= 98
    wrong = [name for name, case in found if accepts_consistency(case) == case["wantErr"]]
    assert not wrong
    assert any(accepts_consistency(case) for _, case in found)


@pytest.mark.parametrize("kind", ["inclusion", "consistency"])
def test_the_vectors_hold_good_and_bad_cases(vectors: Path, kind: str) -> None:
    assert {case["wantErr"] for _, case in cases(vectors / "merkle" / kind)} == {True, False}
