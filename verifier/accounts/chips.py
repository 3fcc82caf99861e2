"""The chip table: what each model of accelerator can do at most, with the source of every figure.

The table is data (``policies/reference/chips.toml``), named in an agreement by its digest, so that
two auditors bound compute with the same constants. A model that the table does not know counts as
the most capable that it could be: a party gains nothing by hiding what its chips are.
"""

import fnmatch
import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from verifier.accounts.errors import ChipTableError

FORMAT: Final = "stillwatch.chips/1"
UNKNOWN: Final = "unknown"
"""Id of the chip that stands for every model that the table does not know."""

_FIGURES: Final = (
    "k16_flop_per_clock",
    "f_max_hz",
    "fastest_dense_multiple",
    "e_min_j_per_flop",
    "static_power_w",
    "idle_w",
    "peak16_flop_per_s",
    "h100e",
)
_MAY_BE_ZERO: Final = frozenset({"static_power_w", "idle_w"})


@dataclass(frozen=True, slots=True)
class Chip:
    """One model.

    ``names`` are shell patterns over the product name that NVML reports. ``k16_flop_per_clock`` are
    dense 16-bit FLOP a clock, ``fastest_dense_multiple`` the fastest dense precision over 16-bit.
    ``idle_w`` and ``peak16_flop_per_s``, the datasheet's, never enter a bound.
    """

    id: str
    names: tuple[str, ...]
    k16_flop_per_clock: float
    f_max_hz: float
    fastest_dense_multiple: float
    e_min_j_per_flop: float
    static_power_w: float
    idle_w: float
    peak16_flop_per_s: float
    h100e: float
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def peak_flop_per_s(self) -> float:
        """Most dense operations a second, in the fastest precision at the highest clock."""
        return self.fastest_dense_multiple * self.k16_flop_per_clock * self.f_max_hz

    @property
    def proven_k16_flop_per_clock(self) -> float:
        """The FLOP a clock on which a lower bound may rest: none where the model is not known."""
        return 0.0 if self.id == UNKNOWN else self.k16_flop_per_clock

    def matches(self, model: str) -> bool:
        """Return whether a product name is this model's; case is ignored."""
        name = model.casefold()
        return any(fnmatch.fnmatchcase(name, pattern.casefold()) for pattern in self.names)


@dataclass(frozen=True, slots=True)
class ChipTable:
    """All models. ``chips`` ends with the unknown one; ``digest`` is SHA-256 of the table's bytes."""

    chips: tuple[Chip, ...]
    digest: bytes

    def row(self, model: str | None) -> int:
        """Return the place in ``chips`` of a product name: the first that matches, else the unknown one."""
        if model:
            for place, chip in enumerate(self.chips):
                if chip.matches(model):
                    return place
        return len(self.chips) - 1

    def lookup(self, model: str | None) -> Chip:
        """Return the chip of a product name; the most capable one imaginable where it is not known."""
        return self.chips[self.row(model)]


def _figure(entry: Mapping[str, object], name: str, where: str) -> float:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ChipTableError("BAD_FIGURE", f"{where}: {name} must be a number, is {value!r}")
    if value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
        raise ChipTableError("BAD_FIGURE", f"{where}: {name} must be above zero, is {value!r}")
    return float(value)


def _chip(entry: object, place: int) -> Chip:
    where = f"chips[{place}]"
    if not isinstance(entry, dict):
        raise ChipTableError("BAD_ENTRY", f"{where}: must be a table")
    identity, names, sources = entry.get("id"), entry.get("names"), entry.get("sources")
    if not isinstance(identity, str) or not identity or identity == UNKNOWN:
        raise ChipTableError("BAD_ENTRY", f"{where}: id must be a name other than {UNKNOWN!r}")
    where = f"chips[{place}] ({identity})"
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
        raise ChipTableError("BAD_ENTRY", f"{where}: names must be a list of patterns")
    if extra := set(entry) - {"id", "names", "sources", *_FIGURES}:
        raise ChipTableError("UNKNOWN_KEY", f"{where}: unknown keys {', '.join(sorted(extra))}")
    if not isinstance(sources, dict):
        raise ChipTableError("NO_SOURCE", f"{where}: sources is missing")
    for name in _FIGURES:
        if not isinstance(sources.get(name), str) or not sources[name]:
            raise ChipTableError("NO_SOURCE", f"{where}: {name} has no source")
    figures = {name: _figure(entry, name, where) for name in _FIGURES}
    return Chip(id=identity, names=tuple(names), sources=dict(sources), **figures)


def _most_capable(chips: tuple[Chip, ...]) -> Chip:
    """Return a chip that no entry beats in any figure that an upper bound uses."""
    return Chip(
        id=UNKNOWN,
        names=(),
        k16_flop_per_clock=max(chip.k16_flop_per_clock for chip in chips),
        f_max_hz=max(chip.f_max_hz for chip in chips),
        fastest_dense_multiple=max(chip.fastest_dense_multiple for chip in chips),
        e_min_j_per_flop=min(chip.e_min_j_per_flop for chip in chips),
        static_power_w=0.0,
        idle_w=min(chip.idle_w for chip in chips),
        peak16_flop_per_s=max(chip.peak16_flop_per_s for chip in chips),
        h100e=max(chip.h100e for chip in chips),
        sources={"all": "the most that any entry of the table allows"},
    )


def read_chip_table(data: bytes) -> ChipTable:
    """Return the table in the bytes of a TOML file.

    Raises :class:`ChipTableError` where a figure or its source is missing or out of range.
    """
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ChipTableError("BAD_TOML", f"the chip table does not parse: {error}") from error
    if document.get("format") != FORMAT:
        raise ChipTableError(
            "BAD_FORMAT",
            f"the chip table's format must be {FORMAT!r}, is {document.get('format')!r}",
        )
    entries = document.get("chips")
    if not isinstance(entries, list) or not entries:
        raise ChipTableError("BAD_ENTRY", "the chip table has no [[chips]]")
    chips = tuple(_chip(entry, place) for place, entry in enumerate(entries))
    if len({chip.id for chip in chips}) != len(chips):
        raise ChipTableError("DUPLICATE", "two entries of the chip table have one id")
    return ChipTable((*chips, _most_capable(chips)), hashlib.sha256(data).digest())
