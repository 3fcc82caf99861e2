"""Errors of agreements; drawn in :mod:`verifier.errors`."""

from verifier.errors import VerifierError


class AgreementError(VerifierError):
    """An agreement does not parse, contradicts itself, or asks for the impossible."""


class UnitError(AgreementError):
    """A value has no unit, an unknown one, or one of another dimension."""


class ConditionError(AgreementError):
    """A condition does not compile, or uses what conditions may not."""
