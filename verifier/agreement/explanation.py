"""An agreement's state in words, and as JSON with RFC 3339 times."""

from collections.abc import Iterator

from verifier.agreement.lifecycle import AgreementState, Fired
from verifier.agreement.model import Agreement
from verifier.instants import rfc3339

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


def state_as_json(agreement: Agreement, state: AgreementState) -> dict[str, JsonValue]:
    """Return a state as a tree for JSON; statement ids in hexadecimal."""
    return {
        "agreement": {"id": agreement.id, "digest": f"sha256:{agreement.digest.hex()}"},
        "at": rfc3339(state.now_ms),
        "stage": state.stage.value,
        "stage_since": rfc3339(state.since_ms),
        "members": list(state.members),
        "leaving": {party: rfc3339(at) for party, at in state.leaving.items()},
        "trigger": state.trigger.value,
        "lift": state.lift.value,
        "undetermined": list(state.undetermined),
        "indicators": {
            name: {
                "value": seen.value,
                "middle": list(seen.middle),
                "signers": seen.signers,
                "overdue": seen.overdue,
            }
            for name, seen in state.indicators.items()
        },
        "findings": [
            {
                "id": finding.id,
                "party": finding.party,
                "since": rfc3339(finding.since_ms),
                "ruling_due": rfc3339(finding.due_ms),
                "blocks_lift": finding in state.blocking,
                "verdicts": [ident.hex() for ident in finding.verdicts],
                "replies": len(finding.replies),
                "ruling": finding.ruling.value if finding.ruling else None,
            }
            for finding in state.findings
        ],
        "history": [_fired(fired) for fired in state.history],
    }


def _fired(fired: Fired) -> JsonValue:
    return {
        "row": fired.row,
        "from": fired.source.value,
        "to": fired.target.value,
        "at": rfc3339(fired.at_ms),
        "statements": [ident.hex() for ident in fired.statement_ids],
    }


def state_as_text(agreement: Agreement, state: AgreementState) -> str:
    """Return a state for people."""
    return "\n".join(_lines(agreement, state))


def _lines(agreement: Agreement, state: AgreementState) -> Iterator[str]:
    yield f"{agreement.title} ({agreement.id})"
    yield f"as of    {rfc3339(state.now_ms)}, the newest tick of the log"
    yield f"stage    {state.stage.value}, since {rfc3339(state.since_ms)}"
    yield f"members  {', '.join(state.members) or 'nobody'}"
    for party, at in state.leaving.items():
        yield f"         {party} leaves at {rfc3339(at)}"
    for indicator in agreement.indicators:
        seen = state.indicators[indicator.id]
        told = " or ".join(f"{value:g}" for value in seen.middle)
        value = f"{told} {indicator.unit}" if told else "no value"
        late = ", overdue" if seen.overdue else ""
        yield f"fact     {indicator.id}: {value} ({seen.signers} of {indicator.signers} signers{late})"
    yield f"trigger  {state.trigger.value}"
    yield f"lift     {state.lift.value}"
    for finding in state.findings:
        ruled = f"ruled {finding.ruling.value}" if finding.ruling else "open"
        blocks = ", the lift waits for a ruling" if finding in state.blocking else ""
        due = "" if finding.ruling else f", due {rfc3339(finding.due_ms)}"
        yield f"finding  {finding.id} about {finding.party}: {ruled}{due}{blocks}"
        yield f"         --finding {finding.id} --verdict {finding.verdicts[-1].hex()}"
    for fired in state.history:
        ids = ", ".join(ident.hex()[:12] for ident in fired.statement_ids) or "time"
        yield (
            f"history  {rfc3339(fired.at_ms)} {fired.source.value} -> {fired.target.value} "
            f"[{fired.row}] by {ids}"
        )
