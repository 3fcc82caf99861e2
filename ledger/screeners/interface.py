"""What a screener is: whoever judges the statements of a request by themselves, away from the event loop."""

from dataclasses import dataclass
from typing import Protocol

from ledger.refusal import Refusal
from ledger.screening import Screened
from protos.stillwatch.ledger.v1 import ledger_pb2


@dataclass(frozen=True, slots=True)
class Request:
    """A request, and how many bytes it was parsed from."""

    message: ledger_pb2.AppendRequest
    size: int


class Screener(Protocol):
    """Screens one request after the other, or several at once. For one event loop."""

    async def start(self) -> None:
        """Get ready; to be awaited before the first request."""
        ...

    async def screen(self, request: Request) -> list[Screened | Refusal]:
        """Judge each statement of a request, in order.

        Raises :class:`ProcessError` when nobody could.
        """
        ...

    async def close(self) -> None:
        """End whatever screens."""
        ...
