"""A ledger, three witnesses and several authors as real processes: the short form of `make faults`' crowd."""

from pathlib import Path

from tests.crowd.play import play


def test_what_a_crowd_was_acknowledged_is_proved_from_the_static_files_alone(
    tmp_path: Path,
) -> None:
    told = play(tmp_path, authors=4, windows=999)
    assert told.proved == 4_000
    assert told.records > told.proved
    assert (told.flaws, told.fsck_status) == (0, 0)
