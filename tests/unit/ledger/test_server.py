"""Parts of the running ledger that its process does not show."""

import resource

import pytest

from ledger import server as module


@pytest.mark.parametrize(
    ("soft", "hard", "room", "raised"),
    [
        (100_000, 100_000, 4_000, None),
        (1_024, 100_000, 4_000, 4_400),
        (1_024, resource.RLIM_INFINITY, 4_000, 4_400),
        (1_024, 2_000, 1_600, 2_000),
        (100, 100, 1, 100),
    ],
)
def test_connections_leave_the_journal_and_the_files_room_to_be_opened(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, room: int, raised: int | None
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.append(both))
    assert module._room_for(4_000) == room
    assert limits == ([] if raised is None else [(raised, hard)])
