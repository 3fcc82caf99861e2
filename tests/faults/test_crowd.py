"""Twenty authors, three witnesses, a hundred thousand statements."""

from pathlib import Path

import pytest

from tests.crowd.play import play


@pytest.mark.slow
def test_twenty_authors_say_a_hundred_thousand_things_and_each_is_proved(tmp_path: Path) -> None:
    told = play(tmp_path, authors=20, windows=4_999)
    assert told.proved == 100_000
    assert (told.flaws, told.fsck_status) == (0, 0)
