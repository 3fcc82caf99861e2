"""Trust policies: which logs are known, and which witnesses together make a checkpoint valid, after C2SP tlog-policy.

A policy is text, a line each: ``log VKEY [URL]``, ``witness NAME VKEY [URL]``, ``group NAME all|any|K NAME…`` and,
once, ``quorum NAME|none``. A line may only use names that stand above it, and each name is a member of at most one
group, so that a witness counts in one way only. https://c2sp.org/tlog-policy
"""

import functools
import itertools
import re
import statistics
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from tlog.cosignature import Cosigner, verify_cosignatures
from tlog.errors import NoteError, PolicyError
from tlog.note import Note, Verifier

NO_WITNESS: Final = "none"
MOST_WITNESSES: Final = 32
"""Most witnesses, and most groups, of a policy."""
_BLANK = re.compile(r"[ \t]+")
_COUNT = re.compile(r"[0-9]{1,4}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness of a policy: its name there, its key, and where it is asked; the URL may be missing."""

    name: str
    key: Cosigner
    url: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """A group: it has witnessed a checkpoint once ``threshold`` of its members have."""

    name: str
    threshold: int
    members: tuple[str, ...]


Member: TypeAlias = Witness | Group


@dataclass(frozen=True, slots=True)
class Policy:
    """A trust policy. ``quorum`` is the name of a witness or group; ``None``: no witness has to cosign."""

    logs: tuple[Verifier, ...]
    members: Mapping[str, Member]
    quorum: str | None

    @property
    def witnesses(self) -> tuple[Witness, ...]:
        """All witnesses, in order."""
        return tuple(one for one in self.members.values() if isinstance(one, Witness))

    def is_met(self, names: Collection[str]) -> bool:
        """Return whether the witnesses of these names make a quorum."""
        return self.quorum is None or self._has_witnessed(self.quorum, names)

    def voters(self) -> tuple[str, ...]:
        """Return the names of the witnesses that the quorum can count."""
        return () if self.quorum is None else tuple(self._below(self.quorum))

    def _has_witnessed(self, name: str, names: Collection[str]) -> bool:
        member = self.members[name]
        if isinstance(member, Witness):
            return name in names
        met = sum(self._has_witnessed(inner, names) for inner in member.members)
        return met >= member.threshold

    def _below(self, name: str) -> Iterator[str]:
        member = self.members[name]
        if isinstance(member, Witness):
            yield name
        else:
            for inner in member.members:
                yield from self._below(inner)


@dataclass(frozen=True, slots=True)
class Quorum:
    """The witnesses of a policy that cosigned a checkpoint, by name, with the times, Unix seconds."""

    times_s: Mapping[str, int]

    @property
    def time_ms(self) -> int | None:
        """Median of the times (the lower of two middle ones), Unix milliseconds; ``None`` where nobody cosigned."""
        if not self.times_s:
            return None
        return statistics.median_low(self.times_s.values()) * 1000


def verify_quorum(note: Note, policy: Policy) -> Quorum:
    """Return who cosigned a checkpoint, once they are a quorum of the policy.

    The log's own signature is not looked at. Raises :class:`NoteError` when a listed witness's cosignature does not
    verify, and :class:`PolicyError` when those that cosigned are no quorum.
    """
    names = {one.key: one.name for one in policy.witnesses}
    found = verify_cosignatures(note, tuple(names))
    times = {names[key]: time_s for key, time_s in found.items() if names[key] in policy.voters()}
    if not policy.is_met(times):
        raise PolicyError(
            "NOT_COSIGNED",
            f"the checkpoint is cosigned by {', '.join(sorted(times)) or 'no witness'}: no quorum of {policy.quorum}",
        )
    return Quorum(times)


def verify_intersection(policy: Policy, faulty: Collection[str], most_faulty: int) -> None:
    """Refuse a policy in which two quorums can meet in nobody who is honest.

    ``faulty`` are witnesses that count for nothing (the ledger operator's own); of the others at most ``most_faulty``
    may be. A split view needs two quorums whose common witnesses are all faulty: of the witnesses W that remain, two
    quorums that share at most ``most_faulty``. Raises :class:`PolicyError` that names two such quorums.
    """
    voters = [name for name in policy.voters() if name not in faulty]
    if policy.quorum is None:
        raise PolicyError(
            "NO_QUORUM", "no witness has to cosign: the log's operator may show two histories"
        )
    if len(voters) > _MOST_SEARCHED:
        raise PolicyError(
            "TOO_MANY_WITNESSES",
            f"two quorums are looked for among at most {_MOST_SEARCHED} witnesses",
        )
    always = [name for name in policy.voters() if name in faulty]
    for shared in itertools.combinations(voters, min(most_faulty, len(voters))):
        rest = [name for name in voters if name not in shared]
        for size in range(len(rest) // 2 + 1):
            for part in itertools.combinations(rest, size):
                one = [*always, *shared, *part]
                other = [*always, *shared, *(name for name in rest if name not in part)]
                if policy.is_met(one) and policy.is_met(other):
                    raise PolicyError(
                        "QUORUMS_APART",
                        f"{' and '.join(one) or 'nobody'} are a quorum, and so are {' and '.join(other)}: they share "
                        f"nobody honest when {most_faulty} may lie",
                    )


def verify_time(policy: Policy, faulty: Collection[str], most_faulty: int) -> None:
    """Refuse a policy in which a quorum's median time can be a liar's.

    ``faulty`` and ``most_faulty`` are as in :func:`verify_intersection`. Of an even number the median is the lower of
    the two middle ones: as many liars as honest ones say what they like of the past. Raises :class:`PolicyError` that
    names such a quorum.
    """
    if len(policy.voters()) > _MOST_SEARCHED:
        raise PolicyError(
            "TOO_MANY_WITNESSES",
            f"quorums are looked for among at most {_MOST_SEARCHED} witnesses",
        )
    own = [name for name in policy.voters() if name in faulty]
    others = [name for name in policy.voters() if name not in faulty]
    for liars in itertools.combinations(others, min(most_faulty, len(others))):
        lying = [*own, *liars]
        honest = [name for name in others if name not in liars]
        for few in itertools.combinations(honest, min(len(lying), len(honest))):
            if lying and policy.is_met([*lying, *few]):
                raise PolicyError(
                    "TIME_OF_LIARS",
                    f"{', '.join(sorted([*lying, *few]))} are a quorum, and its median time is what {', '.join(lying)} "
                    f"say: {most_faulty} may lie, and a log's own witnesses count for nothing",
                )


_MOST_SEARCHED: Final = 16


@functools.lru_cache(maxsize=16)
def parse_policy(text: str) -> Policy:
    """Return the policy that a text spells.

    Raises :class:`PolicyError`: ``BAD_POLICY`` naming the line, or ``IMPOSSIBLE_QUORUM`` when a group asks for more
    members than it has.
    """
    reader = _Reader()
    for number, line in enumerate(text.split("\n"), 1):
        words = _BLANK.split(line.strip(" \t"))
        if words == [""] or words[0].startswith("#"):
            continue
        reader.read(number, words, line)
    return reader.policy()


class _Reader:
    """What the lines above have defined."""

    def __init__(self) -> None:
        self.logs: list[Verifier] = []
        self.members: dict[str, Member] = {}
        self.grouped: set[str] = set()
        self.keys: set[bytes] = set()
        self.wanted: str | None = None
        self.number = 0

    def read(self, number: int, words: list[str], line: str) -> None:
        self.number = number
        if _CONTROL.search(line):
            raise self._bad("has a control character")
        match words[0]:
            case "log":
                self._log(words[1:])
            case "witness":
                self._witness(words[1:])
            case "group":
                self._group(words[1:])
            case "quorum":
                self._quorum(words[1:])
            case other:
                raise self._bad(f"{other!r} is none of log, witness, group, quorum")

    def policy(self) -> Policy:
        if self.wanted is None:
            raise PolicyError(
                "BAD_POLICY", "there is no quorum line: end with `quorum NAME` or `quorum none`"
            )
        wanted = None if self.wanted == NO_WITNESS else self.wanted
        return Policy(tuple(self.logs), dict(self.members), wanted)

    def _log(self, words: list[str]) -> None:
        if len(words) not in {1, 2}:
            raise self._bad("a log line is `log VKEY [URL]`")
        try:
            verifier = Verifier.from_vkey(words[0])
        except NoteError as error:
            raise self._bad(str(error)) from None
        if any(verifier.public == one.public for one in self.logs):
            raise self._bad("that key is there twice")
        self.logs.append(verifier)

    def _witness(self, words: list[str]) -> None:
        if len(words) not in {2, 3}:
            raise self._bad("a witness line is `witness NAME VKEY [URL]`")
        try:
            key = Cosigner.from_vkey(words[1])
        except NoteError as error:
            raise self._bad(str(error)) from None
        if key.raw in self.keys:
            raise self._bad("that key is there twice")
        self.keys.add(key.raw)
        self._define(Witness(words[0], key, words[2] if len(words) == 3 else None))

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:
            raise self._bad("a group line is `group NAME all|any|K MEMBER…`")
        name, threshold, *members = words
        for member in members:
            self._known(member)
            if member in self.grouped:
                raise self._bad(f"{member!r} is a member twice")
            self.grouped.add(member)
        counts = {"all": len(members), "any": 1}
        count = counts.get(threshold)
        if count is None:
            if not _COUNT.fullmatch(threshold) or int(threshold) == 0:
                raise self._bad(f"a group asks for all, any, or a number, not {threshold!r}")
            count = int(threshold)
        if count > len(members):
            raise PolicyError(
                "IMPOSSIBLE_QUORUM",
                f"line {self.number}: {name!r} asks for {count} of {len(members)} members, which can never be met",
            )
        self._define(Group(name, count, tuple(members)))

    def _quorum(self, words: list[str]) -> None:
        if self.wanted is not None:
            raise self._bad("there may be one quorum line only")
        if len(words) != 1:
            raise self._bad("a quorum line is `quorum NAME` or `quorum none`")
        if words[0] != NO_WITNESS:
            self._known(words[0])
        self.wanted = words[0]

    def _define(self, member: Member) -> None:
        if member.name == NO_WITNESS or member.name in self.members:
            raise self._bad(f"the name {member.name!r} is taken")
        kind = type(member)
        if sum(isinstance(one, kind) for one in self.members.values()) >= MOST_WITNESSES:
            raise self._bad(f"there are more than {MOST_WITNESSES} of its kind")
        self.members[member.name] = member

    def _known(self, name: str) -> None:
        if name not in self.members:
            raise self._bad(f"no line above defines {name!r}")

    def _bad(self, why: str) -> PolicyError:
        return PolicyError("BAD_POLICY", f"line {self.number}: {why}")
