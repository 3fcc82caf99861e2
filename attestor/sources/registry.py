"""Finds sources by kind: a module of this package that is neither this nor the interface is one.

It has ``REPLAYS``, whether its readings are of another time or a model, and ``configure``."""

import importlib
import pkgutil
from typing import Final, Protocol, cast

from attestor import sources
from attestor.errors import ConfigError
from attestor.settings import Settings
from attestor.sources.interface import Source

_NOT_SOURCES: Final = frozenset({"interface", "registry"})


class Opener(Protocol):
    """Opens a source once its settings are known to be right.

    Raises SourceError when it cannot be opened; it may be called again later.
    """

    def __call__(self) -> Source:
        """Open the source."""
        ...


class _Module(Protocol):
    REPLAYS: bool

    def configure(self, settings: Settings, window_ms: int) -> Opener: ...


def kinds() -> tuple[str, ...]:
    """Return the kinds of source that exist, sorted."""
    found = {module.name for module in pkgutil.iter_modules(sources.__path__)}
    return tuple(sorted(found - _NOT_SOURCES))


def configure(settings: Settings, window_ms: int) -> tuple[str, bool, Opener]:
    """Return the kind of source that ``settings`` ask for, whether it replays, and what opens it.

    ``window_ms`` is the length of a window. Raises ConfigError for an unknown kind or key.
    """
    kind = settings.text("kind")
    if kind not in kinds():
        raise ConfigError(
            "UNKNOWN_SOURCE",
            f"{settings.where}: no source {kind!r}; there are {', '.join(kinds())}",
        )
    module = cast("_Module", importlib.import_module(f"{sources.__name__}.{kind}"))
    opener = module.configure(settings, window_ms)
    settings.finish()
    return kind, module.REPLAYS, opener
