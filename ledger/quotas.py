"""Quotas: how much one author may have logged, so that whoever got hold of a live key cannot fill the disk at once.

They are asked once a statement is verified and would be logged; one that is sent again costs nothing. They are far
above what a node says, even one that catches up after weeks.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from ledger.buckets import Buckets
from ledger.limits import Limits
from ledger.refusal import Refusal
from statements.kinds import Kind


@dataclass(frozen=True, slots=True)
class Quotas:
    """Buckets of every author: of statements, of bytes to store, and of enrolments."""

    statements: Buckets
    stored: Buckets
    enrolments: Buckets

    @classmethod
    def of(cls, limits: Limits, monotonic: Callable[[], float] = time.monotonic) -> Self:
        """Return the quotas that a ledger's limits state."""
        return cls(
            Buckets(limits.author_statements, limits.author_statements_per_s, monotonic),
            Buckets(limits.author_bytes, limits.author_bytes_per_s, monotonic),
            Buckets(limits.party_enrolments, limits.party_enrolments_per_s, monotonic),
        )

    def refuse(self, author: bytes, stored: int, kind: Kind | None = None) -> Refusal | None:
        """Return why an author has to wait; ``None`` once a statement with such a body is charged to it.

        One that has to wait is charged nothing: else whoever sends it again would use up what it waits for.
        """
        if not self.statements.take(author, 1):
            return _wait("statements")
        if stored and not self.stored.take(author, stored):
            self.statements.charge(author, -1)
            return _wait("bytes")
        if kind is Kind.ENROLMENT and not self.enrolments.take(author, 1):
            self.statements.charge(author, -1)
            self.stored.charge(author, -stored)
            return _wait("enrolments")
        return None


def _wait(what: str) -> Refusal:
    return Refusal(
        "BUSY", f"the author's quota of {what} is used up for now: send the statement again later"
    )
