"""What a report format is."""

from typing import Protocol

from verifier.report.document import Document


class Format(Protocol):
    """A way to show a verdict."""

    @property
    def name(self) -> str:
        """By which it is chosen."""
        ...

    def render(self, document: Document) -> str:
        """Return the report, ending in a newline."""
        ...
