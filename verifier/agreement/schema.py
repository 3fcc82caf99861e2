"""The TOML of an agreement, table by table, and its reading into :mod:`verifier.agreement.model`.

Every unknown key is an error that names the place and the nearest key that exists: a typo must not silently drop a
term.
"""

import difflib
import re
import tomllib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from verifier.agreement.errors import AgreementError

Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
"""How parties, signers and obligations are called."""
Variable = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""How indicators are called: conditions must be able to spell it."""
Key = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
_HIDDEN = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
Line = Annotated[str, StringConstraints(max_length=500, pattern=rf"^[^{_HIDDEN}]+$")]
"""Words for people: no control, invisible or direction-changing character that could show another text."""
Count = Annotated[int, Field(ge=1, le=1000)]


class Table(BaseModel):
    """A TOML table: no key beyond those listed, no value coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AgreementTable(Table):
    """``[agreement]``."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    version: Count
    title: Line
    rehearsal: bool = False
    chip_table: Key | None = None


class AtLeastTable(Table):
    """``at_least = { count = 2, of = [...] }``."""

    count: Count
    of: Annotated[list["TermsTable"], Field(min_length=1, max_length=100)]


class TermsTable(Table):
    """One node of ``accedes_if``; exactly one key."""

    all_of: Annotated[list["TermsTable"], Field(min_length=1, max_length=100)] | None = None
    any_of: Annotated[list["TermsTable"], Field(min_length=1, max_length=100)] | None = None
    at_least: AtLeastTable | None = None
    party: Id | None = None
    jurisdiction: Line | None = None
    parties: Count | None = None
    jurisdictions: Count | None = None
    declared_share: str | None = None


class PartyTable(Table):
    """``[[parties]]``."""

    id: Id
    name: Line
    key: Key
    recovery: Key | None = None
    jurisdiction: Line
    declared_h100e: str
    affiliates: list[Line] = []
    accedes_if: TermsTable | None = None


class SignerTable(Table):
    """``[[evaluators]]``, ``[[adjudicators]]`` and ``[[verifiers]]``."""

    id: Id
    key: Key
    recovery: Key | None = None
    name: Line | None = None


class MeterTable(Table):
    """``[[meters]]``: a meter whose key the party that it measures does not hold."""

    id: Id
    key: Key
    recovery: Key | None = None
    name: Line | None = None
    party: Id
    sites: Annotated[list[Line], Field(min_length=1, max_length=100)]
    systematic_bound: str


class LedgerTable(Table):
    """``[[ledgers]]``."""

    origin: Line
    vkey: Line
    key: Key


class WitnessesTable(Table):
    """``[witnesses]``: C2SP tlog-policy text, how many may lie, and who of them is a ledger's operator."""

    policy: Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
    fault_bound: Annotated[int, Field(ge=0, le=32)] = 1
    of_ledgers: Annotated[list[str], Field(max_length=32)] = []


class WindowsTable(Table):
    """``[windows]``."""

    length: str
    late_grace: str
    tick: str


class IndicatorTable(Table):
    """``[[indicators]]``."""

    id: Variable
    title: Line
    unit: Line
    source: Line
    evaluators: Annotated[list[Id], Field(min_length=1)]
    signers: Count
    report_every: str | None = None


class TriggerTable(Table):
    """``[trigger]``."""

    condition: Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class LiftTable(Table):
    """``[lift]``."""

    condition: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    requires_rulings: bool = True


class ConflictTable(Table):
    """``[[panel.conflicts]]``."""

    adjudicator: Id
    parties: Annotated[list[Id], Field(min_length=1)]


class PanelTable(Table):
    """``[panel]``."""

    members: Annotated[list[Id], Field(min_length=1)]
    quorum: Count
    ruling_deadline: str
    conflicts: list[ConflictTable] = []


class StagesTable(Table):
    """``[stages]``: durations."""

    notice: str
    winding_down: str
    min_dwell: str
    lifting: str


class MembershipTable(Table):
    """``[membership]``."""

    withdrawal_notice: str
    cure: str


class ObligationTable(Table):
    """``[[obligations]]``."""

    id: Id
    stages: Annotated[
        list[Literal["armed", "noticed", "winding_down", "in_force", "lifting"]],
        Field(min_length=1),
    ]
    measure: Literal["training_flop", "coverage"]
    scope: Literal["party", "site", "node"]
    limit: str
    cure: str | None = None
    trust: Literal["meters", "counters"]
    aspirational: bool = False
    parties: Annotated[list[Id], Field(min_length=1)] | None = None


class BudgetTable(Table):
    """``[budget]``."""

    false_alarms_per_party_year: Annotated[float, Field(gt=0, le=1)]


class ReaderTable(Table):
    """A row of ``disclosure.classes.readers``."""

    id: Id
    key: Annotated[str, Field(pattern=r"^x25519:[0-9a-f]{64}$")]


class DisclosureClassTable(Table):
    """``[[disclosure.classes]]``."""

    id: Id
    readers: Annotated[list[ReaderTable], Field(min_length=1, max_length=64)]


class DisclosureTable(Table):
    """``[disclosure]``: ``public``, or the id of a class, for each kind of statement that may be sealed."""

    summaries: Id = "public"
    meter_readings: Id = "public"
    responses: Id = "public"
    classes: Annotated[list[DisclosureClassTable], Field(max_length=16)] = []


class Document(Table):
    """The whole file."""

    agreement: AgreementTable
    parties: Annotated[list[PartyTable], Field(min_length=1, max_length=100)]
    evaluators: list[SignerTable] = []
    adjudicators: list[SignerTable] = []
    verifiers: list[SignerTable] = []
    meters: Annotated[list[MeterTable], Field(max_length=1000)] = []
    ledgers: Annotated[list[LedgerTable], Field(min_length=1, max_length=16)]
    witnesses: WitnessesTable
    windows: WindowsTable
    indicators: Annotated[list[IndicatorTable], Field(min_length=1, max_length=100)]
    trigger: TriggerTable
    lift: LiftTable
    panel: PanelTable
    stages: StagesTable
    membership: MembershipTable
    obligations: Annotated[list[ObligationTable], Field(min_length=1, max_length=100)]
    budget: BudgetTable
    disclosure: DisclosureTable = DisclosureTable()


def read_document(text: bytes) -> Document:
    """Return the tables of an agreement.

    Raises :class:`AgreementError` with every place that is wrong, one a line.
    """
    try:
        words = text.decode()
        tree = tomllib.loads(words)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AgreementError("NOT_TOML", f"the agreement is not TOML: {error}") from None
    except RecursionError:
        raise AgreementError("NOT_TOML", "the agreement nests too deeply to be read") from None
    hidden = re.search(rf"(?![\t\r\n])[{_HIDDEN}]", words)
    if hidden is not None:
        line = words.count("\n", 0, hidden.start()) + 1
        raise AgreementError(
            "HIDDEN_CHARACTER",
            f"line {line} has the character U+{ord(hidden[0]):04X}, which readers do not see: remove it",
        )
    try:
        return Document.model_validate(tree)
    except ValidationError as error:
        problems = sorted(
            error.errors(include_url=False, include_input=True),
            key=lambda problem: (
                problem["type"] != "extra_forbidden"
            ),  # a typo explains what is missing
        )
        reason = (
            "UNKNOWN_KEY" if any(p["type"] == "extra_forbidden" for p in problems) else "SCHEMA"
        )
        raise AgreementError(reason, "; ".join(_explain(problem) for problem in problems)) from None


def _explain(problem: ErrorDetails) -> str:
    place = problem["loc"]
    where = re.sub(r"\.\[", "[", ".".join(f"[{p}]" if isinstance(p, int) else p for p in place))
    if problem["type"] == "extra_forbidden":
        key = str(place[-1])
        near = difflib.get_close_matches(key, _keys_at(place[:-1]), 1, 0.5)
        hint = (
            f"did you mean {near[0]!r}?" if near else f"keys are {', '.join(_keys_at(place[:-1]))}"
        )
        return f"{where}: there is no such key; {hint}"
    if problem["type"] == "missing":
        return f"{where}: is missing"
    return f"{where}: {problem['msg']} (got {problem['input']!r:.60})"


def _keys_at(place: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the table at a place may have."""
    table: type[Table] = Document
    for step in place:
        if isinstance(step, int):
            continue
        found = _tables_in(table.model_fields[step].annotation)
        if found is None:
            return []
        table = found
    return list(table.model_fields)


def _tables_in(annotation: object) -> type[Table] | None:
    """Return the table class inside an annotation such as ``list[X] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _tables_in(inner)
        if found is not None:
            return found
    return None
