"""Evidence: what a log shows, once signatures, chains and time were verified. Pure, from a mirror's bytes."""

from verifier.evidence.gather import Evidence, gather, read_evidence
from verifier.evidence.statement import EnrolledNode, Fault, LoggedStatement

__all__ = ["EnrolledNode", "Evidence", "Fault", "LoggedStatement", "gather", "read_evidence"]
