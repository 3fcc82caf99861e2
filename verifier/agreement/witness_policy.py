"""Which witnesses must cosign a log before its history counts as the only one (C2SP tlog-policy).

A policy is text, a line each: ``log <vkey> [<url>]``, ``witness <name> <vkey> [<url>]``,
``group <name> all|any|<k> <name>...`` and, once, ``quorum <name>|none``. A line may only use names that stand above it,
and each name is a member of at most one group. https://c2sp.org/tlog-policy
"""

import re
from collections.abc import Callable, Mapping

from verifier.agreement.errors import AgreementError

NO_WITNESS = "none"
_BLANK = re.compile(r"[ \t]+")
_COUNT = re.compile(r"[0-9]{1,4}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def read_quorum(policy: str) -> str | None:
    """Return the witness or group that must cosign; ``None`` for ``quorum none``.

    Raises :class:`AgreementError`: ``BAD_WITNESS_POLICY`` naming the line, or ``IMPOSSIBLE_QUORUM`` when a group asks
    for more members than it has.
    """
    reader = _Reader()
    for number, line in enumerate(policy.split("\n"), 1):
        words = _BLANK.split(line.strip(" \t"))
        if words == [""] or words[0].startswith("#"):
            continue
        reader.read(number, words, line)
    return reader.quorum()


class _Reader:
    """What the lines above have defined."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.grouped: set[str] = set()
        self.vkeys: set[str] = set()
        self.wanted: str | None = None
        self.number = 0

    def read(self, number: int, words: list[str], line: str) -> None:
        self.number = number
        if _CONTROL.search(line):
            raise self._bad("has a control character")
        kinds: Mapping[str, Callable[[list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }
        kind = kinds.get(words[0])
        if kind is None:
            raise self._bad(f"{words[0]!r} is none of {', '.join(kinds)}")
        kind(words[1:])

    def quorum(self) -> str | None:
        if self.wanted is None:
            raise AgreementError(
                "BAD_WITNESS_POLICY",
                "witnesses.policy has no quorum line: end it with `quorum NAME` or `quorum none`",
            )
        return None if self.wanted == NO_WITNESS else self.wanted

    def _log(self, words: list[str]) -> None:
        if len(words) not in {1, 2}:
            raise self._bad("a log line is `log VKEY [URL]`")
        self._key("log", words[0])

    def _witness(self, words: list[str]) -> None:
        if len(words) not in {2, 3}:
            raise self._bad("a witness line is `witness NAME VKEY [URL]`")
        self._define(words[0])
        self._key("witness", words[1])

    def _key(self, kind: str, vkey: str) -> None:
        parts = vkey.split("+", 2)
        if len(parts) != 3 or not all(parts):
            raise self._bad(f"a verifier key is NAME+ID+KEY, not {vkey!r}")
        if f"{kind} {parts[2]}" in self.vkeys:
            raise self._bad("that key is there twice")
        self.vkeys.add(f"{kind} {parts[2]}")

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:
            raise self._bad("a group line is `group NAME all|any|K MEMBER...`")
        name, threshold, *members = words
        for member in members:
            self._known(member)
            if member in self.grouped:
                raise self._bad(f"{member!r} is a member twice")
            self.grouped.add(member)
        if threshold not in {"all", "any"}:
            if not _COUNT.fullmatch(threshold) or int(threshold) == 0:
                raise self._bad(f"a group asks for all, any, or a number, not {threshold!r}")
            if int(threshold) > len(members):
                raise AgreementError(
                    "IMPOSSIBLE_QUORUM",
                    f"witnesses.policy line {self.number}: {name!r} asks for {int(threshold)} of "
                    f"{len(members)} members, which can never be met",
                )
        self._define(name)

    def _quorum(self, words: list[str]) -> None:
        if self.wanted is not None:
            raise self._bad("there may be one quorum line only")
        if len(words) != 1:
            raise self._bad("a quorum line is `quorum NAME` or `quorum none`")
        if words[0] != NO_WITNESS:
            self._known(words[0])
        self.wanted = words[0]

    def _define(self, name: str) -> None:
        if name == NO_WITNESS or name in self.names:
            raise self._bad(f"the name {name!r} is taken")
        self.names.add(name)

    def _known(self, name: str) -> None:
        if name not in self.names:
            raise self._bad(f"no line above defines {name!r}")

    def _bad(self, why: str) -> AgreementError:
        return AgreementError("BAD_WITNESS_POLICY", f"witnesses.policy line {self.number}: {why}")
