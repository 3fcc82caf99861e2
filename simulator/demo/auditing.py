"""The auditor, a process of its own: what it is asked, what it concludes, and how that is told."""

import re
from dataclasses import dataclass
from typing import Final

from simulator.demo.narration import rfc3339
from simulator.demo.processes import stillwatch
from simulator.demo.rehearsal import Rehearsal
from simulator.errors import StoryError
from verifier.checks.interface import Span
from verifier.report.document import Document, PartyPart, decode_document

AUDITOR: Final = "auditor"
CONCLUDED: Final = (0, 1, 3)
"""Exit statuses of audits that came to a conclusion."""
_LOGGED: Final = re.compile(r"logged as statement ([0-9a-f]{64}) at index (\d+)")


@dataclass(frozen=True, slots=True)
class Audit:
    """An audit: its verdict, the bytes of it, the id of the logged verdict, and the exit status.

    ``statement_id`` is empty for an audit that was not published.
    """

    document: Document
    data: bytes
    statement_id: bytes
    status: int

    def party(self, name: str) -> PartyPart:
        """Return what is concluded of a party."""
        return next(party for party in self.document.parties if party.party == name)


def audit_and_publish(rehearsal: Rehearsal, name: str, period: Span) -> Audit:
    """Mirror the log over HTTP, audit the period, and have the verdict logged."""
    published = [
        "--log", rehearsal.endpoints.http, "--mirror", str(rehearsal.folder / "mirror"),
        "--publish", rehearsal.endpoints.grpc, "--key", str(rehearsal.cast.key(AUDITOR)),
        "--rehearsal-clock", str(rehearsal.clock),
    ]  # fmt: skip
    return _audit(rehearsal, name, period, published + _opening(rehearsal))


def audit_mirror(rehearsal: Rehearsal, name: str, period: Span) -> Audit:
    """Audit the period from the mirror alone: no ledger is asked anything."""
    return _audit(rehearsal, name, period, _mirrored(rehearsal) + _opening(rehearsal))


def audit_as_rival(rehearsal: Rehearsal, name: str, period: Span) -> Audit:
    """Audit the period from the mirror alone, as somebody to whom nothing is sealed."""
    return _audit(rehearsal, name, period, _mirrored(rehearsal))


def _mirrored(rehearsal: Rehearsal) -> list[str]:
    return ["--log", str(rehearsal.folder / "mirror")]


def _opening(rehearsal: Rehearsal) -> list[str]:
    """Return what opens bodies for the auditor, where any are sealed."""
    if not rehearsal.cast.readers:
        return []
    return ["--open-with", str(rehearsal.cast.reading_key(AUDITOR))]


def _audit(rehearsal: Rehearsal, name: str, period: Span, options: list[str]) -> Audit:
    path = rehearsal.folder / "verdicts" / f"{name}.json"
    agreement = rehearsal.agreement
    answer = rehearsal.processes.run(
        f"audit-{name}",
        stillwatch(
            "audit", "run", "--agreement", str(rehearsal.agreement_path),
            "--agreement-digest", f"sha256:{agreement.digest.hex()}",
            "--period", f"{rfc3339(period[0])}/{rfc3339(period[1])}",
            "--out", str(path), *options, "-o", "json",
        ),
        accept=CONCLUDED,
    )  # fmt: skip
    statement_id = b""
    if "--publish" in options:
        logged = _LOGGED.search(rehearsal.processes.log_text(f"audit-{name}"))
        if logged is None:
            raise StoryError("NOT_LOGGED", f"the audit {name} did not say where it was logged")
        statement_id = bytes.fromhex(logged[1])
        rehearsal.said["Verdict"] += 1
    data = path.read_bytes()
    return Audit(decode_document(data), data, statement_id, answer.status)


def headline(party: PartyPart) -> str:
    """Return one line: a party's verdict, how its telemetry was made, and why."""
    made = " and ".join(party.telemetry) or "no telemetry"
    verdict = party.verdict.replace("_", " ").upper()
    return f"{party.party}: {verdict} ({made}): {'; '.join(party.why)}"


def describe(party: PartyPart) -> list[str]:
    """Return lines that tell a party's verdict, how its telemetry was made, and what the verdict rests on."""
    made = " and ".join(party.telemetry) or "no telemetry"
    verdict = party.verdict.replace("_", " ").upper()
    coverage = "none" if party.coverage is None else f"{party.coverage:.1%}"
    lines = [f"{party.party:<9} {verdict:<13} ({made}) evidence of {coverage} of chip time"]
    for duty in party.obligations:
        lower, upper = duty.measured.lower, duty.measured.upper
        share = duty.measure == "coverage"
        words = f"    {duty.id}: {duty.outcome}"
        if lower is not None and upper is not None and not share:
            words += f", {_flop(lower)} to {_flop(upper)} against {_flop(duty.limit)}, trusting {duty.trust}"
        if duty.reason and share:
            words += f"; {duty.reason}"
        lines.append(words)
        if duty.would_resolve:
            lines.append(f"        would settle it: {duty.would_resolve}")
    return lines


def _flop(value: float) -> str:
    return f"{value:.3g} FLOP"
