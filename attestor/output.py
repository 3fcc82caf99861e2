"""How commands print results: text for people, JSON for programs; on stdout, nothing else there."""

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping, Sequence

import click
import structlog

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


def show(output: str, result: Mapping[str, Json]) -> None:
    """Print a result on stdout, as ``output`` ("text" or "json") asks."""
    click.echo(json.dumps(result, indent=2) if output == "json" else as_text(result))


def printable(text: str) -> str:
    """Return a text in which nothing moves a terminal's cursor: what cannot be printed is replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def as_text(value: Json, indent: int = 0) -> str:
    """Return described fields as lines for a terminal, nested ones indented."""
    pad = "  " * indent
    if isinstance(value, Mapping):
        lines = []
        for key, inner in value.items():
            if isinstance(inner, Mapping) or (
                isinstance(inner, list) and any(isinstance(item, Mapping) for item in inner)
            ):
                lines += [f"{pad}{key}:", as_text(inner, indent + 1)]
            else:
                lines.append(f"{pad}{key}: {_plain(inner)}")
        return "\n".join(lines)
    if isinstance(value, list):
        return "\n".join(f"{pad}- {as_text(item, indent + 1).lstrip()}" for item in value)
    return f"{pad}{_plain(value)}"


def _plain(value: Json) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " ".join(_plain(item) for item in value) if value else "none"
    return "-" if value is None else printable(str(value))


def log_for_people() -> None:
    """Log what a command that somebody watches has to warn of."""
    structlog.configure(
        processors=[_as_words],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def _as_words(_logger: object, level: str, event: MutableMapping[str, object]) -> str:
    words = f"{level}: {event.pop('event')}"
    return printable(", ".join([words, *(f"{name} {value}" for name, value in event.items())]))
