"""The report for machines: the canonical bytes of the document."""

from verifier.report.document import Document, encode_document


class Json:
    """Canonical JSON; the same verdict is the same text."""

    name = "json"

    def render(self, document: Document) -> str:
        """Return the canonical text."""
        return encode_document(document).decode()
