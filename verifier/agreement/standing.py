"""Where an agreement stands, as a mirror of its log tells it."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from verifier.agreement.errors import AgreementError
from verifier.agreement.events import Said, events_from
from verifier.agreement.lifecycle import AgreementState, replay
from verifier.agreement.model import Agreement


class _Evidence(Protocol):
    """What is needed of verified evidence: what people said, in log order, and until when the log is known."""

    said: Sequence[Said]
    as_of_ms: int


class _ReadEvidence(Protocol):
    def __call__(self, mirror: Path, agreement: Agreement) -> _Evidence: ...


def read_standing(mirror: Path, agreement: Agreement) -> AgreementState:
    """Return where an agreement is at the newest tick of the log in a folder, which is verified again.

    Raises :class:`VerifierError` when the folder holds no log that the agreement lists.
    """
    # Imported here: to read a log's evidence takes numpy and more, which checking a text does not.
    module = importlib.import_module("verifier.evidence")
    evidence = cast("_ReadEvidence", module.read_evidence)(mirror, agreement)
    return replay(agreement, events_from(agreement, evidence.said), evidence.as_of_ms)


def verify_listed(state: AgreementState, finding: str, party: str, verdict: bytes) -> None:
    """Refuse a finding that no logged verdict lists about a party, or another than the one named: it would not count.

    Raises :class:`AgreementError`.
    """
    of_party = [one for one in state.findings if one.party == party]
    known = next((one for one in of_party if one.id == finding), None)
    if known is None:
        listed = ", ".join(one.id for one in of_party) or "none"
        raise AgreementError(
            "UNKNOWN_FINDING",
            f"no logged verdict lists the finding {finding!r} about {party}; there are: {listed}",
        )
    if verdict not in known.verdicts:
        listed = ", ".join(one.hex() for one in known.verdicts)
        raise AgreementError(
            "OTHER_VERDICT",
            f"the verdict {verdict.hex()} does not list {finding}: name {listed}",
        )
