"""The report for people: a block a party, the conclusion first, what it rests on, and what could not be told.

Names of nodes are their parties' own words, and a file may hold anything: no character that a reader would not see, or
that a terminal obeys, is printed as it is.
"""

import io
import re
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from verifier.report.document import Document, FindingPart, ObligationPart, PartyPart

_STYLES = {
    "compliant": "bold green",
    "violation": "bold red",
    "anomaly": "bold yellow",
    "unresolved": "bold blue",
    "not_assessed": "bold magenta",
    "kept": "green",
    "violated": "red",
    "breach": "red",
    "doubt": "blue",
    "note": "dim",
}
_SHARES = {"coverage"}
_PRINTED = 100
"""Width of what is not printed to a terminal: digests fit into a line."""
_WORDS = 18
"""Width of the column of labels."""
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


class Terminal:
    """Text for a terminal; ``width`` in columns, ``None``: the terminal's own."""

    name = "text"

    def __init__(self, width: int | None) -> None:
        self._width = width

    def render(self, document: Document) -> str:
        """Return the report; in colour when stdout is a terminal."""
        ours = Console(width=self._width)
        if self._width is None and not ours.is_terminal:
            ours = Console(width=_PRINTED)
        console = Console(
            file=io.StringIO(),
            width=ours.width,
            force_terminal=ours.is_terminal,
            no_color=ours.no_color,
            highlight=False,
        )
        shown = Document.model_validate(_visible(document.model_dump(by_alias=True)))
        with console.capture() as captured:
            for part in _parts(shown):
                console.print(part)
        return captured.get()


def _visible(tree: object) -> object:
    """Return a tree with every character that is not seen, or that moves others, written as its number."""
    match tree:
        case str():
            return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", tree)
        case list():
            return [_visible(one) for one in tree]
        case dict():
            return {key: _visible(one) for key, one in tree.items()}
        case _:
            return tree


def _parts(document: Document) -> Iterator[RenderableType]:
    yield Text(f"Audit of {document.agreement.id}", style="bold")
    yield _grid(_head(document))
    for party in document.parties:
        yield Text()
        yield _party(party)
    if document.ledger_findings:
        yield Text()
        yield Rule(Text("the log itself", style="bold"), align="left", style="dim")
        yield _findings(document.ledger_findings)
    yield Text()
    yield Text("To look further", style="bold")
    yield Padding(
        Text(
            "any statement cited   read bundle N // 256 of tile/entries/ in the mirror, at place N % 256\n"
            "these bytes again     stillwatch audit run with the same agreement, mirror and period\n"
            "answer, or rule       stillwatch finding reply | rule --finding ID",
            style="dim",
        ),
        (0, 0, 0, 2),
    )


def _head(document: Document) -> Iterator[tuple[str, RenderableType]]:
    rehearsal = "  (a rehearsal)" if document.agreement.rehearsal else ""
    yield "agreement", Text(f"{document.agreement.digest}{rehearsal}")
    yield "period", Text(f"{document.period.start} to {document.period.end}")
    yield "stage at its end", Text(f"{document.stage}, since {document.stage_since}")
    for log in document.logs:
        known = log.known_until or "never: it has no ticks"
        yield "log", Text(f"{log.origin}: {log.size} records, known until {known}")
    yield "time", Text(document.time)
    yield "bodies", Text(document.bodies_root)
    yield "ruleset", Text(document.ruleset)


def _party(party: PartyPart) -> RenderableType:
    verdict = Text(party.verdict.replace("_", " ").upper(), style=_STYLES[party.verdict])
    title = Text.assemble((party.party, "bold"), "  ", verdict)
    parts: list[RenderableType] = [
        Rule(title, align="left", style="dim"),
        _grid(_facts(party)),
    ]
    if party.obligations:
        parts.append(_obligations(party.obligations))
    if party.findings:
        parts.append(_findings(party.findings))
    parts.append(_grid([("cannot see", Text("\n".join(f"- {line}" for line in party.cannot_see)))]))
    return Group(*parts)


def _facts(party: PartyPart) -> Iterator[tuple[str, RenderableType]]:
    yield "because", Text("\n".join(party.why))
    yield "telemetry", Text(", ".join(party.telemetry) or "none", style="bold")
    coverage = (
        "nothing to cover" if party.coverage is None else f"{party.coverage:.2%} of chip time"
    )
    yield "evidence", Text(f"{coverage}; {party.chips} chips on {party.nodes} enrolled nodes")
    compute = party.compute
    bound = f"; the upper end is bound by {compute.bound_by}" if compute.bound_by else ""
    yield (
        "compute",
        Text(
            f"{_flop(compute.lower_flop)} to {_flop(compute.upper_flop)} executed, likeliest "
            f"{_flop(compute.estimate_flop)}{bound}\n"
            f"{_flop(compute.unaccounted_flop)} more could have run where nothing was shown"
        ),
    )
    capable = compute.training_capable
    yield (
        "training-capable",
        Text(
            f"{_flop(capable.lower_flop)} to {_flop(capable.upper_flop)}: what was not shown to be idle, and "
            "what idle chips could hide"
        ),
    )
    if party.energy.wall_node_seconds:
        yield (
            "energy",
            Text(
                f"{party.energy.wall_joules:.4g} J at the wall over {party.energy.wall_node_seconds:,.0f} node "
                f"seconds, which allow at most {_flop(party.energy.wall_floor_flop)}"
            ),
        )
    if party.rhythm:
        rhythm = party.rhythm
        shared = "not defined" if rhythm.coherence is None else f"{rhythm.coherence:.2f}"
        yield (
            "rhythm",
            Text(
                f"a line of {rhythm.period_seconds:.2f} s with {rhythm.line_share:.2f} of the variance; coherence "
                f"across {rhythm.nodes} nodes: {shared}"
            ),
        )
    yield "trusted", Text(_trusted(party.trust))
    yield (
        "detection limit",
        Text(
            f"{_flop(party.detection_limit_flop)} could be hidden from this evidence; "
            f"{party.false_alarm_per_year:g} false alarms a year are allowed"
        ),
    )


def _trusted(trust: str) -> str:
    if trust == "counters":
        return "counters: this holds if the party's own counters are true"
    return "meters: time, and energy from meters that the party does not hold"


def _obligations(obligations: list[ObligationPart]) -> RenderableType:
    rows: list[tuple[str, RenderableType]] = []
    for duty in obligations:
        outcome = Text(duty.outcome.upper(), style=_STYLES.get(duty.outcome, "blue"))
        line = Text.assemble(
            (duty.id, "bold"),
            "  ",
            outcome,
            f"  {_measured(duty)} against {_quantity(duty.measure, duty.limit)}",
        )
        if duty.reason:
            line.append(f"\n  {duty.reason}")
        if duty.would_resolve:
            line.append(f"\n  would settle it: {duty.would_resolve}")
        rows.append(("owed", line))
    return _grid(rows)


def _measured(duty: ObligationPart) -> str:
    lower, upper = duty.measured.lower, duty.measured.upper
    if lower is None or upper is None:
        return "nothing measured"
    if lower == upper:
        return _quantity(duty.measure, lower)
    return f"{_quantity(duty.measure, lower)} to {_quantity(duty.measure, upper)}"


def _quantity(measure: str, value: float) -> str:
    return f"{value:.2%}" if measure in _SHARES else _flop(value)


def _findings(findings: list[FindingPart]) -> RenderableType:
    rows: list[tuple[str, RenderableType]] = []
    for finding in findings:
        style = _STYLES.get(finding.severity, "yellow")
        line = Text.assemble(
            (finding.severity, style),
            f"  {finding.check} ({finding.cls})  {finding.subject}\n  {finding.summary}\n",
            (f"  {finding.start} to {finding.end}  id {finding.id}", "dim"),
        )
        if finding.ruling:
            line.append(f"\n  the panel ruled: {finding.ruling}", style="bold")
        if finding.evidence:
            cited = ", ".join(str(one.index) for one in finding.evidence)
            line.append(f"\n  records {cited} of {finding.evidence[0].log}", style="dim")
        rows.append(("found", line))
    return _grid(rows)


def _flop(value: float) -> str:
    return f"{value:.3g} FLOP"


def _grid(rows: "Iterator[tuple[str, RenderableType]] | list[tuple[str, RenderableType]]") -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", width=_WORDS, no_wrap=True)
    grid.add_column(overflow="fold", ratio=1)
    for label, shown in rows:
        grid.add_row(f"  {label}", shown)
    return grid
