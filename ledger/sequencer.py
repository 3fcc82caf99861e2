"""The sequencer: gives admitted statements their places, and answers only for what is durable.

One thread calls it. A group is admitted against what the journal holds and the group itself, made durable at once, and
only then acknowledged. When the journal fails, what the group changed in memory is taken back, and before the next
group the journal is asked what it holds after all: a commit whose answer was lost is found again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Self

from google.protobuf.message import Message

from ledger.admission import judge, proves, taken
from ledger.chains import Chains, Epoch, Head
from ledger.errors import JournalError
from ledger.journal.interface import Entry, Journal, Leaf
from ledger.keyring import TEACHING, Keyring, Undo
from ledger.quotas import Quotas
from ledger.refusal import Refusal
from ledger.screening import Screened
from statements.author import NOTHING, Author, Seen, Statement
from statements.body import SALT_LENGTH
from statements.clock import Clock
from statements.header import (
    AUTHOR,
    HEADER_LENGTH,
    KIND,
    PREVIOUS,
    SEQUENCE,
    SPEAKER,
    Header,
    decode_header,
    encode_kind,
)
from statements.kinds import Kind
from statements.record import RECORD_LENGTH, decode_record, encode_time, join_record
from statements.signing import SigningKey, statement_id

Draw = Callable[[int], bytes]
"""Draws that many random bytes."""
_HEADER_AT = slice(3, 3 + HEADER_LENGTH)
_TIME_AT = slice(RECORD_LENGTH - 8, RECORD_LENGTH)
_TEACHING = frozenset(encode_kind(kind) for kind in TEACHING)
_STEP = 4_096
"""Records that are read of the journal at a time."""
_NEAR = 64
"""Leaves that are this near to one another are read at once."""


@dataclass(slots=True)
class Logged:
    """A durable statement: the record's index, its bytes, and whether the body is held. Nobody changes one.

    ``fresh``: it was not logged before; the receipt is the same.
    """

    index: int
    record: bytes
    body_held: bool
    fresh: bool = field(default=True, compare=False)


Outcome = Logged | Refusal


@dataclass(slots=True)
class _Group:
    """What a group adds, at what time; ``undo`` takes it out of memory again.

    ``batches`` are what it is made of; ``old`` are leaves logged before, whose places some of that claims again.
    """

    first: int
    time: bytes
    batches: Sequence[Sequence[Screened | Refusal]] = ()
    old: dict[int, Leaf] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    undo: list[Undo] = field(default_factory=list)


class Sequencer:
    """The one writer of a log. :meth:`open` reads the journal."""

    def __init__(
        self, journal: Journal, keyring: Keyring, clock: Clock, quotas: Quotas | None = None
    ) -> None:
        self.keyring = keyring
        self._quotas = quotas
        self.size = 0
        self._journal = journal
        self._clock = clock
        self._chains = Chains()
        self._newest_ms = 0
        self._doubtful = False

    @classmethod
    def open(
        cls, journal: Journal, keyring: Keyring, clock: Clock, quotas: Quotas | None = None
    ) -> Self:
        """Return the sequencer of what a journal holds; without ``quotas`` authors may say as much as they like."""
        sequencer = cls(journal, keyring, clock, quotas)
        sequencer.catch_up()
        return sequencer

    def catch_up(self) -> None:
        """Learn what the journal holds beyond what is known.

        All of it, at every start: nothing is kept beside the journal that could say otherwise. Of a statement that
        goes on where one of its kind, key and epoch did before no more is read than its place. What is read at once is
        taken as a whole, or not at all when the journal fails over it.
        """
        going: dict[bytes, Epoch] = {}
        heads: dict[int, tuple[Epoch, bytes]] = {}
        end = self._journal.size()
        try:
            while leaves := list(self._journal.leaves(self.size, min(end, self.size + _STEP))):
                self._take(leaves, self._lessons(leaves), going, heads)
        finally:
            for chain, said in heads.values():
                chain.head = statement_id(said)
        self._doubtful = False

    def _take(
        self,
        leaves: Sequence[Leaf],
        lessons: Mapping[int, bytes],
        going: dict[bytes, Epoch],
        heads: dict[int, tuple[Epoch, bytes]],
    ) -> None:
        """Learn of the next leaves: ``lessons`` are the bodies of those that teach, by index.

        ``going`` are the epochs that statements went on in, ``heads`` those whose newest statement has no id yet.
        """
        time = b""
        for index, (record, _) in enumerate(leaves, self.size):
            said = record[_HEADER_AT]
            speaker = said[SPEAKER]
            chain = going.get(speaker)
            if chain is not None and int.from_bytes(said[SEQUENCE], "little") == len(chain.indices):
                chain.indices.append(index)
                heads[id(chain)] = chain, said
            else:
                header = decode_header(said)
                chain = self._take_one(header, record, lessons.get(index))
                if chain.indices[-1] == index:
                    heads.pop(id(chain), None)  # a newer one is there
                if header.kind not in TEACHING:
                    going[speaker] = chain
            if record[_TIME_AT] != time:  # those of a group have one
                time = record[_TIME_AT]
                self._newest_ms = max(self._newest_ms, int.from_bytes(time, "little"))
            self.size += 1

    def _take_one(self, header: Header, record: bytes, lesson: bytes | None) -> Epoch:
        """Learn of a record, and return the epoch that it is of."""
        logged = decode_record(record)
        chain = self._chains.epoch(header.author, header.epoch)
        if chain is not None and chain.holds(header):
            self._chains.contest(header, self.size)
            return chain
        if lesson is not None:
            self.keyring.learn(header, Statement(logged.header, logged.signature, lesson))
        self._chains.push(header, self.size, statement_id(logged.header))
        chain = self._chains.epoch(header.author, header.epoch)
        assert chain is not None  # noqa: S101 - it was pushed
        return chain

    def _lessons(self, leaves: Sequence[Leaf]) -> dict[int, bytes]:
        """Return the bodies of the leaves at the log's end that say something about keys, by index."""
        teaching = [
            at
            for at, (record, held) in enumerate(leaves, self.size)
            if held and record[_HEADER_AT][KIND] in _TEACHING
        ]
        lessons: dict[int, bytes] = {}
        for _, run in groupby(enumerate(teaching), lambda one: one[1] - one[0]):
            places = [at for _, at in run]
            bodies = self._journal.read(places[0], places[-1] + 1)
            lessons.update((at, body or b"") for at, (_, body) in zip(places, bodies, strict=True))
        return lessons

    def now_ms(self) -> int:
        """Return the log's time, Unix ms: its clock's, and never before what was logged."""
        return max(self._clock.now_ms(), self._newest_ms)

    def heads(self, author: bytes, most: int) -> list[Head]:
        """Return the heads of the epochs that an author opened last, at most so many, oldest first."""
        return self._chains.heads(author, most)

    def newest_body(self, author: bytes, kind: Kind) -> bytes | None:
        """Return the stored body of what an author said last, in the epoch it opened last, if that is of a kind."""
        for head in self.heads(author, 1):
            for record, stored in self._journal.read(head.index, head.index + 1):
                if decode_header(record[_HEADER_AT]).kind == kind:
                    return stored
        return None

    def log(self, batches: Sequence[Sequence[Screened | Refusal]]) -> list[list[Outcome]]:
        """Admit batches as one group, make it durable, and answer each statement.

        Raises :class:`JournalError` when the group did not become durable: nothing of it is acknowledged.
        """
        if self._doubtful:
            self.catch_up()
        now_ms = self.now_ms()
        group = _Group(self.size, encode_time(now_ms), batches)
        try:
            outcomes = [self._admit(batch, group) for batch in batches]
        except JournalError:  # what was logged before could not be read
            self._take_back(group)
            raise
        self._commit(group, now_ms)
        return outcomes

    def say(
        self, key: SigningKey, message: Message, *, draw: Draw, seen: Seen | None = None
    ) -> Logged:
        """Log a statement of the ledger's own. Its first opens its epoch, whatever kind it is."""
        if self._doubtful:
            self.catch_up()
        now_ms = self.now_ms()
        head = next(iter(self.heads(key.key_id, 1)), None)
        author = (
            Author.opening(key, draw(16), NOTHING)
            if head is None
            else Author(key, key.key_id, head.epoch, head.sequence + 1, head.statement_id)
        )
        said, _ = author.say(message, now_ms, now_ms, salt=draw(SALT_LENGTH), seen=seen)
        group = _Group(self.size, encode_time(now_ms))
        held = self._stage(Screened(said, said.id), group)
        self._commit(group, now_ms)
        return self._receipt(held, group)

    def _admit(self, batch: Sequence[Screened | Refusal], group: _Group) -> list[Outcome]:
        """Return what becomes of each statement, once the group is durable."""
        outcomes: list[Outcome] = []
        before: int | None = None
        for one in batch:
            outcome = one if isinstance(one, Refusal) else self._go_on(one, group)
            if outcome is None:
                assert isinstance(one, Screened)  # noqa: S101 - for the type checker
                found = self._admit_one(one, group, before)
                outcome = found if isinstance(found, Refusal) else self._receipt(found, group)
            before = None
            if isinstance(outcome, Logged) and outcome.index < group.first:
                before = outcome.index
            outcomes.append(outcome)
        return outcomes

    def _go_on(self, one: Screened, group: _Group) -> Logged | None:
        """Log a statement that does nothing but go on in its epoch, as nearly all do; ``None`` leaves it to the rules.

        Kind, author, key and epoch are those of one before it that the rules let pass; so what is left of them is
        whether it is the next, after the right one, by a key that still lives.
        """
        statement = one.statement
        header = statement.header
        chain = self._chains.going(header)
        if (
            chain is None
            or header[PREVIOUS] != chain.head
            or int.from_bytes(header[SEQUENCE], "little") != len(chain.indices)
            or not self.keyring.is_live(chain.key_id)
            or self._over_quota(header[AUTHOR], statement)
        ):
            return None
        record = join_record(header, statement.signature, group.time)
        stored = statement.stored or None
        index = group.first + len(group.entries)
        group.entries.append((record, stored))
        group.undo.append(partial(chain.back, chain.head))
        chain.indices.append(index)
        chain.head = one.id
        return Logged(index, record, stored is not None)

    def _over_quota(
        self, author: bytes, statement: Statement, kind: Kind | None = None
    ) -> Refusal | None:
        if self._quotas is None:
            return None
        return self._quotas.refuse(author, len(statement.stored), kind)

    def _admit_one(self, one: Screened, group: _Group, before: int | None) -> int | Refusal:
        verdict = judge(one, self._chains, self.keyring)
        if verdict is None:
            over = self._over_quota(one.header.author, one.statement, Kind(one.header.kind))
            return self._stage(one, group) if over is None else over
        if isinstance(verdict, Refusal):
            return verdict
        chain = self._chains.epoch(one.header.author, one.header.epoch)
        for place in (verdict, None if chain is None else chain.proof):
            if place is None:
                continue
            if self._leaf(place, group)[0][_HEADER_AT] == one.statement.header:
                return place
        if self.keyring.is_live(one.header.key_id) and proves(one, verdict, before, self._chains):
            return self._stage_proof(one, group)
        return taken(one, self._chains, self.keyring)

    def _stage_proof(self, one: Screened, group: _Group) -> int:
        """Log a second statement for a place: it proves what it proves, and does nothing else."""
        index = self._enter(one.statement, group)
        self._chains.contest(one.header, index)
        group.undo.append(partial(self._chains.uncontest, one.header))
        return index

    @staticmethod
    def _enter(statement: Statement, group: _Group) -> int:
        record = join_record(statement.header, statement.signature, group.time)
        group.entries.append((record, statement.stored or None))
        return group.first + len(group.entries) - 1

    def _stage(self, one: Screened, group: _Group) -> int:
        index = self._enter(one.statement, group)
        self._chains.push(one.header, index, one.id)
        group.undo.append(partial(self._chains.pop, one.header))
        if one.content is None:
            self._chains.goes(one.statement.header, one.header.author, one.header.epoch)
            return index
        undo = self.keyring.heed(one.header, one.content)
        if undo is not None:
            group.undo.append(undo)
        return index

    def _commit(self, group: _Group, now_ms: int) -> None:
        if not group.entries:
            return
        try:
            self._journal.append(group.first, group.entries)
        except JournalError:
            self._doubtful = True
            self._take_back(group)
            raise
        self.size = group.first + len(group.entries)
        self._newest_ms = now_ms

    @staticmethod
    def _take_back(group: _Group) -> None:
        for step in reversed(group.undo):
            step()

    def _leaf(self, index: int, group: _Group) -> Leaf:
        """Return the leaf at an index: of the group, or logged before, of which all that it claims are read at once."""
        if index >= group.first:
            record, stored = group.entries[index - group.first]
            return record, stored is not None
        if index not in group.old:
            group.old |= self._logged_before(one for batch in group.batches for one in batch)
        return group.old[index]

    def _receipt(self, index: int, group: _Group) -> Logged:
        return Logged(index, *self._leaf(index, group), index >= group.first)

    def _logged_before(self, statements: Iterable[Screened | Refusal]) -> dict[int, Leaf]:
        """Return the leaves that hold places which statements claim again."""
        headers = (one.statement.header for one in statements if isinstance(one, Screened))
        claimed = sorted(at for at in self._chains.claimed(headers) if at < self.size)
        found: dict[int, Leaf] = {}
        while claimed:
            start = claimed[0]
            beyond = next(
                (at for at in range(1, len(claimed)) if claimed[at] - claimed[at - 1] > _NEAR),
                len(claimed),
            )
            end = claimed[beyond - 1] + 1
            found.update(enumerate(self._journal.leaves(start, end), start))
            if end - 1 not in found:
                raise JournalError(
                    "JOURNAL_DAMAGED", f"the journal lost record {end - 1}: bring a copy back"
                )
            del claimed[:beyond]
        return found
