"""A verdict made again: does it follow, byte for byte, from the log that it names? Pure, in the steps below.

Whoever holds the log, and can open what was opened for the verdict, gets its very bytes, or shows that nobody could
have got them. What hinders that (a log that ends before, other bodies, another version of this software) refutes
nothing.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from protos.stillwatch.statement.v1 import governance_pb2
from statements.sealing import ReadingKey
from verifier.agreement.model import Agreement
from verifier.agreement.parse import parse_agreement
from verifier.checks.interface import Span
from verifier.evidence.gather import Evidence, gather
from verifier.instants import InstantError, parse_instant
from verifier.mirror.prefix import LogPrefix
from verifier.offline.outcome import Outcome, Remark
from verifier.report.document import Document, decode_document, encode_document, to_document
from verifier.ruleset import Ruleset
from verifier.verdict import conclude
from verifier.workers import ALONE

_MOST_SHOWN: Final = 80
"""Characters of a value that are shown where two differ."""


@dataclass(frozen=True, slots=True)
class Held:
    """What somebody holds who checks a verdict: the agreement, a verified log, checks, and readers' keys.

    The log may go on after the verdict was made. Work is shared out over ``executor``.
    """

    agreement: bytes
    prefix: LogPrefix
    ruleset: Ruleset
    readers: Sequence[ReadingKey] = ()
    executor: Executor = ALONE


def verify_report(data: bytes, held: Held) -> Outcome:
    """Return what comes of a verdict's bytes.

    Raises :class:`ReportError` for what is no verdict, and the verifier's other errors where the log shows no evidence.
    """
    # 1. It is a verdict, in its one spelling.
    document = decode_document(data)
    outcome = Outcome()
    if encode_document(document) == data:
        outcome.hold("A_VERDICT", f"{len(data):,} bytes, as audits write verdicts")
    else:
        outcome.refute("NOT_CANONICAL", "it is not written as audits write verdicts")
    # 2. It is by that agreement.
    agreement = parse_agreement(held.agreement)
    digest = f"sha256:{agreement.digest.hex()}"
    if document.agreement.digest != digest:
        outcome.refute("OTHER_AGREEMENT", f"it is by another agreement than {digest}")
    # 3. It is of that log, as it was.
    size = _verify_log(document, held.prefix, outcome)
    period = _read_period(document, outcome)
    # 4. It was made with these checks.
    own = f"sha256:{held.ruleset.digest.hex()}"
    if document.ruleset != own:
        outcome.miss(
            "OTHER_RULESET",
            f"it was made with other checks, or another chip table, than this software's {own}: verify it with the "
            "version that made it",
        )
    if not outcome.refuted and not outcome.missing and size is not None and period is not None:
        # 5. An audit gives the same bytes.
        evidence = gather(agreement.pins, held.prefix.first(size, held.prefix.note), held.readers)
        _verify_same(document, evidence, period, held, outcome)
        # 6. Whether it was published is no part of its truth.
        _tell_published(data, agreement, held, outcome)
    outcome.beyond.append(
        Remark(
            "CANNOT_SEE",
            "what the verdict itself says that it cannot see, and whether its sources tell the truth",
        )
    )
    return outcome


def _verify_log(document: Document, prefix: LogPrefix, outcome: Outcome) -> int | None:
    """Return how much of the log the verdict is of."""
    if len(document.logs) != 1 or document.logs[0].origin != prefix.origin:
        outcome.refute("OTHER_LOG", f"it is not of the log {prefix.origin}, or not of that alone")
        return None
    named = document.logs[0]
    if not 0 < named.size <= prefix.size:
        outcome.miss(
            "LOG_ENDS_BEFORE",
            f"it is of {named.size} records, and the log given has {prefix.size}: give one that goes as far",
        )
        return None
    root = f"sha256:{prefix.root_at(named.size).hex()}"
    if named.root != root:
        outcome.refute(
            "OTHER_ROOT",
            f"the log's first {named.size} records have the root {root}, not the one that it names: it is of another "
            "history, which this log never had",
        )
        return None
    outcome.hold("OF_THIS_LOG", f"it is of the first {named.size} records of {prefix.origin}")
    return named.size


def _read_period(document: Document, outcome: Outcome) -> Span | None:
    try:
        start, end = parse_instant(document.period.start), parse_instant(document.period.end)
    except InstantError as error:
        outcome.refute("BAD_PERIOD", f"its period is none: {error}")
        return None
    if start >= end:
        outcome.refute("BAD_PERIOD", "its period ends before it starts")
        return None
    return start, end


def _verify_same(
    document: Document, evidence: Evidence, period: Span, held: Held, outcome: Outcome
) -> None:
    again = to_document(conclude(held.agreement, evidence, period, held.ruleset, held.executor))
    if again == document:
        outcome.hold("SAME_BYTES", "an audit of these records gives the very same bytes")
    elif again.bodies_root != document.bodies_root:
        outcome.miss(
            "OTHER_BODIES",
            "it was made with other bodies than can be read here: give a log that holds them, and the keys of those to "
            "whom they are sealed",
        )
    elif _without_notes(again) == _without_notes(document):
        outcome.miss(
            "OTHER_CHECKPOINT",
            "all is the same but for the signed checkpoint that was audited, which a finding about the ledger quotes: "
            "make the verdict again with `audit run --at-checkpoint`",
        )
    else:
        for place, claimed, found in _differences(_tree(document), _tree(again), ""):
            outcome.refute("NOT_SO", f"{place} is {_shown(claimed)}, where {_shown(found)} follows")


def _tell_published(data: bytes, agreement: Agreement, held: Held, outcome: Outcome) -> None:
    for said in gather(agreement.pins, held.prefix, held.readers).said:
        if isinstance(said.message, governance_pb2.Verdict) and said.message.json == data:
            outcome.hold("PUBLISHED", f"{said.name} logged it at index {said.index}")
            return
    outcome.beyond.append(
        Remark(
            "NOT_PUBLISHED", "who made it: this log holds no statement that says these very bytes"
        )
    )


def _without_notes(document: Document) -> Document:
    bare = [one.model_copy(update={"notes": []}) for one in document.ledger_findings]
    return document.model_copy(update={"ledger_findings": bare})


def _tree(part: BaseModel) -> object:
    return part.model_dump(by_alias=True, mode="json")


def _differences(
    claimed: object, found: object, place: str
) -> Iterator[tuple[str, object, object]]:
    """Yield where two trees differ, as deep as both have a place, with what stands there."""
    if isinstance(claimed, dict) and isinstance(found, dict) and claimed.keys() == found.keys():
        for name in claimed:
            yield from _differences(claimed[name], found[name], f"{place}.{name}".lstrip("."))
    elif isinstance(claimed, list) and isinstance(found, list) and len(claimed) == len(found):
        for at, (one, other) in enumerate(zip(claimed, found, strict=True)):
            named = one.get("party") or one.get("id") if isinstance(one, dict) else None
            yield from _differences(one, other, f"{place}.{named or at}")
    elif claimed != found:
        yield place, claimed, found


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
