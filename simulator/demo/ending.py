"""What the demo prints when its story is told: verified, concluded, not known, and where to look further."""

import json
from collections.abc import Iterator
from pathlib import Path

from simulator.demo.auditing import AUDITOR, describe
from simulator.demo.story import Told


def as_json(told: Told, kept: Path | None) -> str:
    """Return the story's outcome for programs."""
    document = told.audit.document
    tree = {
        "went_as_told": told.went_as_told,
        "telemetry": {lab.party: lab.telemetry for lab in told.labs},
        "verdicts": {party.party: party.verdict for party in document.parties},
        "log": {
            "origin": told.checked.origin,
            "records": told.checked.records,
            "bodies": told.checked.bodies,
            "flaws": told.checked.flaws,
        },
        "sealed": _sealed_as_json(told),
        "promises": [
            {"promise": one.promise, "found": one.found, "met": one.met}
            for one in told.expectations
        ],
        "kept": None if kept is None else str(kept),
    }
    return json.dumps(tree, indent=2)


def _sealed_as_json(told: Told) -> dict[str, object] | None:
    sealed = told.checked.sealed
    if sealed is None:
        return None
    return {
        "summaries": sealed.sealed,
        "readers": [reader.id for reader in sealed.to.readers],
        "opened": sealed.opened,
        "in_plain": sealed.in_plain,
    }


def as_text(told: Told, kept: Path | None) -> str:
    """Return the story's outcome for people."""
    return "\n".join(
        line
        for title, lines in (
            ("What was verified", _verified(told)),
            ("What was concluded", _concluded(told)),
            ("What could not be known", _unknown(told)),
            ("To look further", further(kept)),
        )
        for line in ("", title, *(f"  {line}" for line in lines))
    )


def _verified(told: Told) -> Iterator[str]:
    checked = told.checked
    yield (
        f"{checked.records} records and {checked.bodies} bodies of {checked.origin}, from its static files: every "
        "hash, signature and chain"
    )
    if (sealed := checked.sealed) is not None:
        yield (
            f"{sealed.opened} summaries are sealed to {sealed.readers}, and each opens for the auditor; the ledger's "
            f"folder holds {sealed.in_plain or 'none'} of them in plain; whoever mirrors it sees which node spoke "
            f"when, and up to {sealed.stored:,} sealed bytes a window"
        )
    spoken = ", ".join(f"{count} {kind}" for kind, count in sorted(told.said.items()))
    yield f"said by people: {spoken}; the rest by agents and the log itself"
    met = [one for one in told.expectations if one.met]
    yield f"{len(met)} of {len(told.expectations)} promises of this story were met"
    for one in told.expectations:
        if not one.met:
            yield f"NOT MET: {one.promise}; found: {one.found}"


def _concluded(told: Told) -> Iterator[str]:
    document = told.audit.document
    yield f"{document.period.start} to {document.period.end}, {document.stage.replace('_', ' ')}"
    for party in document.parties:
        yield from describe(party)


def _unknown(told: Told) -> Iterator[str]:
    document = told.audit.document
    yield f"time: {document.time}"
    shared = [line for line in document.parties[0].cannot_see if _everybody_cannot(told, line)]
    yield from shared
    for party in document.parties:
        for line in party.cannot_see:
            if line not in shared:
                yield f"{party.party}: {line}"


def _everybody_cannot(told: Told, line: str) -> bool:
    return all(line in party.cannot_see for party in told.audit.document.parties)


def further(kept: Path | None) -> Iterator[str]:
    """Yield what to type next, for a rehearsal that was kept in a folder, or not."""
    if kept is None:
        yield "stillwatch demo --keep DIR     the same story, everything kept"
        return
    verdict, key = kept / "verdicts" / "in-force.json", kept / "keys" / f"{AUDITOR}.reading.key"
    opening = f" --open-with {key}" if key.exists() else ""
    yield f"stillwatch audit show {verdict}"
    yield f"stillwatch verify report {verdict} --agreement {kept}/agreement.toml --log {kept}/log{opening}"
    yield f"stillwatch agreement state --agreement {kept}/agreement.toml --mirror {kept}/log"
    yield f"stillwatch ledger fsck {kept}/log"
    yield f"stillwatch ledger prove {kept}/log 0"
    yield f"{kept}/telemetry.json says which telemetry was recorded, and which simulated"
