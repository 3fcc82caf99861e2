"""Instants in words: Unix milliseconds and RFC 3339 in UTC."""

from datetime import UTC, datetime, timedelta
from typing import Final

LAST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: no date that people write lies beyond."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class InstantError(ValueError):
    """A text is not an instant; the message says what one looks like."""


def rfc3339(at_ms: int) -> str:
    """Return Unix milliseconds as RFC 3339 in UTC; what lies beyond the year 9999 as its last millisecond."""
    instant = _EPOCH + timedelta(milliseconds=min(at_ms, LAST_MS))
    text = instant.isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").replace(".000Z", "Z")


def parse_instant(text: str) -> int:
    """Return the Unix milliseconds of an RFC 3339 instant; raises :class:`InstantError`."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise InstantError(f"not an instant like 2026-06-01T00:00:00Z: {text!r}") from None
    if instant.tzinfo is None or instant.timestamp() < 0:
        raise InstantError(f"an instant is after 1970 and names its offset, like Z: {text!r}")
    return round(instant.timestamp() * 1000)
