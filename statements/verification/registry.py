"""Which backend verifies batches here: the fastest that works, unless the environment names another."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from statements.errors import BackendError
from statements.verification import crypto_mb
from statements.verification.interface import Backend
from statements.verification.singly import Singly

SETTING: Final = "STILLWATCH_SIGNATURES"
"""The environment variable that names the backend to be used, and no other."""
BACKENDS: Final[Mapping[str, Callable[[], Backend]]] = {
    "crypto_mb": crypto_mb.load,
    "cryptography": Singly,
}
"""What loads each backend, or raises :class:`BackendError`; fastest first, and the last is always there."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend in use, and in words why none that is faster: each with its reason."""

    backend: Backend
    passed_over: str


@cache
def chosen() -> Choice:
    """Return the backend that this process uses, loaded once.

    Raises :class:`BackendError` where the environment names one that does not exist or cannot be used.
    """
    return choose(os.environ.get(SETTING))


def choose(wanted: str | None) -> Choice:
    """Return the backend of that name; without a name the first that loads."""
    if wanted is not None:
        if wanted not in BACKENDS:
            known = ", ".join(BACKENDS)
            raise BackendError("UNKNOWN_BACKEND", f"{SETTING} is one of {known}, not {wanted!r}")
        return Choice(BACKENDS[wanted](), f"{SETTING} names it")
    passed_over: list[str] = []
    for name, load in BACKENDS.items():
        try:
            return Choice(load(), "; ".join(passed_over))
        except BackendError as error:
            passed_over.append(f"no {name}: {error}")
    raise BackendError("NO_BACKEND", "; ".join(passed_over))
