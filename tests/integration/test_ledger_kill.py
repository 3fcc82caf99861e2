"""A ledger that is killed at random moments under load, started again, and held to its word."""

from pathlib import Path

from tests.unit.ledger.killing import kill_and_resume


def test_what_a_killed_ledger_acknowledged_is_in_its_log_once_where_it_said(tmp_path: Path) -> None:
    told = kill_and_resume(tmp_path, kills=10, clients=4, seed=7)
    assert told.kills == 10
    assert told.acknowledged > 10 * 40, "there was load"
    assert told.interrupted > 10, "kills came in the middle of something"
