"""Outside: what neither nodes, meters nor the log can show. Said in every verdict, never found."""

from typing import Final

NOT_DETECTABLE: Final = (
    "an undeclared site off every meter: not detectable here",
    "weights carried by hand: not detectable here",
    "updates done elsewhere with rollouts made here: not detectable here",
)
"""In the order in which verdicts list them."""
