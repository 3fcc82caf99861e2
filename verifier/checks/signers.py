"""Signers: the chains of those who are no party: evaluators, adjudicators, verifiers, and the ledger itself.

A hole in such a chain is a fact, a ruling or a verdict that was said and is not in the log: the agreement may stand
elsewhere than it seems to, so that nobody is compliant. A contradiction is nobody's doing but its signer's; the branch
that was logged first is what counts.
"""

from collections.abc import Iterator

from statements.pins import Role
from verifier.checks.interface import (
    CheckClass,
    Finding,
    LedgerCase,
    LedgerCheck,
    Severity,
    cite,
    finding_id,
)


def _find(case: LedgerCase) -> Iterator[Finding]:
    evidence = case.evidence
    records, chains = evidence.records, evidence.chains
    pins = case.agreement.pins
    signers = {
        pin.key_id: f"{pin.role.value} {pin.id}"
        for pin in pins.by_key.values()
        if pin.role is not Role.PARTY
    } | {
        key_id: f"recovery key of {pin.role.value} {pin.id}"
        for key_id, pin in pins.by_recovery.items()
        if pin.role is not Role.PARTY
    }
    told: list[tuple[bytes, tuple[int, ...], Severity, str]] = [
        (
            gap.author,
            (gap.row,),
            Severity.DOUBT,
            f"at least {gap.missing} statements before it are not in the log",
        )
        for gap in chains.gaps
    ]
    told += [
        (
            fork.author,
            fork.rows,
            Severity.NOTE,
            f"{fork.what.value}; the branch logged first is what counts",
        )
        for fork in chains.forks
    ]
    told += [
        (
            one.author,
            (one.row,),
            Severity.NOTE,
            "its key was replaced there, as lost or stolen; what the former key said before that stands",
        )
        for one in evidence.replacements
    ]
    for author, rows, severity, words in told:
        if author not in signers:
            continue
        row = rows[-1]
        yield Finding(
            id=finding_id(
                "signers", signers[author], records.ids[row].hex(), int(records.start_ms[row])
            ),
            check="signers",
            cls=CheckClass.EXACT,
            severity=severity,
            subject=signers[author],
            from_ms=int(records.start_ms[row]),
            to_ms=int(records.end_ms[row]),
            summary=f"sequence {records.sequence[row]}: {words}",
            evidence=cite(evidence, rows),
        )


CHECK = LedgerCheck(
    id="signers",
    version=2,
    cls=CheckClass.EXACT,
    looks_for="statements of signers who are no party that are missing from the log, or contradict each other; their "
    "keys that were replaced as lost",
    cites="the statement after the hole, or both statements",
    argument="an honest ledger answers a hole with the number it wants, and drops nothing; only a key's holder can "
    "contradict itself",
    find=_find,
)
