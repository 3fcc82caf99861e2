"""A table of the configuration, read key by key with errors that name the place."""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from attestor.errors import ConfigError

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|min|h|d)")
_UNITS_MS: Final = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_EPOCH_YEAR: Final = 1970
_REQUIRED: Final = object()


def parse_instant(text: str, where: str) -> int:
    """Return the Unix milliseconds of an RFC 3339 time with its offset; ``where`` names it."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            "BAD_TIME", f"{where}: not a time like 2026-01-01T00:00:00Z: {text!r}"
        ) from error
    if instant.tzinfo is None:
        raise ConfigError("BAD_TIME", f"{where}: the time lacks its offset; add Z for UTC")
    if instant.year < _EPOCH_YEAR:
        raise ConfigError("BAD_TIME", f"{where}: times begin in {_EPOCH_YEAR}, not {text}")
    return round(instant.timestamp() * 1000)


def parse_duration(text: str, where: str) -> int:
    """Return the milliseconds of a duration such as "60 s"; ``where`` names it."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ConfigError("BAD_DURATION", f'{where}: not a duration like "60 s": {text!r}')
    return round(float(found[1]) * _UNITS_MS[found[2]])


class Settings:
    """One TOML table. ``where`` names it in errors; relative paths start at ``base``.

    Each reader method takes a key and, for keys that may be left out, a default. ``finish`` refuses
    what nobody asked for, so that a misspelt key is an error and not silence.
    """

    def __init__(self, table: Mapping[str, object], where: str, base: Path) -> None:
        self._table = table
        self._asked: set[str] = set()
        self.where = where
        self.base = base

    def _get(self, key: str, kind: type | tuple[type, ...], what: str, default: object) -> object:
        self._asked.add(key)
        if key not in self._table:
            if default is _REQUIRED:
                raise ConfigError("MISSING_KEY", f"{self.where}: {key} is missing ({what})")
            return default
        value = self._table[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError("WRONG_TYPE", f"{self.where}: {key} must be {what}, not {value!r}")
        return value

    def text(self, key: str, default: str | object = _REQUIRED) -> str:
        """Return a string that is not empty."""
        value = str(self._get(key, str, "a string", default))
        if not value and default is _REQUIRED:
            raise ConfigError("WRONG_TYPE", f"{self.where}: {key} is empty")
        return value

    def has(self, key: str) -> bool:
        """Return whether the table has the key, which it may."""
        self._asked.add(key)
        return key in self._table

    def integer(
        self, key: str, default: int | object = _REQUIRED, *, least: int = 0, most: int = 2**53
    ) -> int:
        """Return a whole number between ``least`` and ``most``."""
        value = self._get(key, int, "a whole number", default)
        if not isinstance(value, int) or not least <= value <= most:
            raise ConfigError(
                "OUT_OF_RANGE", f"{self.where}: {key} must be from {least} to {most}, not {value}"
            )
        return value

    def path(self, key: str, default: str | object = _REQUIRED) -> Path:
        """Return a path; a relative one starts at the folder of the configuration file."""
        return self.base / self.text(key, default)

    def duration_ms(self, key: str, default: str | object = _REQUIRED, *, least: int = 0) -> int:
        """Return a duration such as "100 ms" in milliseconds."""
        value = parse_duration(self.text(key, default), f"{self.where}: {key}")
        if value < least:
            raise ConfigError("OUT_OF_RANGE", f"{self.where}: {key} must be {least} ms or more")
        return value

    def instant_ms(self, key: str) -> int:
        """Return an instant, written as RFC 3339 or as a TOML date-time, in Unix milliseconds."""
        value = self._get(key, (str, datetime), "a time like 2026-01-01T00:00:00Z", _REQUIRED)
        text = value.isoformat() if isinstance(value, datetime) else str(value)
        return parse_instant(text, f"{self.where}: {key}")

    def tables(self, key: str) -> tuple["Settings", ...]:
        """Return one or more tables: ``key = {...}``, ``[key]`` or ``[[key]]``."""
        value = self._get(key, (dict, list), "a table", _REQUIRED)
        rows = value if isinstance(value, list) else [value]
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise ConfigError("WRONG_TYPE", f"{self.where}: {key} must hold tables")
        many = len(rows) > 1
        return tuple(
            Settings(row, f"{self.where}: {key}" + (f" {place}" if many else ""), self.base)
            for place, row in enumerate(rows, 1)
        )

    def finish(self) -> None:
        """Refuse keys that nothing asked for."""
        unknown = sorted(set(self._table) - self._asked)
        if unknown:
            raise ConfigError(
                "UNKNOWN_KEY",
                f"{self.where}: {unknown[0]!r} is not known here; known are "
                f"{', '.join(sorted(self._asked))}",
            )
