"""The report formats, by name."""

from collections.abc import Mapping
from typing import Final

from verifier.report.interface import Format
from verifier.report.json import Json
from verifier.report.terminal import Terminal

FORMATS: Final[Mapping[str, Format]] = {
    report.name: report for report in (Terminal(width=None), Json())
}
"""The first is what people get."""
